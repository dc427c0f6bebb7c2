package natsjs

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/events"
)

// AppendRecords stores records of a gateway, one message each, and returns
// when all of them are stored. Records of one partition are stored in the
// order given: whoever has seen a producer's record knows that all before it
// are there. They are cheapest with one record a partition. A record whose acknowledgement got lost is
// published again with the same id, and the server keeps one. It gives up when
// ctx ends: then some may be stored and some not, and the same records may be
// given again. ErrTooLarge: a record is larger than the server takes; none is
// stored.
func (c *Conn) AppendRecords(ctx context.Context, records []events.Record) error {
	const what = "store records"
	var rounds [][]*nats.Msg // the n-th has the n-th record of each partition
	nth := map[int]int{}
	for _, r := range records {
		n := strconv.FormatUint(r.Number, 10)
		m := &nats.Msg{
			Subject: events.StoredSubject(r.Partition, events.KindGateway),
			Header: nats.Header{
				events.HeaderMsgID:       {r.Producer + "." + strconv.Itoa(r.Partition) + "." + n},
				events.HeaderContentType: {events.ContentTypeBatch},
				events.HeaderProducer:    {r.Producer},
				events.HeaderRecord:      {n},
			},
			Data: r.Payload,
		}
		if !r.Spooled.IsZero() {
			m.Header[events.HeaderSpooled] = []string{events.SpooledTime(r.Spooled)}
		}
		if err := c.checkSize(what, m); err != nil {
			return err
		}
		i := nth[r.Partition]
		if nth[r.Partition]++; i == len(rounds) {
			rounds = append(rounds, nil)
		}
		rounds[i] = append(rounds[i], m)
	}
	for _, msgs := range rounds {
		if err := c.publishAll(ctx, what, msgs); err != nil {
			return err
		}
	}
	return nil
}

// PublishAlerts stores alerts for subscribers, each once by its id within the
// duplicate window of the stream (24 h).
func (c *Conn) PublishAlerts(ctx context.Context, alerts []*events.Event) error {
	msgs := make([]*nats.Msg, len(alerts))
	for i, a := range alerts {
		kind := strings.TrimSuffix(strings.TrimPrefix(a.Type, "huoma.alert."), ".v1")
		if kind == a.Type || strings.Contains(kind, ".") {
			return fmt.Errorf("publish alerts: %q is no alert", a.Type)
		}
		m, err := message(events.AlertSubject(kind, a.Subject), a)
		if err != nil {
			return err
		}
		msgs[i] = m
	}
	return c.publishAll(ctx, "publish alerts", msgs)
}

// PublishDecisions tells subscribers of decisions. Nothing is stored and
// nobody acknowledges: the commit record is what counts.
func (c *Conn) PublishDecisions(_ context.Context, decisions []*events.Event) error {
	for _, d := range decisions {
		data, ok := d.Data.(*events.Decision)
		if !ok {
			return fmt.Errorf("publish decisions: %q is no decision", d.Type)
		}
		m, err := message(events.DecisionSubject(data.Kind, d.Subject), d)
		if err != nil {
			return err
		}
		if err := c.nc.PublishMsg(m); err != nil {
			return fmt.Errorf("publish decisions: %w", err)
		}
	}
	return nil
}

func message(subject string, e *events.Event) (*nats.Msg, error) {
	b, err := e.Marshal()
	if err != nil {
		return nil, err
	}
	return &nats.Msg{
		Subject: subject,
		Header:  nats.Header{events.HeaderMsgID: {e.ID}, events.HeaderContentType: {events.ContentType}},
		Data:    b,
	}, nil
}

// DeadLetter stores what could not be understood, with the reason, each once
// by its place and kind (partition.sequence.index.kind) within 24 h.
func (c *Conn) DeadLetter(ctx context.Context, letters []events.DeadLetter) error {
	msgs := make([]*nats.Msg, len(letters))
	for i, l := range letters {
		p, seq, idx := strconv.Itoa(l.Partition), strconv.FormatUint(l.Seq, 10), strconv.Itoa(l.Idx)
		id := p + "." + seq + "." + idx
		if l.Kind != "" {
			id += "." + l.Kind
		}
		msgs[i] = &nats.Msg{
			Subject: events.DLQSubject(l.Partition),
			Header: nats.Header{
				events.HeaderMsgID:   {id},
				events.HeaderReason:  {headerText(string(l.Reason))},
				events.HeaderDetail:  {headerText(l.Detail)},
				events.HeaderSubject: {headerText(l.Subject)},
				events.HeaderPlace:   {p + "/" + seq + "/" + idx},
			},
			Data: l.Data,
		}
		// The letter is the original message plus our headers: one that was
		// as large as the server takes is cut rather than lost.
		if room := c.MaxPayload() - headerSize(msgs[i].Header); len(l.Data) > room {
			msgs[i].Header[events.HeaderDetail] = []string{headerText(l.Detail) + fmt.Sprintf(" (cut from %d bytes)", len(l.Data))}
			msgs[i].Data = l.Data[:max(room-64, 0)]
		}
	}
	return c.publishAll(ctx, "store dead letters", msgs)
}

// headerText keeps a header value on its line, and short.
func headerText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > 1024 {
		s = strings.ToValidUTF8(s[:1024], "") + "…"
	}
	return s
}

// timerData is what a timer's message says.
type timerData struct{ code string }

func (t timerData) bytes() []byte { return []byte(`{"code":` + strconv.Quote(t.code) + `}`) }

// Schedule sets timers of codes: at its time (a tick of 250 ms at the
// earliest, at once when it is past) a message {"code":"…"} is stored on the
// partition's timer subject. A code has one timer; setting it again replaces
// its time. A timer is a hint and may come early: where events are kept for a
// limited time only, a timer further away than half of that comes at half.
// After an error some may be set.
func (c *Conn) Schedule(ctx context.Context, partition int, timers []events.Timer) error {
	inst, err := c.Installation(ctx)
	if err != nil {
		return err
	}
	latest := time.Now().Add(inst.EventsMaxAge / 2)
	msgs := make([]*nats.Msg, len(timers))
	for i, t := range timers {
		if !events.ValidSubject(t.Code) {
			return fmt.Errorf("set timer: %q is no code id", t.Code)
		}
		at := t.At
		if inst.EventsMaxAge > 0 && at.After(latest) {
			at = latest
		}
		msgs[i] = &nats.Msg{
			Subject: events.ScheduleSubject(partition, t.Code),
			Header: nats.Header{
				// jetstream.WithScheduleAt would cut the time to whole seconds.
				jetstream.ScheduleHeader:       {"@at " + at.UTC().Format(time.RFC3339Nano)},
				jetstream.ScheduleTargetHeader: {events.StoredSubject(partition, events.KindTimer)},
			},
			Data: timerData{t.Code}.bytes(),
		}
	}
	return c.publishAll(ctx, "set timers", msgs)
}

// Timers are the timers that are set in a partition, by code: those that have
// not fired yet.
func (c *Conn) Timers(ctx context.Context, partition int) (map[string]time.Time, error) {
	set := make(map[string]time.Time)
	all := events.ScheduleSubject(partition, "*")
	err := c.Stored(ctx, events.StreamEvents, []string{all}, 1, math.MaxInt64, func(m events.Message) error {
		at, ok := strings.CutPrefix(m.Get(jetstream.ScheduleHeader), "@at ")
		if t, err := time.Parse(time.RFC3339Nano, at); ok && err == nil {
			set[strings.TrimPrefix(m.Subject, strings.TrimSuffix(all, "*"))] = t
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the timers of partition %d: %w", partition, err)
	}
	return set, nil
}

// Wake stores a message {"code":""} on the partition's timer subject, so that
// its owner, or who becomes it, has something to do.
func (c *Conn) Wake(ctx context.Context, partition int) error {
	return c.publishAll(ctx, "wake partition", []*nats.Msg{{
		Subject: events.StoredSubject(partition, events.KindTimer),
		Data:    timerData{}.bytes(),
	}})
}

// headerSize is at least the bytes a header takes on the wire.
func headerSize(h nats.Header) int {
	n := len("NATS/1.0\r\n\r\n")
	for k, vs := range h {
		for _, v := range vs {
			n += len(k) + len(v) + len(": \r\n")
		}
	}
	return n
}

// checkSize refuses what the server would not take.
func (c *Conn) checkSize(what string, m *nats.Msg) error {
	if n, most := len(m.Data)+headerSize(m.Header), c.MaxPayload(); n > most {
		return fmt.Errorf("%s: %w: it is %d bytes and the server takes %d: cut it smaller, or raise max_payload of the server", what, ErrTooLarge, n, most)
	}
	return nil
}

// publishAll stores messages and returns when all are acknowledged, trying
// those again whose outcome is not known. In what order they end up stored is
// open.
func (c *Conn) publishAll(ctx context.Context, what string, msgs []*nats.Msg) error {
	for _, m := range msgs {
		if err := c.checkSize(what, m); err != nil {
			return err
		}
	}
	left := msgs
	for attempt := 0; ; attempt++ {
		again, err := c.publishOnce(ctx, left)
		if len(again) == 0 && err == nil {
			return nil
		}
		if c.ended() {
			return fmt.Errorf("%s: %w", what, ErrClosed)
		}
		if !passing(err) && ctx.Err() == nil {
			return storeError(what, err)
		}
		if ctx.Err() != nil || !c.pause(ctx, attempt) {
			return c.gaveUp(ctx, what, err)
		}
		left = again
	}
}

// publishOnce publishes and waits for each acknowledgement. It returns the
// messages whose outcome is open with the last reason, or the first error that
// no waiting can mend.
func (c *Conn) publishOnce(ctx context.Context, msgs []*nats.Msg) (again []*nats.Msg, err error) {
	for len(msgs) > 0 {
		run := msgs[:min(len(msgs), maxInFlight/2)]
		msgs = msgs[len(run):]
		acks := make([]jetstream.PubAckFuture, len(run))
		for i, m := range run {
			f, perr := c.js.PublishMsgAsync(m)
			if perr != nil {
				err = perr
				if !passing(perr) {
					return nil, perr
				}
				continue
			}
			acks[i] = f
		}
		for i, f := range acks {
			if f == nil {
				again = append(again, run[i])
				continue
			}
			select {
			case <-f.Ok():
			case aerr := <-f.Err():
				if !passing(aerr) {
					return nil, aerr
				}
				err, again = aerr, append(again, run[i])
			case <-ctx.Done():
				return append(append(again, run[i:]...), msgs...), ctx.Err()
			case <-c.closed:
				return append(append(again, run[i:]...), msgs...), ErrClosed
			}
		}
		if len(again) > 0 {
			return append(again, msgs...), err
		}
	}
	return nil, nil
}

// storeError says why a server does not store a message.
func storeError(what string, err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch {
		case api.Code == http.StatusInsufficientStorage, api.ErrorCode == 10047, api.ErrorCode == 10023, api.ErrorCode == 10077:
			return fmt.Errorf("%s: NATS has no room left (%w): free disk space, or raise the limits of the stream", what, err)
		case errors.Is(err, jetstream.ErrStreamNotFound):
			return notFound(what, err)
		}
	}
	return fmt.Errorf("%s: NATS did not store it: %w", what, err)
}
