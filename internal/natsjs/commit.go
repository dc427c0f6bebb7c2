package natsjs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/events"
)

// LastCommit returns the newest commit record of a partition and its stream
// sequence. events.ErrNotFound: there is none. It reads from the stream's
// leader and so sees every record acknowledged before the call.
func (c *Conn) LastCommit(ctx context.Context, partition int) (payload []byte, seq uint64, err error) {
	what := fmt.Sprintf("read the last commit of partition %d", partition)
	err = c.retry(ctx, what, func(ctx context.Context) error {
		m, err := c.last(ctx, events.StreamDecisions, events.CommitSubject(partition))
		payload, seq = m.Data, m.Seq
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return payload, seq, nil
}

// last reads the newest message of a subject from the stream's leader. The
// library would read from any replica where the stream allows it, and a
// replica may be behind.
func (c *Conn) last(ctx context.Context, stream, subject string) (events.Message, error) {
	req, err := json.Marshal(map[string]string{"last_by_subj": subject})
	if err != nil {
		return events.Message{}, err
	}
	m, err := c.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, req)
	if err != nil {
		return events.Message{}, err
	}
	var resp struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Seq  uint64    `json:"seq"`
			Hdrs []byte    `json:"hdrs"`
			Data []byte    `json:"data"`
			Time time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(m.Data, &resp); err != nil {
		return events.Message{}, err
	}
	switch {
	case resp.Error == nil:
	case resp.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return events.Message{}, jetstream.ErrMsgNotFound
	case resp.Error.ErrorCode == jetstream.JSErrCodeStreamNotFound:
		return events.Message{}, jetstream.ErrStreamNotFound
	default:
		return events.Message{}, resp.Error
	}
	got := events.Message{Seq: resp.Message.Seq, Subject: subject, At: resp.Message.Time.UTC(), Data: resp.Message.Data}
	if len(resp.Message.Hdrs) > 0 {
		h, err := nats.DecodeHeadersMsg(resp.Message.Hdrs)
		if err != nil {
			return events.Message{}, err
		}
		got.Header = h
	}
	return got, nil
}

// AppendCommit stores a partition's next commit record, given the sequence of
// the one before (0: it is the first), and returns its own sequence.
// events.ErrFenced: somebody else has committed since; the caller is no longer
// the owner and must start anew. When the outcome gets lost with the
// connection, the record that is there is read back and compared; payload must
// therefore be unlike any other owner's (a Commit names its owner and step).
// It tries until ctx ends; then the record may or may not be stored.
func (c *Conn) AppendCommit(ctx context.Context, partition int, expected uint64, payload []byte) (uint64, error) {
	what := fmt.Sprintf("commit for partition %d", partition)
	m := &nats.Msg{
		Subject: events.CommitSubject(partition),
		Header:  nats.Header{jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(expected, 10)}},
		Data:    payload,
	}
	if err := c.checkSize(what, m); err != nil {
		return 0, err
	}
	for attempt := 0; ; attempt++ {
		seq, err := c.appendOnce(ctx, m)
		if err == nil {
			return seq, nil
		}
		if ctx.Err() == nil && !c.ended() {
			switch {
			case wrongLast(err):
				// Ours may be the record that is there, by an earlier
				// attempt whose acknowledgement got lost.
				last, at, lerr := c.LastCommit(ctx, partition)
				switch {
				case lerr != nil && !errors.Is(lerr, events.ErrNotFound):
					return 0, lerr
				case at > expected && bytes.Equal(last, payload):
					return at, nil
				case at != expected:
					if seq, ours := c.followed(ctx, m.Subject, expected, payload); ours {
						return seq, nil // and another owner's is there already
					}
					return 0, fmt.Errorf("%s after %d: %w", what, expected, events.ErrFenced)
				}
				// A cluster refuses while another record for the subject is
				// on its way, which may be our own: see which it becomes.
			case !passing(err):
				return 0, storeError(what, err)
			}
		}
		if ctx.Err() != nil || !c.pause(ctx, attempt) {
			return 0, c.gaveUp(ctx, what, err)
		}
	}
}

// followed reports whether payload is the commit record that came after the one at expected, and its sequence. What cannot be read is not.
func (c *Conn) followed(ctx context.Context, subject string, expected uint64, payload []byte) (seq uint64, ours bool) {
	s, err := c.js.Stream(ctx, events.StreamDecisions)
	if err != nil {
		return 0, false
	}
	m, err := s.GetMsg(ctx, expected+1, jetstream.WithGetMsgSubject(subject))
	if err != nil || !bytes.Equal(m.Data, payload) {
		return 0, false
	}
	return m.Sequence, true
}

func (c *Conn) appendOnce(ctx context.Context, m *nats.Msg) (uint64, error) {
	f, err := c.js.PublishMsgAsync(m)
	if err != nil {
		return 0, err
	}
	select {
	case ack := <-f.Ok():
		return ack.Sequence, nil
	case err := <-f.Err():
		return 0, err
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-c.closed:
		return 0, ErrClosed
	}
}

// wrongLast: the last sequence of the subject (or bucket key) is not the one
// expected. A cluster
// says so in another way when two records come within one instant.
func wrongLast(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// Commits calls fn with every commit record of a partition after a stream
// sequence (0: from the first there is), in order, each once, and goes on with
// new ones as they come. It lasts over disconnects and restarts of the server.
// It returns what fn returns, or ctx's error when it ends, or an error when
// the stream is not there.
func (c *Conn) Commits(ctx context.Context, partition int, after uint64, fn func(payload []byte, seq uint64) error) error {
	f := feed{stream: events.StreamDecisions, filters: []string{events.CommitSubject(partition)}, next: after + 1}
	return c.follow(ctx, &f, func(d *delivery) error { return fn(d.Data, d.Seq) })
}

// LastInput is the stream sequence of the newest message stored for a
// partition; 0 when there is none.
func (c *Conn) LastInput(ctx context.Context, partition int) (seq uint64, err error) {
	err = c.retry(ctx, fmt.Sprintf("read the newest input of partition %d", partition), func(ctx context.Context) error {
		m, err := c.last(ctx, events.StreamEvents, events.PartitionFilter(partition))
		seq = m.Seq
		return err
	})
	if errors.Is(err, events.ErrNotFound) {
		return 0, nil
	}
	return seq, err
}
