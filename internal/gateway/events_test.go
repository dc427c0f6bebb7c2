package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/gateway"
	"github.com/huoma/huoma/internal/token"
)

func TestProducersEvents(t *testing.T) {
	h := newHouse(t)
	c := h.mint("")
	one := event(c, events.TypeScan, "e1", `{"openid":"o-alice","network":"203.0.113.77","user_agent":"x","token":"`+c["token"].(string)+`","answered":"accepted"}`, "")
	if got := h.admin("POST", "/v1/events", one, "Content-Type: "+events.ContentType).want(t, 202).json(t); got["stored"] != 1.0 {
		t.Errorf("answer = %v", got)
	}
	target := event(c, events.TypeMemberJoined, "m1", `{"target":0,"openid":"o-alice"}`, "")
	sale := event(c, events.TypeConversion, "c1", `{"openid":"o-alice","name":"lead"}`, "")
	h.admin("POST", "/v1/events", "["+target+","+sale+"]", "Content-Type: "+events.ContentTypeBatch).want(t, 202)
	list := []string{}
	for i := range 40 {
		list = append(list, event(c, events.TypeScan, fmt.Sprint("b", i), `{"visitor":"v`+fmt.Sprint(i)+`"}`, ""))
	}
	old := event(c, events.TypeScan, "h1", `{"visitor":"old"}`, "2020-01-01T00:00:00.000Z")
	list = append(list, strings.Replace(old, `"data"`, `"historical":true,"data"`, 1))
	h.admin("POST", "/v1/events", "["+strings.Join(list, ",")+"]", "Content-Type: "+events.ContentTypeBatch).want(t, 202)
	h.admin("POST", "/v1/events", "["+strings.Join(list, ",")+"]").want(t, 202) // repeated: the log drops it
	h.until("all are counted once", func() bool { return h.count(c, "accepted") == 42 })

	alice := token.NewVisitorHasher(keyring().Purpose("visitor")).FromOpenID("o-alice")
	found := 0
	for _, e := range h.log(2) {
		switch d := e.Data.(type) {
		case *events.Scan:
			if e.ID != "e1" {
				continue
			}
			if d.OpenID != "" || d.Token != "" || d.Answered != "" || d.Visitor != alice || d.Network != "203.0.113.0/24" || d.Tracking != c["tracking"] || d.Variant != 1 {
				t.Errorf("stored scan = %+v", d)
			}
		case *events.Member:
			if d.OpenID != "" || d.Visitor != alice {
				t.Errorf("stored member = %+v", d)
			}
		case *events.Conversion:
			if d.OpenID != "" || d.Visitor != alice {
				t.Errorf("stored conversion = %+v", d)
			}
		default:
			continue
		}
		found++
	}
	if found != 3 {
		t.Errorf("%d of 3 events are in the log", found)
	}
}

func TestBadEventsStoreNothing(t *testing.T) {
	h := newHouse(t)
	c := h.mint("")
	other := h.mint("")
	good := event(c, events.TypeScan, "good", `{}`, "")
	at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339Nano) }
	batch := func(bad string) string { return "[" + good + "," + bad + "]" }
	nobody := map[string]any{"id": "000000000000"}
	rows := []struct {
		name, body  string
		code, field string
		index       any
	}{
		{"not JSON", "{", "malformed_json", "event", 0.0},
		{"empty", "", "malformed_json", "event", 0.0},
		{"bad time", batch(event(c, events.TypeScan, "x", `{}`, "yesterday")), "wrong_unit", "time", 1.0},
		{"old", batch(event(c, events.TypeScan, "x", `{}`, at(-25*time.Hour))), "too_old", "time", 1.0},
		{"ahead", batch(event(c, events.TypeScan, "x", `{}`, at(6*time.Minute))), "too_new", "time", 1.0},
		{"unknown code", batch(event(nobody, events.TypeScan, "x", `{}`, "")), "unknown_code", "subject", 1.0},
		{"no id of ours", batch(event(map[string]any{"id": "abc"}, events.TypeScan, "x", `{}`, "")), "unknown_code", "subject", 1.0},
		{"unknown type", batch(event(c, "huoma.scan.v2", "x", `{}`, "")), "unknown_type", "type", 1.0},
		{"our own type", batch(event(c, events.TypeForged, "x", `{"network":"n","count":1}`, "")), "unknown_type", "type", 1.0},
		{"unknown field", batch(event(c, events.TypeScan, "x", `{"colour":"red"}`, "")), "unknown_field", "data.colour", 1.0},
		{"no target", batch(event(c, events.TypeMemberJoined, "x", `{"target":7}`, "")), "invalid_value", "data.target", 1.0},
		{"value without currency", batch(event(c, events.TypeConversion, "x", `{"visitor":"v","name":"sale","value":1}`, "")), "missing_field", "data.currency", 1.0},
		{"forged token", batch(event(c, events.TypeScan, "x", `{"token":"`+strings.Repeat("A", 34)+`"}`, "")), "invalid_value", "data.token", 1.0},
		{"another's token", batch(event(c, events.TypeScan, "x", `{"token":"`+other["token"].(string)+`"}`, "")), "invalid_value", "data.token", 1.0},
		{"our source", batch(strings.Replace(event(c, events.TypeScan, "x", `{}`, ""), `"test"`, `"huoma/gateway/x"`, 1)), "invalid_value", "source", 1.0},
		{"1001", "[" + strings.Repeat(good+",", 1000) + good + "]", "too_many", "body", 1000.0},
		{"too large", event(c, events.TypeScan, "x", `{"user_agent":"`+strings.Repeat("x", 70_000)+`"}`, ""), "too_large", "event", 0.0},
		{"invalid UTF-8", event(c, events.TypeScan, "x", "{\"city\":\"\xff\"}", ""), "invalid_utf8", "body", nil},
	}
	before := len(h.log(2))
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := h.admin("POST", "/v1/events", row.body).want(t, 400).json(t)
			if p["code"] != row.code || p["field"] != row.field || p["index"] != row.index {
				t.Errorf("problem = %v, want %s of %s at %v", p, row.code, row.field, row.index)
			}
		})
	}
	h.admin("POST", "/v1/events", good, "Content-Type: "+events.ContentTypeBatch).want(t, 400)
	h.admin("POST", "/v1/events", "["+good+"]", "Content-Type: "+events.ContentType).want(t, 400)
	h.admin("POST", "/v1/events", good, "Content-Type: text/plain").want(t, 415)
	if p := h.admin("POST", "/v1/events", good, "Content-Encoding: gzip").want(t, 415).json(t); p["field"] != "Content-Encoding" {
		t.Errorf("problem of a compressed body = %v", p)
	}
	h.do("POST", "/v1/events", good).want(t, 401)
	if got := len(h.log(2)); got != before {
		t.Errorf("%d events were stored", got-before)
	}
}

// sse reads a stream of alerts until n have come.
func sse(t testing.TB, h *house, query, last string, n int) (ids []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", h.url+"/v1/alerts/stream"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("headers = %v", resp.Header)
	}
	in := bufio.NewScanner(resp.Body)
	in.Buffer(nil, 1<<20)
	for len(ids) < n && in.Scan() {
		if data, ok := strings.CutPrefix(in.Text(), "data: "); ok {
			e, err := events.Parse([]byte(data))
			if err != nil {
				t.Fatalf("%v: %s", err, data)
			}
			ids = append(ids, e.ID)
		}
	}
	if len(ids) < n {
		t.Fatalf("%d of %d alerts came: %v", len(ids), n, in.Err())
	}
	return ids
}

func TestAlertStream(t *testing.T) {
	const read = 150 * time.Millisecond // a stream outlives the time a request may take to arrive
	h := newHouse(t, func(o *gateway.Options) { o.Limits.Listener.Read = read })
	alert := func(i int, kind string) *events.Event {
		due := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
		return &events.Event{
			ID: fmt.Sprintf("a%03d", i), Source: "test", Type: "huoma.alert." + kind + ".v1", Subject: "000000000001", Time: time.Now(),
			Data: &events.Alert{Code: "000000000001", Kind: kind, Reason: "test", DueAt: &due},
		}
	}
	publish := func(list ...*events.Event) {
		t.Helper()
		if err := h.conn.PublishAlerts(t.Context(), list); err != nil {
			t.Fatal(err)
		}
	}
	held := func() int { return len(h.admin("GET", "/v1/alerts", "").want(t, 200).json(t)["alerts"].([]any)) }
	publish(alert(1, "risk"), alert(2, "renewal"), alert(3, "risk"))
	h.until("three alerts are listed", func() bool { return held() == 3 })
	if got := fmt.Sprint(sse(t, h, "", "a001", 2)); got != "[a002 a003]" {
		t.Errorf("after a001: %s", got)
	}
	if got := fmt.Sprint(sse(t, h, "?kind=renewal", "gone", 1)); got != "[a002]" {
		t.Errorf("renewals: %s", got)
	}
	live := make(chan []string, 1)
	go func() { live <- sse(t, h, "", "a003", 1) }()
	opened := time.Now()
	h.until("the stream is older than that", func() bool { return time.Since(opened) > 2*read })
	publish(alert(4, "expiry"))
	if got := fmt.Sprint(<-live); got != "[a004]" {
		t.Errorf("live: %s", got)
	}
	list := h.admin("GET", "/v1/alerts?kind=renewal&limit=5", "").want(t, 200).json(t)["alerts"].([]any)
	link, _ := list[0].(map[string]any)["renewurl"].(string)
	if !strings.HasPrefix(link, h.url+"/r/") {
		t.Errorf("a renewal's alert has the link %q", link)
	}
	for query, field := range map[string]string{"kind=odd": "kind", "since=noon": "since", "limit=0": "limit", "x=1": "x"} {
		if p := h.admin("GET", "/v1/alerts?"+query, "").want(t, 400).json(t); p["field"] != field {
			t.Errorf("%s: %v", query, p)
		}
	}
	if got := h.admin("GET", "/v1/alerts?since=2999-01-01T00:00:00Z", "").want(t, 200).json(t)["alerts"].([]any); len(got) != 0 {
		t.Errorf("alerts of the future: %v", got)
	}
}
