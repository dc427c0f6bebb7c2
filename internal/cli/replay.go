package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/events"
)

type replayCmd struct {
	DLQ     bool   `name:"dlq" help:"Work on the dead letters, HUOMA_DLQ." required:""`
	NATSURL string `name:"nats-url" help:"NATS server of the installation." default:"nats://127.0.0.1:4222"`
	List    bool   `help:"List the dead letters and change nothing." xor:"what"`
	Fix     string `help:"File of repaired events, one JSON object a line: an event, or {\"seq\":…,\"event\":{…}} with the dead letter it replaces; - is standard input." xor:"what"`
	Retry   string `help:"Put dead letters with this reason back as they are, once its cause is gone, such as unknown_code." xor:"what"`
	JSON    bool   `name:"json" help:"Print one JSON object a line."`
}

// letter is one dead letter. Its data may hold what a producer sent about
// people, so it is shown with --json only.
type letter struct {
	Seq     uint64    `json:"seq"`
	At      time.Time `json:"at"`
	Reason  string    `json:"reason"`
	Detail  string    `json:"detail"`
	Subject string    `json:"subject"`
	Place   string    `json:"place"`
	Data    string    `json:"data"`
}

// Run lists dead letters or puts them back. A letter is taken out of HUOMA_DLQ
// once what replaces it is stored.
func (c *replayCmd) Run(ctx context.Context, a *App) error {
	if !c.List && c.Fix == "" && c.Retry == "" {
		return usagef("say what to do: --list, --fix repaired.jsonl or --retry unknown_code")
	}
	n, err := dialNATS(ctx, c.NATSURL)
	if err != nil {
		return err
	}
	defer n.close()
	dlq, err := n.js.Stream(ctx, events.StreamDLQ)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("there is no stream %s at %s: is this the NATS of a Huoma installation?", events.StreamDLQ, redactNATS(c.NATSURL))
	}
	if err != nil {
		return fmt.Errorf("the dead letters cannot be read: %w", err)
	}
	switch {
	case c.List:
		return c.list(ctx, a, dlq)
	case c.Retry != "":
		return c.retry(ctx, a, n, dlq)
	}
	return c.fix(ctx, a, n, dlq)
}

func (c *replayCmd) list(ctx context.Context, a *App, dlq jetstream.Stream) error {
	rows := [][]string{{"SEQ", "AT", "REASON", "SUBJECT", "DETAIL"}}
	err := letters(ctx, dlq, func(l letter) error {
		if c.JSON {
			return printJSON(a.Stdout, l)
		}
		rows = append(rows, []string{strconv.FormatUint(l.Seq, 10), l.At.Format(time.RFC3339), plain(l.Reason), plain(l.Subject), plain(l.Detail)})
		return nil
	})
	if err != nil || c.JSON {
		return err
	}
	if len(rows) == 1 {
		fmt.Fprintln(a.Stderr, "There are no dead letters.")
		return nil
	}
	return table(a.Stdout, rows)
}

// retry puts letters of one reason back as they are.
func (c *replayCmd) retry(ctx context.Context, a *App, n *natsClient, dlq jetstream.Stream) error {
	var back, left int
	err := letters(ctx, dlq, func(l letter) error {
		if l.Reason != c.Retry {
			return nil
		}
		list, err := events.ParseBatch([]byte(l.Data))
		if err != nil {
			left++ // it must be repaired first
			return nil
		}
		for _, e := range list {
			if err := c.put(ctx, n, e, l.Seq); err != nil {
				return err
			}
		}
		back++
		return drop(ctx, dlq, l.Seq)
	})
	if err != nil {
		return err
	}
	return c.report(a, back, left, "dead letters of this reason cannot be read as they are: repair them with --list --json and --fix")
}

// repaired is one line of --fix.
type repaired struct {
	Seq   uint64          `json:"seq"`
	Event json.RawMessage `json:"event"`
}

// fix puts repaired events back. All lines are checked before any is published.
func (c *replayCmd) fix(ctx context.Context, a *App, n *natsClient, dlq jetstream.Stream) error {
	in := a.Stdin
	if c.Fix != "-" {
		f, err := os.Open(c.Fix)
		if err != nil {
			return fmt.Errorf("%s cannot be read: name a file of repaired events with --fix, or - for standard input", c.Fix)
		}
		defer f.Close()
		in = f
	}
	type fixed struct {
		seq   uint64
		event *events.Event
	}
	var list []fixed
	err := eachLine(in, func(number int, line []byte) error {
		r := repaired{Event: line}
		var probe map[string]json.RawMessage
		if json.Unmarshal(line, &probe) == nil && probe["specversion"] == nil && probe["event"] != nil {
			r.Event = nil
			if err := json.Unmarshal(line, &r); err != nil {
				return fmt.Errorf("line %d: write it as {\"seq\":12,\"event\":{…}}: nothing was put back", number)
			}
		}
		e, err := events.Parse(r.Event)
		if err != nil {
			return fmt.Errorf("line %d: %w: nothing was put back", number, err)
		}
		if !events.FromProducer(e.Type) {
			return fmt.Errorf("line %d: events of type %s are published by Huoma itself: nothing was put back", number, e.Type)
		}
		list = append(list, fixed{r.Seq, e})
		return nil
	})
	if err != nil {
		return err
	}
	for i, f := range list {
		if err := c.put(ctx, n, f.event, f.seq); err != nil {
			return fmt.Errorf("%w (%d of %d events were put back)", err, i, len(list))
		}
		if f.seq > 0 {
			if err := drop(ctx, dlq, f.seq); err != nil {
				return err
			}
		}
	}
	return c.report(a, len(list), 0, "")
}

func (c *replayCmd) report(a *App, back, left int, why string) error {
	var err error
	if c.JSON {
		err = printJSON(a.Stdout, map[string]int{"replayed": back, "left": left})
	} else {
		_, err = fmt.Fprintf(a.Stdout, "%d put back\n", back)
	}
	if err == nil && left > 0 {
		return fmt.Errorf("%d %s", left, why)
	}
	return err
}

// put publishes an event again. Its message id differs from the first one's:
// within its window the server would take the same one for a repeat.
func (c *replayCmd) put(ctx context.Context, n *natsClient, e *events.Event, seq uint64) error {
	kind := events.InKind(e.Type)
	if kind == "" {
		return fmt.Errorf("events of type %s are published by Huoma itself and cannot be put back", e.Type)
	}
	b, err := e.Marshal()
	if err != nil {
		return err
	}
	return n.Publish(ctx, events.InSubject(kind, e.Subject), fmt.Sprintf("%s/replay/%d", e.ID, seq), b)
}

// drop takes a dead letter out. One that is gone already is no error.
func drop(ctx context.Context, dlq jetstream.Stream, seq uint64) error {
	err := dlq.DeleteMsg(ctx, seq)
	if err == nil {
		return nil
	}
	if _, gone := dlq.GetMsg(ctx, seq); errors.Is(gone, jetstream.ErrMsgNotFound) {
		return nil
	}
	return fmt.Errorf("the event is stored, but its dead letter %d cannot be taken out: %w: run again, repeats are dropped", seq, err)
}

// letters hands out all dead letters there are now, the oldest first.
func letters(ctx context.Context, dlq jetstream.Stream, fn func(letter) error) error {
	info, err := dlq.Info(ctx)
	if err != nil {
		return fmt.Errorf("the dead letters cannot be read: %w", err)
	}
	if info.State.Msgs == 0 {
		return nil
	}
	cons, err := dlq.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return fmt.Errorf("the dead letters cannot be read: %w", err)
	}
	for {
		msg, err := cons.Next(jetstream.FetchMaxWait(10 * time.Second))
		if err != nil {
			return fmt.Errorf("the dead letters cannot be read to their end: %w", err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		h := msg.Headers()
		data := string(msg.Data())
		if !utf8.ValidString(data) {
			data = strings.ToValidUTF8(data, "\ufffd")
		}
		err = fn(letter{
			Seq: meta.Sequence.Stream, At: meta.Timestamp.UTC(), Reason: h.Get(events.HeaderReason), Detail: h.Get(events.HeaderDetail),
			Subject: h.Get(events.HeaderSubject), Place: h.Get(events.HeaderPlace), Data: data,
		})
		if err != nil {
			return err
		}
		if meta.Sequence.Stream >= info.State.LastSeq || meta.NumPending == 0 {
			return ctx.Err()
		}
	}
}

// eachLine hands out the lines that are not blank, with their numbers from 1.
func eachLine(in io.Reader, fn func(number int, line []byte) error) error {
	s := bufio.NewScanner(in)
	s.Buffer(nil, 4<<20)
	for number := 1; s.Scan(); number++ {
		if strings.TrimSpace(s.Text()) == "" {
			continue
		}
		if err := fn(number, []byte(strings.Clone(s.Text()))); err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("the repaired events cannot be read: %w", err)
	}
	return nil
}
