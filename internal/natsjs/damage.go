package natsjs

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
)

// LastSeq is the newest sequence that the events have ever had; it does not fall when messages expire.
func (c *Conn) LastSeq(ctx context.Context) (uint64, error) {
	info, err := c.streamInfo(ctx, events.StreamEvents)
	if err != nil {
		return 0, err
	}
	return info.State.LastSeq, nil
}

// Damage looks for what a disk has lost of the log: a NATS server whose files are damaged starts without the messages it cannot read, and
// says so in its own log only. Each finding names the stream and the sequences, and says what to do. It reads the newest record and the
// snapshot of every partition, and blocks until it has.
func (c *Conn) Damage(ctx context.Context) (found []string, err error) {
	inst, err := c.Installation(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{events.StreamDecisions, events.StreamAlerts, events.StreamDLQ} {
		gaps, err := c.gaps(ctx, name)
		if err != nil {
			return nil, err
		}
		if gaps != "" { // nothing of ours is ever taken out of the middle of these
			found = append(found, fmt.Sprintf("stream %s has lost messages in its middle (sequences %s): restore it from a backup of the NATS server's folder or from a replica", name, gaps))
		}
	}
	end, err := c.LastSeq(ctx)
	if err != nil {
		return nil, err
	}
	for p := range inst.Partitions {
		payload, seq, err := c.LastCommit(ctx, p)
		switch {
		case errors.Is(err, events.ErrNotFound):
			payload = nil
		case err != nil:
			return nil, err
		}
		step := uint64(0)
		if payload != nil {
			last, err := events.ParseCommit(payload)
			if err != nil {
				found = append(found, fmt.Sprintf("stream %s, sequence %d: the last commit record of partition %d cannot be read: %v", events.StreamDecisions, seq, p, err))
				continue
			}
			step = last.Step
			if last.Reached.Seq > end {
				found = append(found, fmt.Sprintf("stream %s ends at sequence %d, and partition %d has decided up to %d: its end is lost; restore it before anything is published, as new events would be taken for decided ones",
					events.StreamEvents, end, p, last.Reached.Seq))
			}
		}
		b, err := c.readObject(ctx, snapshotName(p))
		var snap *events.Snapshot
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound), errors.Is(err, jetstream.ErrObjectNotFound):
			continue
		case err == nil:
			snap, err = events.ReadSnapshotEach(bytes.NewReader(b), func(code.Saved) {})
		}
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			found = append(found, fmt.Sprintf("bucket %s: the snapshot of partition %d is not usable (%v): the next owner replays the log instead, and writes another", events.BucketState, p, err))
		case snap.Step > step:
			found = append(found, fmt.Sprintf("stream %s ends at step %d of partition %d, and there is a snapshot of step %d: its end is lost; restore it, or remove the snapshot (nats object del %s %s) to have those steps decided again",
				events.StreamDecisions, step, p, snap.Step, events.BucketState, snapshotName(p)))
		}
	}
	return found, nil
}

// gaps are the sequences that a stream has no message of, between its first and its last, as "5-7, 12".
func (c *Conn) gaps(ctx context.Context, name string) (list string, err error) {
	s, err := c.js.Stream(ctx, name)
	if err != nil {
		return "", notFound("read stream "+name, err)
	}
	if s.CachedInfo().State.NumDeleted == 0 {
		return "", nil
	}
	info, err := s.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		return "", notFound("read stream "+name, err)
	}
	gone := info.State.Deleted
	for i, shown := 0, 0; i < len(gone); shown++ {
		j := i
		for j+1 < len(gone) && gone[j+1] == gone[j]+1 {
			j++
		}
		switch {
		case shown == 5:
			return list + ", …", nil
		case list != "":
			list += ", "
		}
		if list += fmt.Sprint(gone[i]); j > i {
			list += fmt.Sprintf("-%d", gone[j])
		}
		i = j + 1
	}
	return list, nil
}
