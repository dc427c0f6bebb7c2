package allinone_test

import (
	"bytes"
	"fmt"
	"image/png"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
	"github.com/nats-io/nats.go"

	"github.com/huoma/huoma/internal/allinone"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/role"
)

// listen collects what is published on a subject, as any NATS client would.
func (in *installation) listen(subject string) (nc *nats.Conn, got func() []*nats.Msg) {
	in.t.Helper()
	nc, err := nats.Connect(in.NATS)
	if err != nil {
		in.t.Fatal(err)
	}
	in.t.Cleanup(nc.Close)
	var mu sync.Mutex
	var list []*nats.Msg
	if _, err := nc.Subscribe(subject, func(m *nats.Msg) { mu.Lock(); list = append(list, m); mu.Unlock() }); err != nil {
		in.t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		in.t.Fatal(err)
	}
	return nc, func() []*nats.Msg { mu.Lock(); defer mu.Unlock(); return append([]*nats.Msg(nil), list...) }
}

func cloudEvent(typ, id, code string, data string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"shop","type":%q,"subject":%q,"time":%q,"data":%s}`,
		id, typ, code, events.FormatTime(time.Now()), data)
}

// Minted, printed, scanned, locked: and each of it a row.
func TestFromMintToRow(t *testing.T) {
	in := start(t, t.TempDir())
	code := in.mint(map[string]any{"profile": "wecom-group", "campaign": "spring", "targets": []any{map[string]any{"url": "https://example.com/group"}}})

	req, _ := http.NewRequestWithContext(t.Context(), "GET", code.QRPNG, nil)
	req.Header.Set("Authorization", "Bearer "+apiKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	img, err := png.Decode(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	bitmap, err := gozxing.NewBinaryBitmapFromImage(img)
	if err != nil {
		t.Fatal(err)
	}
	read, err := qrcode.NewQRCodeReader().Decode(bitmap, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.ToUpper(in.Gateway) + "/S/" + code.Token; read.GetText() != want {
		t.Fatalf("the picture says %s, want %s", read.GetText(), want)
	}

	visitor := in.person()
	for i := range 5 {
		resp := visitor.scan(read.GetText())
		if resp.StatusCode != http.StatusFound || resp.Header.Get("Location") != "https://example.com/group" || resp.Header.Get("Huoma-Verdict") != "accepted" {
			t.Fatalf("scan %d answers %s to %q", i+1, resp.Status, resp.Header.Get("Location"))
		}
	}
	var refused *http.Response
	until(t, "the sixth scan", http.StatusTooManyRequests, func() int { refused = visitor.scan(code.ScanURL); return refused.StatusCode })
	if refused.Header.Get("Retry-After") == "" || refused.Header.Get("Huoma-Rule") != "frequency" {
		t.Errorf("refused with Retry-After %q by rule %q", refused.Header.Get("Retry-After"), refused.Header.Get("Huoma-Rule"))
	}
	if got := in.person().scan(code.ScanURL); got.StatusCode != http.StatusFound {
		t.Errorf("another visitor gets %s", got.Status)
	}
	until(t, "accepted rows", "6\t2\tspring", func() string {
		return in.query("SELECT count(), uniqExact(visitor), any(utm_campaign) FROM scans WHERE verdict = 'accepted' AND code_id = '" + code.ID + "'")
	})
	until(t, "the refused scan's row", "frequency", func() string {
		return in.query("SELECT rule FROM scans WHERE event_id = '" + refused.Header.Get("Huoma-Event") + "' AND verdict = 'locked'")
	})
	in.agree()
}

// A plain NATS client fills a group: one warning, everywhere, and the next
// group takes over.
func TestGroupFillsUp(t *testing.T) {
	in := start(t, t.TempDir())
	code := in.mint(map[string]any{"profile": "wecom-group", "targets": []any{
		map[string]any{"url": "https://example.com/first", "capacity": 10}, map[string]any{"url": "https://example.com/second", "capacity": 10},
	}})
	nc, alerts := in.listen("huoma.alert.>")
	_, decisions := in.listen("huoma.decision.>")
	join := func(i int) {
		t.Helper()
		b := []byte(cloudEvent(events.TypeMemberJoined, fmt.Sprintf("join-%d", i), code.ID, `{"target":0}`))
		if err := nc.Publish("huoma.in.member."+code.ID, b); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 8 {
		join(i)
		join(i) // a producer that repeats itself
	}
	until(t, "warnings on NATS", 1, func() int { return len(alerts()) })
	e, err := events.Parse(alerts()[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	a := e.Data.(*events.Alert)
	if e.Type != events.TypeAlertCapacity || *a.Members != 8 || a.Capacity != 10 || a.Percent != 80 || a.MembersFrom != "members" || a.EtaFull == "" {
		t.Errorf("alert = %s %+v", e.Type, a)
	}
	until(t, "warnings in ClickHouse", "1\t"+e.ID, func() string {
		return in.query("SELECT count(), any(event_id) FROM alerts WHERE kind = 'capacity' AND code_id = '" + code.ID + "'")
	})
	until(t, "warnings at the gateway", 1, func() int {
		var list struct{ Alerts []any }
		in.call("GET", "/v1/alerts?code="+code.ID, nil, &list)
		return len(list.Alerts)
	})
	if got := in.person().scan(code.ScanURL).Header.Get("Location"); got != "https://example.com/first" {
		t.Errorf("before it is full a scan leads to %s", got)
	}
	join(8)
	join(9)
	until(t, "where a scan leads", "https://example.com/second", func() string { return in.person().scan(code.ScanURL).Header.Get("Location") })
	until(t, "decisions on NATS", "rotate", func() string {
		var kinds []string
		for _, m := range decisions() {
			if e, err := events.Parse(m.Data); err == nil {
				kinds = append(kinds, e.Data.(*events.Decision).Kind)
			}
		}
		return strings.Join(kinds, ",")
	})
	if n := len(alerts()); n != 1 {
		t.Errorf("%d alerts, want the one warning", n)
	}
	in.agree()
}

// What is malformed is kept with its reason, and a scan published by a plain
// client counts like any other.
func TestPlainProducer(t *testing.T) {
	in := start(t, t.TempDir(), func(o *allinone.Options) { o.Streams = role.Streams{Partitions: 4} })
	code := in.mint(map[string]any{"profile": "wecom-group", "targets": []any{map[string]any{"url": "https://example.com/"}}})
	nc, _ := in.listen("none")
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	publish := func(subject, body string) {
		t.Helper()
		if err := nc.Publish(subject, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	publish("huoma.in.scan."+code.ID, cloudEvent(events.TypeScan, "good", code.ID, `{"openid":"oSecret","network":"203.0.113.9"}`))
	publish("huoma.in.scan."+code.ID, `not json`)
	publish("huoma.in.scan.nobody", cloudEvent(events.TypeScan, "lost", "nobody", `{}`))
	publish("huoma.in.nonsense", `{}`)
	publish("huoma.in.conversion."+code.ID, cloudEvent(events.TypeConversion, "unit", code.ID, `{"visitor":"v","name":"sale","value":"12","currency":"CNY"}`))
	until(t, "accepted", int64(1), func() int64 { return in.stats(code.ID).Counts["accepted"] })
	until(t, "dead letters", uint64(4), func() uint64 {
		s, err := js.StreamInfo(events.StreamDLQ)
		if err != nil {
			t.Fatal(err)
		}
		return s.State.Msgs
	})
	sub, err := js.SubscribeSync("huoma.dlq.*", nats.DeliverAll())
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]int{}
	for range 4 {
		m, err := sub.NextMsg(within)
		if err != nil {
			t.Fatal(err)
		}
		reasons[m.Header.Get(events.HeaderReason)]++
		if m.Header.Get(events.HeaderDetail) == "" || len(m.Data) == 0 {
			t.Errorf("a dead letter without its detail or bytes: %+v", m)
		}
	}
	if reasons["malformed_json"] != 1 || reasons["unknown_code"] != 1 || reasons["wrong_subject"] != 1 || reasons["wrong_unit"] != 1 {
		t.Errorf("reasons = %v", reasons)
	}
	until(t, "rows", "1", func() string {
		return in.query("SELECT count() FROM scans WHERE event_id = 'good' AND network = '203.0.113.0/24' AND visitor != ''")
	})
	if got := in.query("SELECT count() FROM scans WHERE position(visitor, 'oSecret') > 0"); got != "0" {
		t.Error("an OpenID is in the warehouse")
	}
	in.agree()
}

// Forged, truncated and foreign tokens touch nothing.
func TestForgedTokens(t *testing.T) {
	in := start(t, t.TempDir())
	code := in.mint(map[string]any{"profile": "wecom-group", "targets": []any{map[string]any{"url": "https://example.com/"}}})
	flipped := []byte(code.Token)
	flipped[10] = map[bool]byte{true: 'B', false: 'A'}[flipped[10] == 'A']
	for _, token := range []string{string(flipped), code.Token[:20], code.Token + "A", strings.ToLower(code.Token), "AAAA", "..%2F..%2Fetc"} {
		if resp := in.person().scan(in.Gateway + "/s/" + token); resp.StatusCode != http.StatusNotFound || resp.Header.Get("Huoma-Event") != "" {
			t.Errorf("token %q answers %s", token, resp.Status)
		}
	}
	in.person().scan(code.ScanURL)
	until(t, "rows", "1", func() string { return in.query("SELECT count() FROM scans") })
	if s := in.stats(code.ID); s.Counts["accepted"] != 1 || s.Counts["forged"] != 0 {
		t.Errorf("counts = %v", s.Counts)
	}
}

func TestSecondStartGoesOn(t *testing.T) {
	dir := t.TempDir()
	in := start(t, dir)
	code := in.mint(map[string]any{"profile": "wecom-group", "targets": []any{map[string]any{"url": "https://example.com/"}}})
	visitor := in.person()
	for range 5 {
		visitor.scan(code.ScanURL)
	}
	until(t, "the sixth scan", http.StatusTooManyRequests, func() int { return visitor.scan(code.ScanURL).StatusCode })
	in.stop()

	again := start(t, dir)
	visitor.in = again
	if resp := visitor.scan(code.ScanURL); resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("after a restart the locked visitor gets %s", resp.Status)
	}
	if resp := again.person().scan(code.ScanURL); resp.StatusCode != http.StatusFound {
		t.Errorf("after a restart another visitor gets %s", resp.Status)
	}
	again.agree()
}

// What cannot start says why in one sentence.
func TestCannotStart(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	used := t.TempDir()
	in := start(t, used)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name   string
		change func(*allinone.Options)
		want   string
	}{
		{"the data folder is in use", func(o *allinone.Options) { o.DataDir = used }, "--data"},
		{"the data folder is a file", func(o *allinone.Options) { o.DataDir = file }, "--data"},
		{"the gateway's port is in use", func(o *allinone.Options) { o.Addr = busy.Addr().String() }, "--addr"},
		{"the broker's port is in use", func(o *allinone.Options) { o.NATSAddr = busy.Addr().String() }, "--nats-addr"},
		{"ClickHouse's port is in use", func(o *allinone.Options) { o.ClickHouseAddr = busy.Addr().String() }, "--clickhouse-addr"},
		{"the broker is not loopback", func(o *allinone.Options) { o.NATSAddr = "0.0.0.0:0" }, "loopback"},
		{"ClickHouse is not loopback", func(o *allinone.Options) { o.ClickHouseHTTPAddr = "0.0.0.0:0" }, "loopback"},
		{"no broker answers", func(o *allinone.Options) { o.NATSURL = "nats://127.0.0.1:1" }, "127.0.0.1:1"},
		{"no warehouse answers", func(o *allinone.Options) { o.ClickHouseURL = "clickhouse://u:hidden@127.0.0.1:1/huoma" }, "127.0.0.1:1"},
		{"another number of partitions", func(o *allinone.Options) { o.NATSURL, o.Streams = in.NATS, role.Streams{Partitions: 3} }, "partitions"},
		{"the engine's library is missing", func(o *allinone.Options) { o.EngineLibrary = "/nowhere/libchdb.so" }, "make setup"},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := allinone.Options{
				DataDir: t.TempDir(), APIKey: apiKey, Addr: "127.0.0.1:0", NATSAddr: "127.0.0.1:0", ClickHouseAddr: "127.0.0.1:0", ClickHouseHTTPAddr: "127.0.0.1:0",
			}
			row.change(&o)
			err := allinone.Run(t.Context(), o, func(allinone.Addresses) { t.Error("it is up") })
			if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "hidden") || strings.Contains(err.Error(), "\n") {
				t.Errorf("error = %v, want one line that names %s", err, row.want)
			}
			if _, err := os.Stat(filepath.Join(o.DataDir, "nats")); row.want == "--addr" && err == nil {
				t.Error("the broker was started, though nobody could have reached the gateway")
			}
		})
	}
}

// Input that is wrong is named, and changes nothing.
func TestBadInput(t *testing.T) {
	in := start(t, t.TempDir())
	code := in.mint(map[string]any{"profile": "wecom-group", "targets": []any{map[string]any{"url": "https://example.com/"}}})
	target := func(fields string) string { return `{"profile":"wecom-group","targets":[{` + fields + `}]}` }
	batch := "[" + strings.Repeat(cloudEvent(events.TypeScan, "x", code.ID, "{}")+",", 1000) + cloudEvent(events.TypeScan, "x", code.ID, "{}") + "]"
	for _, row := range []struct {
		name, path, body string
		status           int
		names            string // what the answer must name
	}{
		{"unknown profile", "/v1/codes", `{"profile":"x","targets":[{"url":"https://example.com"}]}`, 400, "profile"},
		{"no target", "/v1/codes", `{"profile":"wecom-group"}`, 400, "targets"},
		{"target without scheme", "/v1/codes", target(`"url":"example.com/x"`), 400, "targets[0].url"},
		{"javascript target", "/v1/codes", target(`"url":"javascript:alert(1)"`), 400, "targets[0].url"},
		{"private target", "/v1/codes", target(`"url":"http://10.0.0.1/"`), 400, "targets[0].url"},
		{"loopback target", "/v1/codes", target(`"url":"http://localhost/"`), 400, "targets[0].url"},
		{"capacity 0", "/v1/codes", target(`"url":"https://example.com","capacity":0`), 400, "targets[0].capacity"},
		{"unknown field", "/v1/codes", `{"profile":"wecom-group","tragets":[]}`, 400, "tragets"},
		{"invalid UTF-8", "/v1/codes", "{\"profile\":\"\xff\"}", 400, "UTF-8"},
		{"2 MB", "/v1/codes", `{"name":"` + strings.Repeat("x", 2<<20) + `"}`, 413, "large"},
		{"bad time", "/v1/events", strings.Replace(cloudEvent(events.TypeScan, "x", code.ID, "{}"), `"time":"2`, `"time":"x2`, 1), 400, "time"},
		{"unknown type", "/v1/events", cloudEvent("huoma.bogus.v1", "x", code.ID, "{}"), 400, "type"},
		{"batch of 1001", "/v1/events", batch, 400, "1000"},
		{"an alert from outside", "/v1/events", cloudEvent(events.TypeAlertRisk, "x", code.ID, `{"code":"x","kind":"risk","reason":"x"}`), 400, "type"},
	} {
		t.Run(row.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), "POST", in.Gateway+row.path, strings.NewReader(row.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+apiKey)
			req.Header.Set("Content-Type", map[bool]string{true: events.ContentTypeBatch, false: "application/json"}[row.body[0] == '['])
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != row.status || resp.Header.Get("Content-Type") != "application/problem+json" || !bytes.Contains(b, []byte(row.names)) {
				t.Errorf("answer = %s %s, want %d that names %s", resp.Status, b, row.status, row.names)
			}
		})
	}
	for _, auth := range []string{"", "Bearer ", "Bearer wrong", "Basic " + apiKey, "Bearer " + apiKey + "x"} {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", in.Gateway+"/v1/codes", nil)
		req.Header.Set("Authorization", auth)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%q answers %s", auth, resp.Status)
		}
	}
	in.person().scan(code.ScanURL) // the log has this scan and nothing of the above
	until(t, "rows", "1\t1", func() string { return in.query("SELECT count(), (SELECT count() FROM codes) FROM scans") })
}
