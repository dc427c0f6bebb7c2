package gateway_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/events"
)

func TestChange(t *testing.T) {
	h := newHouse(t)
	c := h.mint(`"name":"a","campaign":"spring","targets":[{"url":"https://example.com/a"},{"url":"https://example.com/b"}]`)
	path := "/v1/codes/" + c["id"].(string)
	if a := h.admin("PATCH", path, `{"name":"b"}`, `If-Match: "7"`).want(t, 412); a.json(t)["code"] != "precondition_failed" {
		t.Errorf("problem = %s", a.body)
	}
	a := h.admin("PATCH", path, `{"name":"b","campaign":null,"max_scans":7}`, `If-Match: "1"`).want(t, 200)
	got := a.json(t)
	if got["name"] != "b" || got["campaign"] != nil || got["max_scans"] != 7.0 || got["revision"] != 2.0 || a.header.Get("ETag") != `"2"` {
		t.Errorf("changed = %v, %v", got, a.header)
	}
	if h.admin("PATCH", path, `{"max_scans":null}`).want(t, 200).json(t)["max_scans"] != 100.0 {
		t.Error("null does not reset max_scans to the profile's")
	}

	// The live code now leads elsewhere: at once, and target 0's number is not used again.
	got = h.admin("PATCH", path, `{"targets":[{"url":"https://example.com/c"},{"n":1,"capacity":9}]}`).want(t, 200).json(t)
	var shape []string
	for _, v := range got["targets"].([]any) {
		m := v.(map[string]any)
		shape = append(shape, fmt.Sprint(m["n"], m["url"], m["capacity"], m["closed"]))
	}
	want := "2https://example.com/c200<nil> 1https://example.com/b9<nil> 0https://example.com/a200true"
	if strings.ReplaceAll(strings.Join(shape, "|"), " ", "") != strings.ReplaceAll(want, " ", "|") {
		t.Errorf("targets = %q, want %q", shape, want)
	}
	if got := h.scan(c).want(t, 302).header.Get("Location"); got != "https://example.com/c" {
		t.Errorf("Location = %s", got)
	}
	h.until("the log agrees", func() bool {
		s := h.stats(c)
		return s["revision"] == 4.0 && s["current"] == 2.0 && s["counts"].(map[string]any)["accepted"] == 1.0
	})

	for body, problem := range map[string]string{
		`{"profile":"wechat-static"}`:    "immutable_field profile",
		`{"profile":null}`:               "immutable_field profile",
		`{"targets":null}`:               "invalid_value targets",
		`{"targets":[]}`:                 "invalid_value targets",
		`{"targets":[{"n":9}]}`:          "invalid_value targets[0].n",
		`{"targets":[{"n":1},{"n":1}]}`:  "invalid_value targets[1].n",
		`{"id":"x"}`:                     "unknown_field id",
		`{"validity":"1000d"}`:           "invalid_value validity",
		`{"targets":[{"url":"//evil"}]}`: "invalid_value targets[0].url",
	} {
		p := h.admin("PATCH", path, body).want(t, 400).json(t)
		if got := fmt.Sprint(p["code"], " ", p["field"]); got != problem {
			t.Errorf("%s: %s, want %s", body, got, problem)
		}
	}
	for _, id := range []string{"000000000000", "nonsense", "%2e%2e"} {
		if p := h.admin("PATCH", "/v1/codes/"+id, `{"name":"b"}`).want(t, 404).json(t); p["code"] != "unknown_code" {
			t.Errorf("%s: %v", id, p)
		}
	}
}

func TestConcurrentChangesAllHappen(t *testing.T) {
	h := newHouse(t)
	c := h.mint("")
	path := "/v1/codes/" + c["id"].(string)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			if a := h.admin("PATCH", path, fmt.Sprintf(`{"name":"n%d"}`, i)); a.status != 200 {
				t.Errorf("status = %d: %s", a.status, a.body)
			}
		})
	}
	wg.Wait()
	if got := h.admin("GET", path, "").json(t)["revision"]; got != 7.0 {
		t.Errorf("revision = %v, want 7", got)
	}
	h.until("the log has the last one", func() bool { return h.stats(c)["revision"] == 7.0 })
}

func TestListPagesAndFilters(t *testing.T) {
	h := newHouse(t)
	want := make(map[string]bool)
	for i := range 25 {
		want[h.mint(fmt.Sprintf(`"campaign":"c%d","owner":"me","targets":[{"url":"https://example.com/a"}]`, i%2))["id"].(string)] = true
	}
	cursor, pages := "", 0
	var last time.Time
	for seen := make(map[string]bool); ; pages++ {
		page := h.admin("GET", "/v1/codes?limit=10&owner=me&cursor="+cursor, "").want(t, 200).json(t)
		for _, v := range page["codes"].([]any) {
			m := v.(map[string]any)
			id := m["id"].(string)
			at, err := time.Parse(time.RFC3339, m["minted_at"].(string))
			if err != nil || seen[id] || !want[id] || !last.IsZero() && at.After(last) {
				t.Errorf("code %s of %s after %s: twice, unknown or out of order", id, at, last)
			}
			seen[id], last = true, at
		}
		next, _ := page["next"].(string)
		if next == "" {
			if len(seen) != 25 || pages != 2 {
				t.Errorf("%d codes on %d pages", len(seen), pages+1)
			}
			break
		}
		cursor = next
	}
	for query, n := range map[string]int{
		"campaign=c1": 12, "campaign=none": 0, "status=active": 25, "status=expired": 0, "profile=wechat-group": 25, "profile=wecom-group": 0,
	} {
		if got := len(h.admin("GET", "/v1/codes?"+query, "").want(t, 200).json(t)["codes"].([]any)); got != n {
			t.Errorf("%s: %d codes, want %d", query, got, n)
		}
	}
	for query, problem := range map[string]string{
		"limit=0": "invalid_value limit", "limit=9999": "invalid_value limit", "cursor=abc": "bad_cursor cursor", "status=odd": "invalid_value status",
		"profile=odd": "unknown_profile profile", "colour=red": "unknown_parameter colour", "%zz": "bad_query query",
	} {
		p := h.admin("GET", "/v1/codes?"+query, "").want(t, 400).json(t)
		if got := fmt.Sprint(p["code"], " ", p["field"]); got != problem {
			t.Errorf("%s: %s, want %s", query, got, problem)
		}
	}
}

func TestRenewalLink(t *testing.T) {
	h := newHouse(t)
	c := h.mint(`"name":"Tea","targets":[{"url":"https://example.com/a"}]`)
	due, err := time.Parse(time.RFC3339, c["renewal_due_at"].(string))
	if err != nil {
		t.Fatal(err)
	}
	link, err := h.gate.RenewalLink(c["id"].(string), due)
	if err != nil {
		t.Fatal(err)
	}
	revision := func() any { return h.admin("GET", "/v1/codes/"+c["id"].(string), "").json(t)["revision"] }
	shown := h.do("GET", link, "").want(t, 200)
	if !strings.Contains(string(shown.body), `<form method="post">`) || !strings.Contains(string(shown.body), "Tea") || revision() != 1.0 {
		t.Errorf("shown at revision %v: %s", revision(), shown.body)
	}
	if got := h.do("GET", link, "", "Accept: application/json").want(t, 200).json(t); got["renewed"] != false {
		t.Errorf("shown = %v", got)
	}
	for range 2 { // the second does nothing more
		if got := h.do("POST", link, "", "Accept: application/json").want(t, 200).json(t); got["renewed"] != true || got["renewal_due_at"] == c["renewal_due_at"] {
			t.Errorf("renewed = %v", got)
		}
		if revision() != 2.0 {
			t.Errorf("revision = %v, want 2", revision())
		}
	}
	if a := h.do("GET", link, "").want(t, 200); strings.Contains(string(a.body), "<form") || !strings.Contains(string(a.body), "already") {
		t.Errorf("used link: %s", a.body)
	}
	h.until("the log has the renewal", func() bool { return h.stats(c)["revision"] == 2.0 })

	spoilt := link[:len(link)-1] + "A"
	if spoilt == link {
		spoilt = link[:len(link)-1] + "Q"
	}
	for _, bad := range []string{spoilt, h.url + "/r/x", link + "A"} {
		if p := h.do("POST", bad, "", "Accept: application/json").want(t, 404).json(t); p["code"] != "bad_link" {
			t.Errorf("%s: %v", bad, p)
		}
	}
	old, err := h.gate.RenewalLink(c["id"].(string), time.Now().Add(-31*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	h.do("POST", old, "").want(t, 410)
}

func TestAccessAndRoutes(t *testing.T) {
	h := newHouse(t)
	for _, auth := range []string{"", "Bearer", "Bearer ", "Bearer wrong-key", "Basic " + apiKey, "bearer x" + apiKey} {
		headers := []string{}
		if auth != "" {
			headers = append(headers, "Authorization: "+auth)
		}
		a := h.do("GET", "/v1/codes", "", headers...).want(t, 401)
		if p := a.json(t); p["code"] != "unauthorized" || a.header.Get("WWW-Authenticate") == "" || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%q: %v %v", auth, p, a.header)
		}
	}
	h.do("GET", "/v1/codes", "", "Authorization: bearer "+apiKey).want(t, 200)
	c := h.mint("")
	for _, row := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/", 404, "unknown_route"}, {"GET", "/nothing", 404, "unknown_route"}, {"GET", "/v1/codes/" + c["id"].(string) + "/alive", 404, "unknown_route"},
		{"PUT", "/v1/codes", 405, "method_not_allowed"}, {"POST", "/s/x", 405, "method_not_allowed"}, {"DELETE", "/v1/events", 405, "method_not_allowed"},
		{"GET", "/v1/codes/batch", 405, "method_not_allowed"}, {"GET", "/s/", 404, "unknown_route"},
	} {
		a := h.admin(row.method, row.path, "").want(t, row.status)
		if p := a.json(t); p["code"] != row.code {
			t.Errorf("%s %s: %v", row.method, row.path, p)
		}
		if row.status == 405 && a.header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow", row.method, row.path)
		}
	}
	h.do("GET", "/healthz", "").want(t, 200)
	h.do("GET", "/readyz", "").want(t, 200)
	metrics := string(h.do("GET", "/metrics", "").want(t, 200).body)
	for _, name := range []string{`huoma_gateway_scans_total{verdict="accepted"} 0`, "huoma_gateway_auth_failures_total 6", "huoma_gateway_mirror_codes 1", "huoma_gateway_ready 1", "huoma_gateway_flushes_total"} {
		if !strings.Contains(metrics, name) {
			t.Errorf("/metrics has no %s", name)
		}
	}
}

func TestMemberEventsFillATarget(t *testing.T) {
	h := newHouse(t)
	c := h.mint(`"targets":[{"url":"https://example.com/a","capacity":10}]`)
	var list []string
	for i := range 8 {
		list = append(list, event(c, events.TypeMemberJoined, fmt.Sprint("m", i), `{"target":0}`, ""))
	}
	h.admin("POST", "/v1/events", "["+strings.Join(list, ",")+"]", "Content-Type: "+events.ContentTypeBatch).want(t, 202)
	h.until("one warning", func() bool {
		return len(h.admin("GET", "/v1/alerts?kind=capacity&code="+c["id"].(string), "").want(t, 200).json(t)["alerts"].([]any)) == 1
	})
	s := h.stats(c)
	target := s["targets"].([]any)[0].(map[string]any)
	if s["members"] != 8.0 || target["members_from"] != "members" || target["percent"] != 80.0 {
		t.Errorf("stats = %v", s)
	}
}

// event writes one event about c, dated now unless at is given.
func event(c map[string]any, typ, id, data, at string) string {
	if at == "" {
		at = time.Now().UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprintf(`{"specversion":"1.0","type":%q,"source":"test","id":%q,"subject":%q,"time":%q,"data":%s}`, typ, id, c["id"], at, data)
}
