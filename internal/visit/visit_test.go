package visit

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestPeopleArePersons(t *testing.T) {
	for _, row := range people {
		for form, agent := range map[string]string{"as sent": row.agent, "upper case": strings.ToUpper(row.agent), "with blanks": "  " + row.agent + " "} {
			got := Classify(Request{Method: "GET", UserAgent: agent})
			if want := (Class{Kind: Person, Rule: "browser"}); got != want {
				t.Errorf("%s, %s: %+v", row.name, form, got)
			}
		}
	}
}

func TestPreviewsAndRobots(t *testing.T) {
	check := func(agent string, want Class) {
		for form, agent := range map[string]string{"as sent": agent, "lower case": strings.ToLower(agent), "upper case": strings.ToUpper(agent)} {
			if got := Classify(Request{Method: "GET", UserAgent: agent}); got != want {
				t.Errorf("%s, %s: %+v, want %+v", agent, form, got, want)
			}
		}
	}
	for agent, name := range previews {
		check(agent, Class{Kind: Preview, Rule: "preview-agent:" + name})
	}
	for agent, name := range declared {
		check(agent, Class{Kind: Bot, Rule: "declared-robot:" + name})
	}
	for _, agent := range []string{"", " ", "\t"} {
		check(agent, Class{Kind: Bot, Rule: "empty-agent"})
	}
}

func TestHeadersAndMethod(t *testing.T) {
	const browser = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36"
	prefetch := Class{Preview, true, "prefetch-header"}
	person := Class{Person, false, "browser"}
	head := Class{Preview, false, "head"}
	for _, row := range []struct {
		method, field, value, agent string
		want                        Class
	}{
		{"GET", "Sec-Purpose", "prefetch", browser, prefetch},
		{"GET", "Sec-Purpose", "prefetch;prerender", browser, prefetch},
		{"GET", "Sec-Purpose", "prefetch; prerender", browser, prefetch},
		{"GET", "Sec-Purpose", "prefetch;anonymous-client-ip", browser, prefetch},
		{"GET", "Sec-Purpose", "Prefetch", browser, prefetch},
		{"GET", "Purpose", "prefetch", browser, prefetch},
		{"GET", "Purpose", "preview", browser, prefetch},
		{"GET", "X-Purpose", "preview", browser, prefetch},
		{"GET", "X-Purpose", "prefetch", browser, prefetch},
		{"GET", "X-Moz", "prefetch", browser, prefetch},
		{"HEAD", "X-Moz", "prefetch", browser, prefetch},
		{"GET", "X-Moz", "prefetch", "curl/8.5.0", prefetch},
		{"GET", "Sec-Purpose", "navigate", browser, person},
		{"GET", "Sec-Purpose", "noprefetch", browser, person},
		{"GET", "Purpose", "", browser, person},
		{"GET", "Sec-Fetch-Mode", "prefetch", browser, person},
		{"GET", "Purpose", strings.Repeat("x;", 1000) + "prefetch", browser, person},
		{"HEAD", "", "", browser, head},
		{"HEAD", "", "", "curl/8.5.0", head},
		{"HEAD", "", "", "", head},
		{"POST", "", "", browser, person},
	} {
		h := http.Header{}
		if row.field != "" {
			h.Set(row.field, row.value)
		}
		if got := Classify(Request{row.method, row.agent, h}); got != row.want {
			t.Errorf("%s %s: %.40s (%.20s): %+v, want %+v", row.method, row.field, row.value, row.agent, got, row.want)
		}
	}
	if got := Classify(Request{Method: "GET", UserAgent: browser}); got != person {
		t.Errorf("without headers: %+v", got)
	}
}

func TestLongAgentsAreCut(t *testing.T) {
	long := people[0].agent + strings.Repeat(" NetType/WIFI", 200)
	if got := Classify(Request{UserAgent: long + " SomeBot/1.0"}); got.Kind != Person {
		t.Errorf("what stands behind 1 KB was looked at: %+v", got)
	}
	if got := Classify(Request{UserAgent: "SomeBot/1.0 " + strings.Repeat("x", 1<<20)}); got.Kind != Bot {
		t.Errorf("the beginning was not looked at: %+v", got)
	}
}

func TestEverythingIsAnsweredTheSameFromTheCache(t *testing.T) {
	c := newLRU[int](3)
	calls := 0
	ask := func(key string) int {
		return c.get(key, func() int { calls++; return len(key) })
	}
	for _, key := range []string{"a", "bb", "a", "ccc", "a", "bb", "dddd", "a", "bb"} {
		if got := ask(key); got != len(key) {
			t.Errorf("%s: %d", key, got)
		}
	}
	if calls != 4 || c.order.Len() != 3 || len(c.byKey) != 3 {
		t.Errorf("%d calls, %d and %d kept", calls, c.order.Len(), len(c.byKey))
	}
	if ask("ccc"); calls != 5 {
		t.Error("the least recently asked was not the one given up")
	}
	for i := range 100 {
		ask(fmt.Sprint(i))
	}
	if c.order.Len() != 3 || len(c.byKey) != 3 {
		t.Errorf("%d and %d kept of 3", c.order.Len(), len(c.byKey))
	}
}

func FuzzClassify(f *testing.F) {
	for _, row := range people {
		f.Add("GET", row.agent, "")
	}
	for agent := range previews {
		f.Add("GET", agent, "")
	}
	for agent := range declared {
		f.Add("HEAD", agent, "prefetch;prerender")
	}
	f.Add("", "Mozilla/5.0 (((", ";;,")
	f.Add("GET", "\xff\xfeİ Mozilla/5.0 (Linux; Android İ)", "")
	rules := map[string]bool{"browser": true, "head": true, "prefetch-header": true, "empty-agent": true, "declared-robot:other": true, "preview-agent:apple-native": true, "preview-agent:imessage": true}
	for _, list := range [][]named{previewAgents, imitatedPreviewAgents} {
		for _, p := range list {
			rules["preview-agent:"+p.name] = true
		}
	}
	for _, r := range robots {
		rules["declared-robot:"+r.name] = true
	}
	f.Fuzz(func(t *testing.T, method, agent, purpose string) {
		r := Request{Method: method, UserAgent: agent, Header: http.Header{"Purpose": {purpose}}}
		first, second := Classify(r), Classify(r)
		if first != second {
			t.Fatalf("%+v, then %+v", first, second)
		}
		if !rules[first.Rule] || first.Prefetch && first.Kind != Preview {
			t.Fatalf("%+v", first)
		}
		d := Device(agent)
		if len(d.Model) > 40 || len(d.OS) > 20 || len(d.App) > 20 || strings.ContainsAny(d.Model, "<>\"\r\n\x00") {
			t.Fatalf("%+v", d)
		}
	})
}

func BenchmarkClassify(b *testing.B) {
	for name, agent := range map[string]string{"WeChat": people[1].agent, "repeated app": people[15].agent, "robot": "Mozilla/5.0 (compatible; SomethingNewBot/1.0)"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			h := http.Header{"Accept": {"text/html"}}
			for b.Loop() {
				Classify(Request{"GET", agent, h})
			}
		})
	}
	b.Run("WeChat, each its own id", func(b *testing.B) {
		i := 0
		for b.Loop() {
			i++
			Classify(Request{"GET", strings.Replace(people[1].agent, "MMWEBID/4821", fmt.Sprintf("MMWEBID/%d", i), 1), nil})
		}
	})
	b.Run("unknown word, never seen", func(b *testing.B) {
		i := 0
		for b.Loop() {
			i++
			Classify(Request{"GET", fmt.Sprintf("%s Novel%d/1.0", people[1].agent, i), nil})
		}
	})
	b.Run("1 KB of garbage, never seen", func(b *testing.B) {
		i := 0
		junk := strings.Repeat("garbage words ", 70)
		for b.Loop() {
			i++
			Classify(Request{"GET", fmt.Sprintf("%d %s", i, junk), nil})
		}
	})
}
