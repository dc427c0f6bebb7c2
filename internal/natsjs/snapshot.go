package natsjs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/events"
)

const (
	snapshotChunk = 256 << 10
	// snapshotStall is how long a read may be without progress before it is
	// begun anew.
	snapshotStall = 2 * time.Second
)

func snapshotName(partition int) string { return "snapshot." + strconv.Itoa(partition) }

// SaveSnapshot replaces the snapshot of a partition: readers find the old one
// or the new one, whole, whatever happens meanwhile.
func (c *Conn) SaveSnapshot(ctx context.Context, partition int, snapshot []byte) error {
	return c.retryLong(ctx, fmt.Sprintf("save snapshot of partition %d", partition), func(ctx context.Context) error {
		store, err := c.store(ctx)
		if err != nil {
			return err
		}
		_, err = store.Put(ctx, jetstream.ObjectMeta{
			Name: snapshotName(partition), Opts: &jetstream.ObjectMetaOptions{ChunkSize: snapshotChunk},
		}, bytes.NewReader(snapshot))
		return err
	})
}

// LoadSnapshot reads the snapshot of a partition and checks its digest.
// events.ErrNotFound: there is none. events.ErrDamaged: there is one, and what
// is stored of it is not what was.
func (c *Conn) LoadSnapshot(ctx context.Context, partition int) (snapshot []byte, err error) {
	var last string
	tries := 0
	err = c.retryLong(ctx, fmt.Sprintf("load snapshot of partition %d", partition), func(ctx context.Context) error {
		snapshot, err = c.readObject(ctx, snapshotName(partition))
		var r *replacedError
		if !errors.As(err, &r) {
			return err
		}
		if tries++; r.nuid != last {
			last, tries = r.nuid, 1
		}
		if tries == damagedTries { // nobody has replaced it
			return fmt.Errorf("%w: its pieces are not all there, or are others", events.ErrDamaged)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return snapshot, nil
}

// readObject reads an object whole. The library's reader waits for ever when
// the object is replaced under its hands, which removes the chunks it reads;
// here that is a *replacedError.
func (c *Conn) readObject(ctx context.Context, name string) ([]byte, error) {
	stream, prefix := "OBJ_"+events.BucketState, "$O."+events.BucketState
	once, cancel := c.attempt(ctx)
	m, err := c.last(once, stream, prefix+".M."+base64.URLEncoding.EncodeToString([]byte(name)))
	if err != nil && once.Err() != nil {
		err = context.Cause(once)
	}
	cancel()
	if err != nil {
		return nil, err
	}
	var info jetstream.ObjectInfo
	if err := json.Unmarshal(m.Data, &info); err != nil {
		return nil, fmt.Errorf("%w: %w", events.ErrDamaged, err)
	}
	replaced := &replacedError{info.NUID}
	if info.Deleted {
		return nil, jetstream.ErrObjectNotFound
	}
	b := make([]byte, 0, info.Size)
	if info.Chunks > 0 {
		reading, stop := context.WithCancel(ctx)
		defer stop()
		chunks := uint32(0)
		// Caught up before the last chunk, or nothing more comes: the rest is
		// not there any more.
		stalled := time.AfterFunc(snapshotStall, stop)
		defer stalled.Stop()
		f := feed{stream: stream, filters: []string{prefix + ".C." + info.NUID}, next: 1, caught: stop}
		err := c.follow(reading, &f, func(d *delivery) error {
			stalled.Reset(snapshotStall)
			b = append(b, d.Data...)
			if chunks++; chunks == info.Chunks {
				return errDone
			}
			return nil
		})
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case reading.Err() != nil && chunks < info.Chunks:
			return nil, replaced
		case err != nil && reading.Err() == nil:
			return nil, err
		}
	}
	sum := sha256.New()
	sum.Write(b)
	if uint64(len(b)) != info.Size || jetstream.GetObjectDigestValue(sum) != info.Digest {
		return nil, replaced
	}
	return b, nil
}

// replacedError says that what was read of an object is not what it says it is.
type replacedError struct{ nuid string } // of what was read

func (*replacedError) Error() string {
	return "what was read does not match its digest: it was replaced meanwhile, or is damaged"
}

// damagedTries is how often the same object is read before it is called damaged.
const damagedTries = 4

// retryLong is retry for what takes as long as it takes.
func (c *Conn) retryLong(ctx context.Context, what string, f func(context.Context) error) error {
	for attempt := 0; ; attempt++ {
		err := f(ctx)
		var replaced *replacedError
		switch {
		case err == nil:
			return nil
		case c.ended():
			return fmt.Errorf("%s: %w", what, ErrClosed)
		case ctx.Err() == nil && !passing(err) && !errors.As(err, &replaced):
			return notFound(what, err)
		case ctx.Err() != nil || !c.pause(ctx, attempt):
			return c.gaveUp(ctx, what, err)
		}
	}
}

// sweepAfter is how old chunks without an object are before they are removed:
// older than any upload may take.
const sweepAfter = 6 * time.Hour

// sweepSnapshots removes chunks of uploads that a crash left unfinished.
func (c *Conn) sweepSnapshots(ctx context.Context, older time.Duration) error {
	stream, chunks := "OBJ_"+events.BucketState, "$O."+events.BucketState+".C."
	s, err := c.js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(chunks+">"))
	if err != nil {
		return err
	}
	store, err := c.store(ctx)
	if err != nil {
		return err
	}
	list, err := store.List(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrNoObjectsFound) {
		return err
	}
	for _, o := range list {
		delete(info.State.Subjects, chunks+o.NUID)
	}
	for subject := range info.State.Subjects {
		m, err := c.last(ctx, stream, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && time.Since(m.At) < older {
			continue
		}
		if err != nil {
			return err
		}
		if err := s.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return err
		}
		c.log.Info("removed what an unfinished snapshot left behind", "stream", stream)
	}
	return nil
}

func (c *Conn) store(ctx context.Context) (jetstream.ObjectStore, error) {
	c.mu.Lock()
	s := c.snapshots
	c.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := c.js.ObjectStore(ctx, events.BucketState)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.snapshots = s
	c.mu.Unlock()
	return s, nil
}
