package allinone_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/huoma/huoma/internal/allinone"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/role"
	"github.com/huoma/huoma/schemas"
)

// published compiles the schemas by their paths.
func published(t testing.TB) func(name string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	const base = "https://schemas.invalid/"
	ids := map[string]string{}
	err := fs.WalkDir(schemas.Events, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(schemas.Events, name)
		if err != nil {
			return err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			return err
		}
		ids[name] = base + name
		return c.AddResource(ids[name], doc)
	})
	if err != nil {
		t.Fatal(err)
	}
	return func(name string) *jsonschema.Schema {
		t.Helper()
		s, err := c.Compile(ids[name])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return s
	}
}

// Everything that a real installation puts on NATS is as the schemas say:
// records, events, alerts, decisions.
func TestRealTrafficFitsTheSchemas(t *testing.T) {
	in := start(t, t.TempDir(), func(o *allinone.Options) { o.Streams = role.Streams{Partitions: 2} })
	schema := published(t)
	nc, decisions := in.listen("huoma.decision.>")
	_, alerts := in.listen("huoma.alert.>")

	code := in.mint(map[string]any{"profile": "wechat-group", "name": "读书会", "campaign": "c", "owner": "o", "validity": "1h", "renewal_every": "2s", "max_scans": 7,
		"targets":  []any{map[string]any{"url": "https://example.com/", "capacity": 5}, map[string]any{"url": "https://example.com/2"}},
		"variants": []any{map[string]any{"name": "red"}, map[string]any{"name": "blue"}},
		"rules":    []any{map[string]any{"id": "r", "limit": 3, "window": "30s", "action": "lock", "for": "1s"}, map[string]any{"id": "d", "scope": "code", "limit": 2, "window": "1m", "action": "dry-run"}}})
	visitor := in.person()
	for range 5 {
		visitor.scan(code.ScanURL)
	}
	for i := range 5 {
		if err := nc.Publish("huoma.in.member."+code.ID, []byte(cloudEvent(events.TypeMemberJoined, fmt.Sprint("j", i), code.ID, `{"target":0,"visitor":"v"}`))); err != nil {
			t.Fatal(err)
		}
	}
	for kind, e := range map[string]string{
		"scan":       cloudEvent(events.TypeScan, "s", code.ID, `{"openid":"o","utm":{"source":"x"},"user_agent":"Mozilla/5.0 (iPhone) MicroMessenger/8","variant":2}`),
		"conversion": cloudEvent(events.TypeConversion, "c", code.ID, `{"visitor":"v","name":"sale","value":12.50,"currency":"CNY"}`),
		"member":     cloudEvent(events.TypeMemberSnapshot, "n", code.ID, `{"target":1,"count":3}`),
	} {
		if err := nc.Publish("huoma.in."+kind+"."+code.ID, []byte(e)); err != nil {
			t.Fatal(err)
		}
	}
	in.person().scan(in.Gateway + "/s/FORGED")
	until(t, "status", "expired", func() string { return in.stats(code.ID).Status })
	in.call("POST", "/v1/codes/"+code.ID+"/renew", nil, nil)
	in.call("PATCH", "/v1/codes/"+code.ID, map[string]any{"name": "new"}, nil)
	in.call("DELETE", "/v1/codes/"+code.ID, nil, nil)
	until(t, "status", "revoked", func() string { return in.stats(code.ID).Status })

	fits := func(name string, b []byte) {
		t.Helper()
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema(name).Validate(doc); err != nil {
			t.Errorf("%s does not fit %s: %v", b, name, err)
		}
	}
	seen := map[string]int{}
	event := func(b []byte) {
		t.Helper()
		e, err := events.Parse(b)
		if err != nil {
			t.Errorf("%s: %v", b, err)
			return
		}
		seen[e.Type]++
		fits("events/"+e.Type+".json", b)
	}
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	each := func(stream, subject string, fn func(*nats.Msg)) {
		t.Helper()
		info, err := js.StreamInfo(stream)
		if err != nil {
			t.Fatal(err)
		}
		sub, err := js.SubscribeSync(subject, nats.DeliverAll(), nats.BindStream(stream))
		if err != nil {
			t.Fatal(err)
		}
		for {
			m, err := sub.NextMsg(2 * time.Second)
			if err != nil {
				t.Fatalf("%s: %v", stream, err)
			}
			fn(m)
			if meta, err := m.Metadata(); err != nil || meta.NumPending == 0 || meta.Sequence.Stream >= info.State.LastSeq {
				return
			}
		}
	}
	each(events.StreamEvents, "huoma.ev.>", func(m *nats.Msg) {
		if strings.HasSuffix(m.Subject, ".timer") {
			return
		}
		items, err := events.Split(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range items {
			event(item)
		}
	})
	records := 0
	each(events.StreamDecisions, events.CommitFilter, func(m *nats.Msg) {
		records++
		fits("commit.json", m.Data)
	})
	each(events.StreamAlerts, "huoma.alert.>", func(m *nats.Msg) { event(m.Data) })
	for _, m := range append(decisions(), alerts()...) {
		event(m.Data)
	}
	for _, typ := range []string{
		events.TypeCodeMinted, events.TypeCodeChanged, events.TypeCodeRenewed, events.TypeCodeRevoked, events.TypeScan, events.TypeMemberJoined,
		events.TypeMemberSnapshot, events.TypeConversion, events.TypeAlertCapacity, events.TypeAlertRisk, events.TypeAlertRenewal, events.TypeAlertExpiry, events.TypeDecision,
	} {
		if seen[typ] == 0 {
			t.Errorf("no %s was seen: %v", typ, seen)
		}
	}
	if records == 0 {
		t.Error("no commit record was seen")
	}
}
