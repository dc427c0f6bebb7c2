package natsjs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/events"
)

// importKeySize is the size of the key that ids of imported events are drawn with.
const importKeySize = 32

// importStream is the ledger of imports as it should be. Nothing in it ever expires: it is what an import of years ago is known by.
func importStream(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: events.StreamImports, Description: "Huoma: ledger of imports, ids by day",
		Subjects: []string{events.SubjectImports}, Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
		MaxBytes: Unlimited, Duplicates: 2 * time.Minute, Replicas: replicas, Metadata: map[string]string{metaLayout: layout},
	}
}

// Imports is the ledger of imports, kept in HUOMA_IMPORTS. Its calls wait out what may pass, until their context ends.
type Imports struct {
	c      *Conn
	exists bool
}

// Imports opens the ledger of imports. create makes its stream when there is none; without create such a ledger is empty.
// events.ErrNotFound: Huoma is not set up on this NATS.
func (c *Conn) Imports(ctx context.Context, create bool) (*Imports, error) {
	inst, err := c.Installation(ctx)
	if err != nil {
		return nil, err
	}
	have, err := c.streamInfo(ctx, events.StreamImports)
	switch {
	case errors.Is(err, events.ErrNotFound) && !create:
		return &Imports{c: c}, nil
	case err != nil && !errors.Is(err, events.ErrNotFound):
		return nil, err
	}
	want, err := merge(have, importStream(inst.Replicas))
	if err != nil {
		return nil, err
	}
	if have != nil && (have.Config.MaxAge > 0 || have.Config.MaxBytes > 0) {
		return nil, &IncompatibleError{Stream: events.StreamImports, Field: "limits", Have: fmt.Sprintf("age %s, %d bytes", have.Config.MaxAge, have.Config.MaxBytes),
			Want: "none", Do: "take them off: what the stream forgets would be imported a second time"}
	}
	if create && (have == nil || !reflect.DeepEqual(have.Config, want)) {
		err := c.retry(ctx, "set up stream "+events.StreamImports, func(ctx context.Context) error {
			_, err := c.js.CreateOrUpdateStream(ctx, want)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return &Imports{c: c, exists: true}, nil
}

// Key returns the key that event ids are drawn with. When there is none, create draws one; else it is nil.
func (im *Imports) Key(ctx context.Context, create bool) ([]byte, error) {
	if !im.exists {
		return nil, nil
	}
	const what = "read the key of imports"
	for attempt := 0; ; attempt++ {
		var key []byte
		err := im.c.retry(ctx, what, func(ctx context.Context) error {
			m, err := im.c.last(ctx, events.StreamImports, events.SubjectImportKey)
			key = m.Data
			return err
		})
		switch {
		case err == nil && len(key) == importKeySize:
			return key, nil
		case err == nil:
			return nil, &IncompatibleError{Stream: events.StreamImports, Field: "key", Have: fmt.Sprintf("%d bytes", len(key)), Want: fmt.Sprintf("%d bytes", importKeySize),
				Do: "restore the stream"}
		case !errors.Is(err, events.ErrNotFound):
			return nil, err
		case !create:
			return nil, nil
		}
		key = make([]byte, importKeySize)
		_, _ = rand.Read(key) // never fails: it ends the program instead
		_, err = im.c.appendOnce(ctx, &nats.Msg{Subject: events.SubjectImportKey, Header: nats.Header{jetstream.ExpectedLastSubjSeqHeader: {"0"}}, Data: key})
		if err != nil && !wrongLast(err) && !passing(err) {
			return nil, storeError(what, err)
		}
		if err != nil && (ctx.Err() != nil || !im.c.pause(ctx, attempt)) {
			return nil, im.c.gaveUp(ctx, what, err)
		}
	}
}

// ImportScope says which entries of the ledger are wanted.
type ImportScope struct {
	Closings bool     // closings alone
	Days     []string // announcements of these days alone, each written as 20260131; without either: everything
}

// Read calls fn with the entries from a sequence on, in order (with more than 256 days, in order among each 256). It returns when those are
// through that were there when it was called, with the newest sequence there was and the server's time.
func (im *Imports) Read(ctx context.Context, from uint64, scope ImportScope, fn func(events.ImportEntry) error) (last uint64, now time.Time, err error) {
	if !im.exists {
		return 0, time.Now(), nil
	}
	err = im.c.retry(ctx, "read "+events.StreamImports, func(ctx context.Context) error {
		s, err := im.c.js.Stream(ctx, events.StreamImports)
		if err != nil {
			return err
		}
		info := s.CachedInfo()
		last, now = info.State.LastSeq, info.TimeStamp
		return nil
	})
	if err != nil || last < from {
		return last, now, err
	}
	if now.IsZero() {
		now = time.Now() // a server that does not tell
	}
	filters := [][]string{{events.SubjectImports}}
	switch {
	case scope.Closings:
		filters[0][0] = events.SubjectImportClosed
	case len(scope.Days) > 0:
		filters = nil
		for some := range slices.Chunk(scope.Days, maxFilters) {
			subjects := make([]string, len(some))
			for i, d := range some {
				subjects[i] = events.ImportDaySubject(d)
			}
			filters = append(filters, subjects)
		}
	}
	for _, f := range filters {
		if err := im.read(ctx, from, f, fn); err != nil {
			return last, now, err
		}
	}
	return last, now, nil
}

// maxFilters bounds the subjects that one consumer looks for.
const maxFilters = 256

// read follows the stream until what there is has been read.
func (im *Imports) read(ctx context.Context, from uint64, filters []string, fn func(events.ImportEntry) error) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	f := feed{stream: events.StreamImports, filters: filters, next: from, caught: cancel}
	err := im.c.follow(inner, &f, func(d *delivery) error {
		e, ok, err := importEntry(d.Message)
		if err != nil || !ok {
			return err
		}
		return fn(e)
	})
	if f.isCaughtUp && ctx.Err() == nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// importEntry reads a message of the ledger. ok is false for the key.
func importEntry(m events.Message) (e events.ImportEntry, ok bool, err error) {
	unreadable := func() (events.ImportEntry, bool, error) {
		return e, false, fmt.Errorf("entry %d of %s cannot be read: restore the stream, or upgrade this program", m.Seq, events.StreamImports)
	}
	e = events.ImportEntry{Seq: m.Seq, At: m.At, Run: m.Get(events.HeaderImport), IDs: m.Data}
	if len(m.Data)%16 != 0 && m.Subject != events.SubjectImportKey {
		return unreadable()
	}
	switch day, isDay := strings.CutPrefix(m.Subject, events.ImportDaySubject("")); {
	case isDay:
		at, err := time.Parse("20060102", day)
		if err != nil {
			return unreadable()
		}
		e.Day = int32(at.Unix() / 86400)
		if e.Chunk, err = strconv.ParseUint(m.Get(events.HeaderChunk), 10, 64); err != nil {
			return unreadable()
		}
	case m.Subject == events.SubjectImportClosed:
		for s := range strings.SplitSeq(m.Get(events.HeaderCloses), ",") {
			seq, err := strconv.ParseUint(s, 10, 64)
			if err != nil {
				return unreadable()
			}
			e.Closes = append(e.Closes, seq)
		}
	case m.Subject == events.SubjectImportKey:
		return e, false, nil
	default:
		return unreadable()
	}
	return e, true, nil
}

func importMessage(e events.ImportEntry) *nats.Msg {
	m := &nats.Msg{Header: nats.Header{events.HeaderImport: {e.Run}}, Data: e.IDs}
	if len(e.Closes) > 0 {
		m.Subject = events.SubjectImportClosed
		list := make([]string, len(e.Closes))
		for i, seq := range e.Closes {
			list[i] = strconv.FormatUint(seq, 10)
		}
		m.Header[events.HeaderCloses] = []string{strings.Join(list, ",")}
		return m
	}
	m.Subject = events.ImportDaySubject(time.Unix(int64(e.Day)*86400, 0).UTC().Format("20060102"))
	m.Header[events.HeaderChunk] = []string{strconv.FormatUint(e.Chunk, 10)}
	return m
}

// Announce appends entries one behind the other, if the stream's newest sequence is after. It returns the newest sequence then.
// events.ErrConflict: it was not, or another's entry came between. After any error some entries may be stored.
func (im *Imports) Announce(ctx context.Context, after uint64, list []events.ImportEntry) (last uint64, err error) {
	const what = "write to the ledger of imports"
	for len(list) > 0 {
		run := list[:min(len(list), maxInFlight/2)]
		list = list[len(run):]
		acks := make([]jetstream.PubAckFuture, 0, len(run))
		for _, e := range run {
			m := importMessage(e)
			m.Header[jetstream.ExpectedLastSeqHeader] = []string{strconv.FormatUint(after, 10)}
			if err := im.c.checkSize(what, m); err != nil {
				return after, err
			}
			f, perr := im.c.js.PublishMsgAsync(m)
			if perr != nil {
				err = perr
				break
			}
			acks = append(acks, f)
			after++
		}
		for _, f := range acks {
			select {
			case ack := <-f.Ok():
				last = ack.Sequence
			case aerr := <-f.Err():
				if err == nil {
					err = aerr
				}
			case <-ctx.Done():
				return last, im.c.gaveUp(ctx, what, ctx.Err())
			case <-im.c.closed:
				return last, fmt.Errorf("%s: %w", what, ErrClosed)
			}
		}
		switch {
		case err == nil:
		case wrongLast(err):
			return last, fmt.Errorf("%s: %w", what, events.ErrConflict)
		case passing(err):
			// What became of it is read from the stream, as after another's entry.
			if ctx.Err() != nil || !im.c.pause(ctx, 1) {
				return last, im.c.gaveUp(ctx, what, err)
			}
			return last, fmt.Errorf("%s: %w", what, events.ErrConflict)
		default:
			return last, storeError(what, err)
		}
	}
	return last, nil
}

// Close appends a closing, whatever came before it, and returns its sequence. It may be stored more than once, which does no harm.
func (im *Imports) Close(ctx context.Context, e events.ImportEntry) (seq uint64, err error) {
	const what = "write to the ledger of imports"
	m := importMessage(e)
	if err := im.c.checkSize(what, m); err != nil {
		return 0, err
	}
	for attempt := 0; ; attempt++ {
		seq, err := im.c.appendOnce(ctx, m)
		switch {
		case err == nil:
			return seq, nil
		case im.c.ended():
			return 0, fmt.Errorf("%s: %w", what, ErrClosed)
		case !passing(err) && ctx.Err() == nil:
			return 0, storeError(what, err)
		}
		if ctx.Err() != nil || !im.c.pause(ctx, attempt) {
			return 0, im.c.gaveUp(ctx, what, err)
		}
	}
}
