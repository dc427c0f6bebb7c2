package natsjs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/events"
)

// CreateDefinition stores the definition of a new code and returns its
// revision. events.ErrExists: there is one.
func (c *Conn) CreateDefinition(ctx context.Context, id string, value []byte) (rev uint64, err error) {
	return c.put(ctx, "create code "+id, events.BucketCodes, id, value, 0)
}

// UpdateDefinition replaces a definition that is still at revision rev and
// returns the new revision. events.ErrConflict: it is not at rev any more.
func (c *Conn) UpdateDefinition(ctx context.Context, id string, value []byte, rev uint64) (uint64, error) {
	if rev == 0 {
		return 0, fmt.Errorf("change code %s: revision 0: %w", id, events.ErrConflict)
	}
	return c.put(ctx, "change code "+id, events.BucketCodes, id, value, rev)
}

// Definition reads a definition and its revision. events.ErrNotFound: there is none.
func (c *Conn) Definition(ctx context.Context, id string) (value []byte, rev uint64, err error) {
	return c.get(ctx, "read code "+id, events.BucketCodes, id)
}

// WatchDefinitions calls fn with every definition there is, caughtUp once when
// that is through, and fn with every change from then on, over disconnects,
// until ctx ends. A nil value: the definition has been deleted. It returns
// what fn returns, or ctx's error.
func (c *Conn) WatchDefinitions(ctx context.Context, fn func(id string, value []byte, rev uint64) error, caughtUp func()) error {
	prefix := "$KV." + events.BucketCodes + "."
	f := feed{stream: "KV_" + events.BucketCodes, filters: []string{prefix + ">"}, next: 1, caught: caughtUp}
	return c.follow(ctx, &f, func(d *delivery) error {
		value := d.Data
		if op := d.Get("KV-Operation"); op == "DEL" || op == "PURGE" {
			value = nil
		}
		return fn(strings.TrimPrefix(d.Subject, prefix), value, d.Seq)
	})
}

// Trace reads whose watermarks with this number are. events.ErrNotFound: nobody's that is known.
func (c *Conn) Trace(ctx context.Context, id string) (value []byte, rev uint64, err error) {
	return c.get(ctx, "read trace", events.BucketTraces, id)
}

// PutTrace replaces what is known of a trace number that is still at revision rev (0: nothing yet) and returns the new
// revision. events.ErrConflict: somebody else has written since.
func (c *Conn) PutTrace(ctx context.Context, id string, value []byte, rev uint64) (uint64, error) {
	return c.put(ctx, "write trace", events.BucketTraces, id, value, rev)
}

// Manifest reads an analytics worker's manifest of a partition.
// events.ErrNotFound: there is none.
func (c *Conn) Manifest(ctx context.Context, partition int) (value []byte, rev uint64, err error) {
	return c.get(ctx, "read manifest", BucketAnalytics, "manifest."+strconv.Itoa(partition))
}

// PutManifest replaces the manifest that is still at revision rev (0: there is
// none yet) and returns the new revision. events.ErrConflict: somebody else
// has written one since.
func (c *Conn) PutManifest(ctx context.Context, partition int, value []byte, rev uint64) (uint64, error) {
	return c.put(ctx, "write manifest", BucketAnalytics, "manifest."+strconv.Itoa(partition), value, rev)
}

// get reads a key from the bucket's leader, and so sees what was written before.
func (c *Conn) get(ctx context.Context, what, bucket, key string) (value []byte, rev uint64, err error) {
	value, rev, removed, err := c.entry(ctx, what, bucket, key)
	switch {
	case err != nil:
		return nil, 0, err
	case removed:
		return nil, 0, fmt.Errorf("%s: %w", what, events.ErrNotFound)
	}
	return value, rev, nil
}

// entry is get, but of a key that was removed it returns the revision of that.
func (c *Conn) entry(ctx context.Context, what, bucket, key string) (value []byte, rev uint64, removed bool, err error) {
	if !validKey(key) {
		return nil, 0, false, fmt.Errorf("%s: %w", what, events.ErrNotFound)
	}
	err = c.retry(ctx, what, func(ctx context.Context) error {
		m, err := c.last(ctx, "KV_"+bucket, "$KV."+bucket+"."+key)
		if err != nil {
			return err
		}
		op := m.Get("KV-Operation")
		value, rev, removed = m.Data, m.Seq, op == "DEL" || op == "PURGE"
		return nil
	})
	if err != nil {
		return nil, 0, false, err
	}
	return value, rev, removed, nil
}

// put writes a key that is at revision rev (0: it is new). When the outcome
// gets lost with the connection it reads the key back and compares.
func (c *Conn) put(ctx context.Context, what, bucket, key string, value []byte, rev uint64) (uint64, error) {
	if !validKey(key) {
		return 0, fmt.Errorf("%s: %q is no key", what, key)
	}
	m := &nats.Msg{
		Subject: "$KV." + bucket + "." + key,
		Header:  nats.Header{jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(rev, 10)}},
		Data:    value,
	}
	if err := c.checkSize(what, m); err != nil {
		return 0, err
	}
	lost := false // an earlier attempt may have been stored
	for attempt := 0; ; attempt++ {
		got, err := c.appendOnce(ctx, m)
		if err == nil {
			return got, nil
		}
		if ctx.Err() == nil && !c.ended() {
			switch {
			case wrongLast(err):
				last, at, removed, gerr := c.entry(ctx, what, bucket, key)
				switch {
				case removed && rev == 0:
					// There is none, but the server counts what removed it.
					m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(at, 10))
					continue
				case gerr != nil && !errors.Is(gerr, events.ErrNotFound):
					return 0, gerr
				case lost && at > rev && bytes.Equal(last, value):
					return at, nil
				case at != rev && rev == 0 && bucket == events.BucketCodes:
					return 0, fmt.Errorf("%s: %w", what, events.ErrExists)
				case at != rev:
					return 0, fmt.Errorf("%s at revision %d: %w", what, rev, events.ErrConflict)
				}
				// On its way still; see what becomes of it.
			case !passing(err):
				return 0, storeError(what, err)
			default:
				lost = true
			}
		}
		if ctx.Err() != nil || !c.pause(ctx, attempt) {
			return 0, c.gaveUp(ctx, what, err)
		}
	}
}

// validKey: letters, digits, - _ and inner dots.
func validKey(k string) bool {
	for part := range strings.SplitSeq(k, ".") {
		if !events.ValidSubject(part) {
			return false
		}
	}
	return true
}
