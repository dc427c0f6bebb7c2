package natsjs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/events"
)

const (
	snapshotChunk = 256 << 10
	// snapshotStall is how long a read may be without progress. A snapshot
	// that is replaced while it is read loses its chunks, and the read would
	// wait for ever.
	snapshotStall = 5 * time.Second
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
// events.ErrNotFound: there is none.
func (c *Conn) LoadSnapshot(ctx context.Context, partition int) (snapshot []byte, err error) {
	err = c.retryLong(ctx, fmt.Sprintf("load snapshot of partition %d", partition), func(ctx context.Context) error {
		store, err := c.store(ctx)
		if err != nil {
			return err
		}
		snapshot, err = readObject(ctx, store, snapshotName(partition))
		return err
	})
	if err != nil {
		return nil, err
	}
	return snapshot, nil
}

// readObject reads an object whole. It stops when nothing comes any more.
func readObject(ctx context.Context, store jetstream.ObjectStore, name string) ([]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(snapshotStall, func() { cancel(errStalled) })
	defer stalled.Stop()
	r, err := store.Get(ctx, name)
	if err != nil {
		return nil, stallOr(ctx, err)
	}
	defer r.Close()
	info, err := r.Info()
	if err != nil {
		return nil, err
	}
	b := bytes.NewBuffer(make([]byte, 0, info.Size))
	for {
		n, err := io.CopyN(b, r, snapshotChunk)
		if n > 0 {
			stalled.Reset(snapshotStall)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, stallOr(ctx, err)
		}
	}
	if err := r.Error(); err != nil {
		return nil, stallOr(ctx, err)
	}
	if uint64(b.Len()) != info.Size {
		return nil, errStalled
	}
	return b.Bytes(), nil
}

var errStalled = errors.New("it was replaced or cut off while being read")

func stallOr(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errStalled) {
		return errStalled
	}
	return err
}

// retryLong is retry for what takes as long as it takes.
func (c *Conn) retryLong(ctx context.Context, what string, f func(context.Context) error) error {
	for attempt := 0; ; attempt++ {
		err := f(ctx)
		switch {
		case err == nil:
			return nil
		case c.nc.IsClosed():
			return fmt.Errorf("%s: %w", what, ErrClosed)
		case ctx.Err() == nil && !passing(err) && !errors.Is(err, errStalled) && !errors.Is(err, jetstream.ErrDigestMismatch):
			return notFound(what, err)
		case ctx.Err() != nil || !c.pause(ctx, attempt):
			return c.gaveUp(ctx, what, err)
		}
	}
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
