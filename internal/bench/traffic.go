package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/natsjs"
	"github.com/huoma/huoma/internal/token"
	"github.com/huoma/huoma/internal/token/keyfile"
)

const (
	apiKey = "bench-key-that-is-long-enough"
	target = "https://example.com/groups/spring"
)

// forms are all of them.
var forms = []string{single, packed}

// codeID is the id of the i-th code of a run.
func codeID(i int) token.CodeID {
	return token.CodeID((uint64(i)*0x9e3779b97f4a7c15 + 0x5851f42d4c957f2d) & (1<<60 - 1)) // odd, so that none comes twice
}

// Forms of input: how a log's events are laid out in messages.
const (
	single = "one event a message" // as producers publish
	packed = "records of a gateway"
	// packedEvents is how many a record of a gateway holds here: about what one flush at 256 connections does.
	packedEvents = 200
)

// appendScan appends the i-th scan of a run, of a visitor of its own, as a
// producer would publish it or a gateway stores it.
func appendScan(b []byte, form string, code string, i int, at []byte) []byte {
	id := fmt.Appendf(nil, "01BENCH%019d", i)
	b = append(b, `{"specversion":"1.0","id":"`...)
	b = append(b, id...)
	b = append(b, `","source":"/bench","type":"huoma.scan.v1","subject":"`...)
	b = append(b, code...)
	b = append(b, `","time":"`...)
	b = append(b, at...)
	b = append(b, `","data":{"variant":1,"tracking":"0123ABCD","visitor":"`...)
	b = fmt.Appendf(b, "%022d", i)
	b = append(b, `","user_agent":"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.49(0x18003137) NetType/WIFI Language/zh_CN","network":"203.0.113.0/24","device_model":"iPhone","os":"iOS","app":"WeChat","target":0`...)
	if form == packed {
		b = append(b, `,"click_id":"`...)
		b = append(b, id...)
		b = append(b, `","answered":"accepted"`...)
	}
	return append(b, `}}`...)
}

// stamp is now, as an event's time.
func stamp() []byte { return time.Now().UTC().AppendFormat(nil, "2006-01-02T15:04:05.000Z") }

// bus is a connection for what the bench itself does to a log.
type bus struct {
	nc *nats.Conn
	js jetstream.JetStream
}

func dial(url string) (*bus, error) {
	nc, err := nats.Connect(url, nats.Name("bench"))
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096), jetstream.WithPublishAsyncTimeout(time.Minute))
	if err != nil {
		nc.Close()
		return nil, err
	}
	return &bus{nc, js}, nil
}

func (s *bus) close() { s.nc.Close() }

// batch publishes without waiting; flushed says whether all of it is stored.
type batch struct {
	js  jetstream.JetStream
	all []jetstream.PubAckFuture
}

func (p *batch) add(m *nats.Msg) error {
	f, err := p.js.PublishMsgAsync(m, jetstream.WithStallWait(time.Minute))
	if err != nil {
		return err
	}
	if p.all = append(p.all, f); len(p.all) >= 1<<16 {
		return p.flush()
	}
	return nil
}

func (p *batch) flush() error {
	for _, f := range p.all {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			return fmt.Errorf("publish: %w", err)
		}
	}
	p.all = p.all[:0]
	return nil
}

// mintTemplate is a definition as a gateway of this very build has written it:
// in the bucket and in the log. Codes by the million are made of it.
type mintTemplate struct {
	id     string // of its code
	event  string // of the event that tells of it
	stored []byte // in the bucket
	log    []byte // the event
}

// mint lets a gateway mint one code and takes down what it wrote.
func (in *installation) mint(ctx context.Context, body string) (*mintTemplate, error) {
	if err := in.startGateway(ctx); err != nil {
		return nil, err
	}
	answer, err := in.post(ctx, "/v1/codes", "application/json", []byte(body), http.StatusCreated)
	if err != nil {
		return nil, err
	}
	id, err := textBetween(answer, `"id":"`, `"`)
	if err != nil {
		return nil, err
	}
	if err := in.stopGateway(); err != nil {
		return nil, err
	}
	t := &mintTemplate{id: id}
	kv, err := in.bus.js.KeyValue(ctx, events.BucketCodes)
	if err != nil {
		return nil, err
	}
	entry, err := kv.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	t.stored = entry.Value()
	s, err := in.bus.js.Stream(ctx, events.StreamEvents)
	if err != nil {
		return nil, err
	}
	m, err := s.GetLastMsgForSubject(ctx, events.StoredSubject(0, events.KindGateway))
	if err != nil {
		return nil, err
	}
	t.log = bytes.TrimSuffix(bytes.TrimPrefix(m.Data, []byte("[")), []byte("]"))
	t.event, err = textBetween(t.log, `"id":"`, `"`)
	return t, err
}

func textBetween(b []byte, before, after string) (string, error) {
	_, rest, ok := bytes.Cut(b, []byte(before))
	text, _, ended := bytes.Cut(rest, []byte(after))
	if !ok || !ended {
		return "", fmt.Errorf("%q is not in what the gateway answered", before)
	}
	return string(text), nil
}

func (in *installation) post(ctx context.Context, path, contentType string, body []byte, want int) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+in.gateway.addr+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Authorization", "Bearer "+apiKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != want {
		err = fmt.Errorf("POST %s: %s: %s", path, resp.Status, answer)
	}
	return answer, err
}

// define makes codes after the one that was minted: each in the bucket and in the log.
func (in *installation) define(from, to int) error {
	t := in.like
	puts := batch{js: in.bus.js}
	record := in.newRecords("bench-mint-" + strconv.Itoa(from))
	for i := from; i < to; i++ {
		id := codeID(i).String()
		event := fmt.Sprintf("01MINT%020d", i)
		r := func(b []byte) []byte {
			return bytes.ReplaceAll(bytes.ReplaceAll(b, []byte(t.id), []byte(id)), []byte(t.event), []byte(event))
		}
		if err := puts.add(&nats.Msg{Subject: "$KV." + events.BucketCodes + "." + id, Data: r(t.stored)}); err != nil {
			return err
		}
		if err := record.add(r(t.log)); err != nil {
			return err
		}
	}
	return errors.Join(puts.flush(), record.flush())
}

// records writes events as a gateway does.
type records struct {
	batch
	name string
	n    int
	open []byte
	held int
}

func (in *installation) newRecords(name string) *records {
	return &records{batch: batch{js: in.bus.js}, name: name}
}

func (r *records) add(event []byte) error {
	if r.held == 0 {
		r.open = append(make([]byte, 0, packedEvents*(len(event)+16)), '[')
	} else {
		r.open = append(r.open, ',')
	}
	r.open = append(r.open, event...)
	if r.held++; r.held == packedEvents {
		return r.cut()
	}
	return nil
}

func (r *records) cut() error {
	if r.held == 0 {
		return nil
	}
	r.n++
	r.held = 0
	n := strconv.Itoa(r.n)
	return r.batch.add(&nats.Msg{
		Subject: events.StoredSubject(0, events.KindGateway),
		Header: nats.Header{
			events.HeaderMsgID: {r.name + ".0." + n}, events.HeaderContentType: {events.ContentTypeBatch},
			events.HeaderProducer: {r.name}, events.HeaderRecord: {n},
		},
		Data: append(r.open, ']'),
	})
}

func (r *records) flush() error { return errors.Join(r.cut(), r.batch.flush()) }

// fill stores scans in the log, spread over the codes.
func (in *installation) fill(form string, scans int) error {
	var buf []byte
	at := stamp()
	record, one := in.newRecords("bench-gateway-"+strconv.Itoa(in.filled)), batch{js: in.bus.js}
	for i := range scans {
		if i%packedEvents == 0 {
			at = stamp()
		}
		code := codeID((in.filled + i) % in.codes).String()
		buf = appendScan(buf[:0], form, code, in.filled+i, at)
		var err error
		if form == packed {
			err = record.add(buf)
		} else {
			err = one.add(producerMessage(code, in.filled+i, bytes.Clone(buf)))
		}
		if err != nil {
			return err
		}
	}
	in.filled += scans
	return errors.Join(record.flush(), one.flush())
}

func producerMessage(code string, i int, event []byte) *nats.Msg {
	return &nats.Msg{
		Subject: events.InSubject("scan", code),
		Header:  nats.Header{events.HeaderMsgID: {fmt.Sprintf("01BENCH%019d", i)}, events.HeaderContentType: {events.ContentType}},
		Data:    event,
	}
}

// writeTokens writes the token of every code, one after the other.
func (in *installation) writeTokens() error {
	ring, err := keyfile.Load(in.keyring())
	if err != nil {
		return err
	}
	out := make([]byte, 0, in.codes*token.Length)
	for i := range in.codes {
		t, err := ring.Seal(token.Picture{Code: codeID(i), Variant: 1})
		if err != nil {
			return err
		}
		out = append(out, t...)
	}
	return os.WriteFile(in.tokens(), out, 0o600)
}

func (in *installation) keyring() string { return filepath.Join(in.dir, "keyring.json") }
func (in *installation) tokens() string  { return filepath.Join(in.dir, "tokens") }

// scansInLog counts the scans that are stored.
func (in *installation) scansInLog(ctx context.Context) (int, error) {
	conn, err := natsjs.Connect(ctx, natsjs.Options{URL: in.nats.addr, Name: "bench"})
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	n := 0
	scan := []byte(`"type":"` + events.TypeScan + `"`)
	err = conn.Replay(ctx, 0, 1, 1<<62, func(m events.Message) error {
		n += bytes.Count(m.Data, scan)
		return nil
	})
	return n, err
}
