package gateway_test

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/gateway"
	"github.com/huoma/huoma/internal/qr"
	"github.com/huoma/huoma/internal/token"
)

// profiled mints a code of a profile.
func (h *house) profiled(profile, fields string) map[string]any {
	h.t.Helper()
	return h.admin("POST", "/v1/codes", `{"profile":"`+profile+`","targets":[{"url":"https://example.com/`+profile+`"}]`+fields+`}`).want(h.t, 201).json(h.t)
}

// read is a code as it is now.
func (h *house) read(c map[string]any) map[string]any {
	h.t.Helper()
	return h.admin("GET", "/v1/codes/"+c["id"].(string), "").want(h.t, 200).json(h.t)
}

var lengths = map[string]int{"wechat-group": 34, "wechat-static": 13, "wecom-group": 47, "miniprogram": 17}

// TestKeysComeAndGo is a rotation as people with printed pictures see it: of every profile, old and new pictures lead on, then the
// old ones do not. A gateway that starts later knows the same short ids.
func TestKeysComeAndGo(t *testing.T) {
	one, err := token.NewKeyring(rand.Reader, time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, func(o *gateway.Options) { o.Keyring = one })
	old := map[string]map[string]any{}
	for profile, n := range lengths {
		c := h.profiled(profile, "")
		if len(c["token"].(string)) != n {
			t.Errorf("%s: token %s, want %d characters", profile, c["token"], n)
		}
		h.scan(c).want(t, 302)
		old[profile] = c
	}
	two, id, err := one.Rotate(rand.Reader, time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	prepared := two.At(time.Now())
	h.gate.UseKeyring(prepared)
	for profile, c := range old {
		if now := h.read(c); now["token"] != c["token"] {
			t.Errorf("%s: a key seals before its time", profile)
		}
	}
	h.gate.UseKeyring(two)
	fresh := map[string]map[string]any{}
	for profile, c := range old {
		now := h.read(c)
		if now["token"] == c["token"] || now["tracking"] != c["tracking"] {
			t.Errorf("%s: token %s after %s, tracking code %s after %s", profile, now["token"], c["token"], now["tracking"], c["tracking"])
		}
		for _, c := range []map[string]any{c, now, h.profiled(profile, "")} {
			if a := h.scan(c).want(t, 302); a.header.Get("Location") != "https://example.com/"+profile {
				t.Errorf("%s leads to %s", profile, a.header.Get("Location"))
			}
		}
		fresh[profile] = now
	}
	retired, err := two.Retire(0, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	later := newGateway(t, h.conn, func(o *gateway.Options) { o.Keyring = retired })
	h.gate.UseKeyring(retired)
	for profile := range lengths {
		for _, h := range []*house{h, later} {
			if a := h.scan(old[profile]).want(t, 404); a.header.Get("Huoma-Verdict") != "forged" {
				t.Errorf("%s, of the retired key: %s", profile, a.header.Get("Huoma-Verdict"))
			}
			h.scan(fresh[profile]).want(t, 302)
		}
		if id != 1 {
			t.Errorf("key %d", id)
		}
	}
}

// What was printed before there were other formats still leads on, of every profile.
func TestFirstFormatOpensForEveryProfile(t *testing.T) {
	h := newHouse(t)
	for profile := range lengths {
		c := h.profiled(profile, "")
		id, err := token.ParseCodeID(c["id"].(string))
		if err != nil {
			t.Fatal(err)
		}
		c["token"], err = keyring().Seal(token.Picture{Code: id, Variant: 1})
		if err != nil {
			t.Fatal(err)
		}
		h.scan(c).want(t, 302)
	}
}

// Every variant of a code with short ids has a picture of its own, and keeps it when it is taken out of the experiment.
func TestVariantsOfShortIDs(t *testing.T) {
	h := newHouse(t)
	c := h.profiled("wechat-static", `,"variants":[{"n":1,"name":"a"},{"n":5,"name":"b"}]`)
	path := "/v1/codes/" + c["id"].(string)
	var printed []map[string]any
	for _, p := range c["pictures"].([]any) {
		printed = append(printed, p.(map[string]any))
	}
	for _, p := range printed {
		h.scan(p).want(t, 302)
	}
	h.admin("PATCH", path, `{"variants":[{"n":1,"name":"a"}]}`).want(t, 200)
	later := newGateway(t, h.conn)
	for _, p := range printed {
		later.scan(p).want(t, 302)
	}
	if p := h.admin("PATCH", path, `{"variants":null}`).want(t, 400).json(t); p["field"] != "variants" || !strings.Contains(p["detail"].(string), "keep one") {
		t.Errorf("problem %v", p)
	}
	h.until("the log has both variants", func() bool {
		seen := map[string]bool{}
		for _, e := range h.log(2) {
			b, err := e.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range printed {
				seen[p["tracking"].(string)] = seen[p["tracking"].(string)] || strings.Contains(string(b), fmt.Sprintf(`"tracking":%q`, p["tracking"]))
			}
		}
		return seen[printed[0]["tracking"].(string)] && seen[printed[1]["tracking"].(string)]
	})
}

// A short id is taken wherever a token is, and only with its own code.
func TestShortIDsOfProducers(t *testing.T) {
	h := newHouse(t)
	c, other := h.profiled("wechat-static", ""), h.profiled("miniprogram", "")
	text := c["token"].(string)
	opened := h.admin("POST", "/v1/tokens", fmt.Sprintf(`{"tokens":[%q,%q,"C2Z3YMXCCJ0RV"]}`, strings.ToLower(text), other["token"])).want(t, 200).json(t)
	want := fmt.Sprint([]any{map[string]any{"code": c["id"], "variant": 1.0, "tracking": c["tracking"]}, map[string]any{"code": other["id"], "variant": 1.0, "tracking": other["tracking"]}, map[string]any{}})
	if got := fmt.Sprint(opened["tokens"]); got != want {
		t.Errorf("opened %s, want %s", got, want)
	}
	event := func(subject any) string {
		return fmt.Sprintf(`{"specversion":"1.0","id":"e-%s","source":"test","type":"huoma.scan.v1","subject":%q,"time":%q,"data":{"token":%q}}`, subject, subject, time.Now().UTC().Format(time.RFC3339Nano), text)
	}
	post := func(subject any) answer {
		return h.do("POST", "/v1/events", event(subject), "Authorization: Bearer "+apiKey, "Content-Type: application/cloudevents+json")
	}
	post(c["id"]).want(t, 202)
	if a := post(other["id"]).want(t, 400); !strings.Contains(string(a.body), "another code") {
		t.Errorf("a token of another code's: %s", a.body)
	}
}

// Every scan is counted by each of its three checks, with labels that are all there from the beginning.
func TestThreeChecks(t *testing.T) {
	registry := prometheus.NewRegistry()
	h := newHouse(t, func(o *gateway.Options) { o.Registry = registry })
	counts := func(check string) map[string]float64 {
		out := map[string]float64{}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "huoma_gateway_"+check+"_checks_total" {
				for _, m := range f.GetMetric() {
					out[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
				}
			}
		}
		return out
	}
	before := map[string]map[string]float64{}
	sets := map[string]int{"picture": len(token.Reasons) + 2, "state": 7, "behaviour": 4}
	for check, n := range sets {
		if before[check] = counts(check); len(before[check]) != n {
			t.Errorf("%s: %v, want %d verdicts", check, before[check], n)
		}
	}
	open := h.profiled("wecom-group", `,"dedupe":"1h"`)
	revoked := h.profiled("wecom-group", "")
	h.admin("DELETE", "/v1/codes/"+revoked["id"].(string), "").want(t, 200)
	short := h.profiled("wechat-static", "")["token"].(string)
	unknown, err := keyring().Seal(token.Picture{Code: 12345, Variant: 1})
	if err != nil {
		t.Fatal(err)
	}
	cookie := "Cookie: " + strings.SplitN(h.scan(open).want(t, 302).header.Get("Set-Cookie"), ";", 2)[0]
	h.until("the repeat is known", func() bool { return h.scan(open, cookie).want(t, 302).header.Get("Huoma-Verdict") == "duplicate" })
	repeats := counts("behaviour")["duplicate"]
	h.do("GET", "/s/"+open["token"].(string), "", "User-Agent: curl/8.5.0").want(t, 403)
	h.do("HEAD", "/s/"+revoked["token"].(string), "", "User-Agent: "+iPhone).want(t, 200) // a preview of a revoked code
	h.scan(revoked).want(t, 410)
	h.scan(map[string]any{"token": unknown}).want(t, 404)
	for _, forged := range []string{"nonsense", "ABCDEFGHIJKLMNOPQRSTUVWXYZ2345678", strings.Repeat("E", 34), short[:12] + "~", short[:11] + short[12:] + "0", short[:12] + string("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[(strings.IndexByte("0123456789ABCDEFGHJKMNPQRSTVWXYZ", short[12])+1)%32])} {
		h.scan(map[string]any{"token": forged}).want(t, 404)
	}
	if got := counts("state"); got["revoked"] != 2 || got["unknown"] != 1 || got["open"] < 3 {
		t.Errorf("state: %v", got)
	}
	if got := counts("behaviour"); got["bot"] != 1 || got["preview"] != 1 || got["duplicate"] != repeats || got["person"] < 3 {
		t.Errorf("behaviour: %v", got)
	}
	got, sum := counts("picture"), 0.0
	for _, n := range got {
		sum += n
	}
	if sum != got["genuine"]+6 || got["length"] < 2 || got["check"] < 1 || got["alphabet"] < 1 || got["seal"]+got["unknown-key"] < 1 {
		t.Errorf("picture: %v", got)
	}
	state := 0.0
	for _, n := range counts("state") {
		state += n
	}
	if state != got["genuine"] {
		t.Errorf("%v genuine pictures and %v checks of the state", got["genuine"], state)
	}
}

func TestSymbolsThatArePossible(t *testing.T) {
	long := "https://" + strings.Repeat("a", 20)
	for _, row := range []struct {
		url  string
		free []string
		want string
	}{
		{"https://qr.example.com", nil, ""}, // 14 characters of host, as many as fit
		{"https://qrs.example.com", nil, "wechat-static by 1 (version 2-M holds 38): save 1 characters, or let those profiles' symbols grow with --qr-free wechat-static"},
		{"https://qrs.example.com", []string{"wechat-static"}, ""},
		{long, []string{"wechat-static"}, "wechat-group by 4"},
		{long, nil, "wechat-group by 4 (version 3-M holds 61), wechat-static by 6 (version 2-M holds 38): save 6 characters"},
		{long, []string{"wechat-static", "wechat-group"}, ""},
		{"https://" + strings.Repeat("a", 33), []string{"wechat-static", "wechat-group"}, "wecom-group by 1"},
		{"https://" + strings.Repeat("a", 200), []string{"wechat-static", "wechat-group", "wecom-group"}, ""},
		{"https://qr.example.com", []string{"wechat"}, `"wechat" is no profile: name some of wechat-group, wechat-static, wecom-group, miniprogram`},
	} {
		err := gateway.CheckSymbols(row.url, row.free)
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s, free %v: %v, want %q", row.url, row.free, err, row.want)
		}
	}
	// At the longest host that is let through, every picture is drawn at its profile's version.
	for profile, host := range map[string]string{"wechat-group": "QR.EXAMPLE.COM.CN", "wechat-static": "QR.EXAMPLE.COM", "wecom-group": strings.Repeat("A", 32)} {
		version, level := gateway.SymbolOf(profile, nil)
		p, _ := code.ProfileByName(profile)
		text, err := keyring().SealAs(p.Token, token.Picture{Code: 1, Variant: 1})
		if err != nil {
			t.Fatal(err)
		}
		if profile == "wechat-group" {
			host = host[:16]
		}
		if err := gateway.CheckSymbols("https://"+host, slices.DeleteFunc([]string{"wechat-group", "wechat-static", "wecom-group"}, func(name string) bool { return name == profile })); err != nil {
			t.Error(err)
		}
		s, err := qr.Encode(qr.Options{Content: "HTTPS://" + host + "/S/" + text, Version: version, Level: qr.Level(level)})
		if err != nil || s.Version() != version || s.Version() == 0 {
			t.Errorf("%s is drawn at version %d instead of %d, %v", profile, s.Version(), version, err)
		}
	}
	if version, level := gateway.SymbolOf("wechat-static", nil); version != 2 || level != "M" {
		t.Errorf("wechat-static is drawn at %d-%s", version, level)
	}
	if version, level := gateway.SymbolOf("wechat-static", []string{"wechat-static"}); version != 0 || level != "M" {
		t.Errorf("wechat-static, free, is drawn at %d-%s", version, level)
	}
	if version, _ := gateway.SymbolOf("of a later version", nil); version != 0 {
		t.Errorf("an unknown profile is drawn at %d", version)
	}
	_, err := gateway.New(gateway.Options{Addr: "127.0.0.1:0", APIKey: apiKey, Keyring: keyring(), Backend: connectedNowhere{}, PublicURL: long})
	if err == nil || !strings.Contains(err.Error(), "--qr-free") {
		t.Errorf("a gateway started with %s: %v", long, err)
	}
}

// connectedNowhere is a backend that is never asked for anything.
type connectedNowhere struct{ gateway.Backend }
