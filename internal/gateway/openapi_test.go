package gateway_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/gateway"
	"github.com/huoma/huoma/schemas"
)

const base = "https://schemas.invalid/"

// api is openapi.yaml, with the means to hold answers to it.
type api struct {
	t        testing.TB
	doc      map[string]any
	compiler *jsonschema.Compiler
	seen     map[string]bool // "GET /path 200": answered so by the program
}

func openAPI(t testing.TB) *api {
	t.Helper()
	raw, err := fs.ReadFile(schemas.API, "openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := yaml.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	doc := jsonValue(t, v)
	if err := c.AddResource(base+"openapi.yaml", doc); err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(schemas.Events, "events/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := fs.ReadFile(schemas.Events, name)
		if err != nil {
			t.Fatal(err)
		}
		one, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource(base+name, one); err != nil {
			t.Fatal(err)
		}
	}
	return &api{t: t, doc: doc.(map[string]any), compiler: c, seen: make(map[string]bool)}
}

// jsonValue is v as a JSON decoder would have read it.
func jsonValue(t testing.TB, v any) any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// at follows a path of keys from a place, and references on the way. It returns
// the place's JSON pointer too.
func (a *api) at(pointer string, v any, keys ...string) (string, map[string]any) {
	a.t.Helper()
	m, _ := v.(map[string]any)
	for i := 0; ; i++ {
		if ref, ok := m["$ref"].(string); ok {
			pointer, m = "", a.doc
			for key := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
				m, _ = m[key].(map[string]any)
				pointer += "/" + key
			}
			if m == nil {
				a.t.Fatalf("%s leads nowhere", ref)
			}
		}
		if i == len(keys) || m == nil {
			return pointer, m
		}
		m, _ = m[keys[i]].(map[string]any)
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(keys[i])
	}
}

func (a *api) operation(method, pattern string) (string, map[string]any) {
	return a.at("", a.doc, "paths", pattern, strings.ToLower(method))
}

// validate holds a value to the schema at a pointer.
func (a *api) validate(what, pointer string, v any) {
	a.t.Helper()
	sch, err := a.compiler.Compile(base + "openapi.yaml#" + strings.ReplaceAll(pointer, "+", "%2B"))
	if err != nil {
		a.t.Fatalf("%s: %v", pointer, err)
	}
	if err := sch.Validate(v); err != nil {
		a.t.Errorf("%s: %v\n%v", what, err, v)
	}
}

// check holds an answer to what the file says of it.
func (a *api) check(method, pattern string, got answer) {
	a.t.Helper()
	what := fmt.Sprintf("%s %s %d", method, pattern, got.status)
	a.seen[what] = true
	pointer, op := a.operation(method, pattern)
	if op == nil {
		a.t.Errorf("%s: the file has no such operation", what)
		return
	}
	pointer, response := a.at(pointer, op, "responses", strconv.Itoa(got.status))
	if response == nil {
		a.t.Errorf("%s: the file knows no such answer: %.300s", what, got.body)
		return
	}
	content, _ := response["content"].(map[string]any)
	headers, _ := response["headers"].(map[string]any)
	for name, v := range headers {
		hp, header := a.at(pointer+"/headers/"+name, v)
		value := got.header.Get(name)
		if value == "" {
			if header["required"] == true {
				a.t.Errorf("%s: no header %s", what, name)
			}
			continue
		}
		var typed any = value
		if n, err := strconv.Atoi(value); err == nil && strings.HasSuffix(fmt.Sprint(header["schema"]), "type:integer]") {
			typed = n
		}
		a.validate(what+" "+name, hp+"/schema", jsonValue(a.t, typed))
	}
	if len(content) == 0 {
		if len(got.body) > 0 {
			a.t.Errorf("%s: has a body: %.200s", what, got.body)
		}
		return
	}
	mediaType, _, err := mime.ParseMediaType(got.header.Get("Content-Type"))
	if err != nil {
		a.t.Errorf("%s: %v", what, err)
		return
	}
	if content[mediaType] == nil {
		a.t.Errorf("%s: the file does not know it as %s", what, mediaType)
		return
	}
	if strings.HasSuffix(mediaType, "json") {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(got.body))
		if err != nil {
			a.t.Errorf("%s: %v", what, err)
			return
		}
		a.validate(what, pointer+"/content/"+strings.ReplaceAll(mediaType, "/", "~1")+"/schema", v)
	}
}

func TestOpenAPIHasEveryRouteAndNoOther(t *testing.T) {
	a := openAPI(t)
	if a.doc["openapi"] != "3.1.0" {
		t.Errorf("version %v", a.doc["openapi"])
	}
	var inFile []string
	ids := make(map[string]bool)
	for p, item := range a.doc["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			if method == "parameters" {
				continue
			}
			inFile = append(inFile, strings.ToUpper(method)+" "+p)
			id, _ := op.(map[string]any)["operationId"].(string)
			if id == "" || ids[id] || op.(map[string]any)["summary"] == nil {
				t.Errorf("%s %s: no summary, or no operationId of its own", method, p)
			}
			ids[id] = true
			named := make(map[string]bool)
			for _, list := range []any{item.(map[string]any)["parameters"], op.(map[string]any)["parameters"]} {
				params, _ := list.([]any)
				for _, param := range params {
					if _, m := a.at("", param); m["in"] == "path" {
						named[m["name"].(string)] = true
					}
				}
			}
			for part := range strings.SplitSeq(p, "/") {
				if strings.HasPrefix(part, "{") && !named[strings.Trim(part, "{}")] {
					t.Errorf("%s %s: %s is not described", method, p, part)
				}
			}
		}
	}
	g, err := gateway.New(gateway.Options{Addr: "127.0.0.1:0", APIKey: apiKey, Keyring: keyring(), Backend: &faulty{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close(t.Context()) })
	var inProgram []string
	for _, r := range g.Routes() {
		inProgram = append(inProgram, r[0]+" "+r[1])
	}
	slices.Sort(inFile)
	slices.Sort(inProgram)
	if !slices.Equal(inFile, inProgram) {
		t.Errorf("in the file:    %v\nin the program: %v", inFile, inProgram)
	}
}

// TestOpenAPIIsWhatTheProgramDoes sends every request the file shows, and one
// for every status it names, and holds the answers to it.
func TestOpenAPIIsWhatTheProgramDoes(t *testing.T) {
	a := openAPI(t)
	h := newHouse(t)
	call := func(method, pattern, p, body string, headers ...string) answer {
		t.Helper()
		got := h.admin(method, p, body, headers...)
		a.check(method, pattern, got)
		return got
	}

	// Every example of a request.
	c := h.mint(`"targets":[{"url":"https://example.com/a"}]`)
	id := c["id"].(string)
	fill := strings.NewReplacer("{id}", id, "{now}", events.FormatTime(time.Now()))
	examples := 0
	for pattern, item := range a.doc["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			if method == "parameters" {
				continue
			}
			_, request := a.at("", op, "requestBody")
			content, _ := request["content"].(map[string]any)
			for mediaType, media := range content {
				list, _ := media.(map[string]any)["examples"].(map[string]any)
				if len(list) == 0 {
					t.Errorf("%s %s shows no example of %s", method, pattern, mediaType)
				}
				for name, example := range list {
					value := example.(map[string]any)["value"]
					body, ok := value.(string)
					if !ok {
						b, err := json.Marshal(value)
						if err != nil {
							t.Fatal(err)
						}
						body = fill.Replace(string(b))
						v, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
						if err != nil {
							t.Fatal(err)
						}
						where := strings.Join([]string{"/paths", strings.ReplaceAll(pattern, "/", "~1"), method, "requestBody/content", strings.ReplaceAll(mediaType, "/", "~1"), "schema"}, "/")
						a.validate(pattern+" example "+name, where, v)
					}
					got := call(strings.ToUpper(method), pattern, fill.Replace(pattern), body, "Content-Type: "+mediaType)
					if got.status/100 != 2 {
						t.Errorf("%s %s, example %s: status %d: %s", method, pattern, name, got.status, got.body)
					}
					examples++
				}
			}
		}
	}
	if examples < 12 {
		t.Errorf("only %d examples", examples)
	}

	// Operators.
	one := `{"profile":"wechat-group","targets":[{"url":"https://example.com/a"}]}`
	big := `{"name":"` + strings.Repeat("x", 2<<20) + `"}`
	huge := strings.Repeat(" ", 17<<20)
	text := "Content-Type: text/plain"
	for pattern, p := range map[string]string{"/v1/codes": "/v1/codes", "/v1/codes/batch": "/v1/codes/batch"} {
		body := map[bool]string{true: one, false: "[" + one + "]"}[p == "/v1/codes"]
		call("POST", pattern, p, body, "Idempotency-Key: "+p).want(t, 201)
		call("POST", pattern, p, strings.Replace(body, "/a", "/b", 1), "Idempotency-Key: "+p).want(t, 422)
		call("POST", pattern, p, "{").want(t, 400)
		call("POST", pattern, p, map[bool]string{true: big, false: huge}[p == "/v1/codes"]).want(t, 413)
		call("POST", pattern, p, body, text).want(t, 415)
	}
	call("POST", "/v1/codes/batch", "/v1/codes/batch?validate=true", "["+one+"]").want(t, 200)
	call("POST", "/v1/codes/batch", "/v1/codes/batch", "url,colour\n", "Content-Type: text/csv").want(t, 400)
	call("POST", "/v1/codes/batch", "/v1/codes/batch", "profile,url\nx\nwechat-group,nowhere\n", "Content-Type: text/csv").want(t, 400)
	for _, repeated := range []any{nil, 1.0} {
		if got := call("POST", "/v1/codes/batch", "/v1/codes/batch", "["+one+"]", "Idempotency-Key: again").want(t, 201).json(t)["repeated"]; got != repeated {
			t.Errorf("a repeated batch says %v, want %v", got, repeated)
		}
	}
	call("GET", "/v1/codes", "/v1/codes?limit=1", "").want(t, 200)
	call("GET", "/v1/codes", "/v1/codes?limit=x", "").want(t, 400)
	variants := h.mint(`"name":"v","campaign":"c","targets":[{"url":"https://example.com/a"}],"variants":[{},{}]`)
	nothing := "000000000000"
	for _, suffix := range []string{"", "/stats", "/qr.png", "/qr.svg"} {
		pattern := "/v1/codes/{id}" + suffix
		call("GET", pattern, "/v1/codes/"+variants["id"].(string)+suffix, "").want(t, 200)
		call("GET", pattern, "/v1/codes/"+id+suffix+"?odd=1", "").want(t, 400)
		call("GET", pattern, "/v1/codes/"+nothing+suffix, "").want(t, 404)
	}
	for _, row := range [][3]string{{id, `{"device":"lobby"}`, "201"}, {id, `{"device":"a b"}`, "400"}, {nothing, `{}`, "404"}} {
		if got := call("POST", "/v1/codes/{id}/kiosks", "/v1/codes/"+row[0]+"/kiosks", row[1]); fmt.Sprint(got.status) != row[2] {
			t.Errorf("a kiosk of %s, %s: %d", row[0], row[1], got.status)
		}
	}
	gone := h.mint(`"targets":[{"url":"https://example.com/a"}]`)["id"].(string)
	kiosk := strings.TrimPrefix(h.admin("POST", "/v1/codes/"+gone+"/kiosks", `{}`).want(t, 201).json(t)["url"].(string), h.url)
	call("GET", "/k/{signed}", kiosk, "").want(t, 200)
	for pattern, p := range map[string]string{"/v1/codes/{id}/live": "/v1/codes/" + gone + "/live", "/k/{signed}/live": kiosk + "/live"} {
		next, leave := h.stream(p, bearer)
		e := next()
		if e == nil {
			t.Fatalf("%s sends nothing", p)
		}
		v, err := json.Marshal(e.data)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(v))
		if err != nil {
			t.Fatal(err)
		}
		a.validate(pattern+" picture", "/components/schemas/LivePicture", doc)
		leave()
		a.seen["GET "+pattern+" 200"] = true
		call("GET", pattern, p+"?odd=1", "").want(t, 400)
	}
	call("GET", "/v1/codes/{id}/live", "/v1/codes/"+nothing+"/live", "").want(t, 404)
	closing, leave := h.stream(kiosk + "/live")
	closing()
	h.admin("DELETE", "/v1/codes/"+gone, "").want(t, 200)
	leave()
	call("GET", "/v1/codes/{id}/live", "/v1/codes/"+gone+"/live", "").want(t, 410)
	call("POST", "/v1/codes/{id}/kiosks", "/v1/codes/"+gone+"/kiosks", `{}`).want(t, 409)
	call("POST", "/v1/codes/{id}/kiosks", "/v1/codes/"+gone+"/kiosks", big).want(t, 413)
	call("POST", "/v1/codes/{id}/kiosks", "/v1/codes/"+gone+"/kiosks", `{}`, text).want(t, 415)
	for _, suffix := range []string{"", "/live"} {
		call("GET", "/k/{signed}"+suffix, kiosk+suffix, "", "Accept: application/json").want(t, 410)
		call("GET", "/k/{signed}"+suffix, "/k/x"+suffix, "", "Accept: application/json").want(t, 404)
	}
	stale := `If-Match: "99"`
	for _, row := range [][2]string{{"PATCH", ""}, {"POST", "/renew"}, {"DELETE", ""}} {
		pattern := "/v1/codes/{id}" + row[1]
		body := map[bool]string{true: `{"name":"n"}`}[row[0] == "PATCH"]
		call(row[0], pattern, "/v1/codes/"+nothing+row[1], body).want(t, 404)
		call(row[0], pattern, "/v1/codes/"+id+row[1], body, stale).want(t, 412)
		call(row[0], pattern, "/v1/codes/"+id+row[1], body).want(t, 200)
	}
	call("PATCH", "/v1/codes/{id}", "/v1/codes/"+id, `{"name":"n"}`).want(t, 409)
	call("PATCH", "/v1/codes/{id}", "/v1/codes/"+id, `{"profile":"x"}`).want(t, 400)
	call("PATCH", "/v1/codes/{id}", "/v1/codes/"+id, big).want(t, 413)
	call("PATCH", "/v1/codes/{id}", "/v1/codes/"+id, `{}`, text).want(t, 415)
	call("POST", "/v1/codes/{id}/renew", "/v1/codes/"+id+"/renew", "").want(t, 409)
	opened := call("POST", "/v1/tokens", "/v1/tokens", `{"tokens":["`+c["token"].(string)+`","`+strings.ToLower(variants["token"].(string))+`","x"]}`).want(t, 200).json(t)["tokens"].([]any)
	for i, want := range []any{id, variants["id"], nil} {
		if got := opened[i].(map[string]any)["code"]; got != want {
			t.Errorf("token %d is of %v, want %v", i, got, want)
		}
	}
	call("POST", "/v1/tokens", "/v1/tokens", `{"tokens":[]}`).want(t, 400)
	call("POST", "/v1/tokens", "/v1/tokens", `{"tokens":["x"`+strings.Repeat(`,"x"`, 1000)+`]}`).want(t, 400)
	call("POST", "/v1/tokens", "/v1/tokens", big).want(t, 413)
	call("POST", "/v1/tokens", "/v1/tokens", "{}", text).want(t, 415)
	call("POST", "/v1/traces", "/v1/traces", `{"content":"x","modules":22,"values":[]}`).want(t, 400)
	call("POST", "/v1/traces", "/v1/traces", big).want(t, 413)
	call("POST", "/v1/traces", "/v1/traces", "{}", text).want(t, 415)
	traced := call("GET", "/v1/codes/{id}/qr.png", "/v1/codes/"+id+"/qr.png?watermark=on&device=till-3", "").want(t, 200).header.Get("Huoma-Trace")
	h.until("the trace is registered", func() bool { return h.admin("GET", "/v1/traces/"+traced, "").status == 200 })
	call("GET", "/v1/traces/{id}", "/v1/traces/"+traced, "").want(t, 200)
	call("GET", "/v1/traces/{id}", "/v1/traces/x", "").want(t, 400)
	call("GET", "/v1/traces/{id}", "/v1/traces/00000000", "").want(t, 404)
	call("POST", "/v1/events", "/v1/events", "{").want(t, 400)
	call("POST", "/v1/events", "/v1/events", huge).want(t, 413)
	call("POST", "/v1/events", "/v1/events", "{}", text).want(t, 415)

	// People.
	scan := func(token string, headers ...string) answer {
		t.Helper()
		got := h.do("GET", "/s/"+token, "", append([]string{"User-Agent: " + iPhone}, headers...)...)
		a.check("GET", "/s/{token}", got)
		got = h.do("GET", "/S/"+token, "", append([]string{"User-Agent: " + iPhone}, headers...)...)
		a.check("GET", "/S/{token}", got)
		return got
	}
	token := func(fields string) string { return h.mint(fields)["token"].(string) }
	asJSON := "Accept: application/json"
	open := token(`"targets":[{"url":"https://example.com/a"}]`)
	scan(open).want(t, 302)
	scan(open, asJSON, "User-Agent: curl/8").want(t, 403)
	scan(open, asJSON, "Purpose: prefetch").want(t, 503)
	scan(strings.Repeat("A", 34)).want(t, 404)
	scan(c["token"].(string), asJSON).want(t, 410)
	scan(token(`"targets":[{"picture":"https://example.com/p.png"}]`)).want(t, 200)
	full := token(`"targets":[{"url":"https://example.com/a","capacity":1}]`)
	scan(full)
	h.until("a code is full", func() bool { return h.scan(map[string]any{"token": full}).status == 409 })
	scan(full, asJSON).want(t, 409)
	locked := token(`"targets":[{"url":"https://example.com/a"}],"rules":[{"scope":"code","limit":1,"window":"30s"}]`)
	scan(locked)
	h.until("a code is locked", func() bool { return h.scan(map[string]any{"token": locked}).status == 429 })
	scan(locked, asJSON).want(t, 429)

	live := h.mint("")
	due, err := time.Parse(time.RFC3339, live["renewal_due_at"].(string))
	if err != nil {
		t.Fatal(err)
	}
	link, err := h.gate.RenewalLink(live["id"].(string), due)
	if err != nil {
		t.Fatal(err)
	}
	old, err := h.gate.RenewalLink(live["id"].(string), due.Add(-100*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"GET", "POST"} {
		for _, headers := range [][]string{nil, {asJSON}} {
			for want, address := range map[int]string{200: link, 410: old, 404: h.url + "/r/" + strings.Repeat("x", 54)} {
				got := h.do(method, address, "", headers...)
				a.check(method, "/r/{signed}", got.want(t, want))
			}
		}
	}

	// Alerts, of every kind.
	var alerts []*events.Event
	for _, kind := range []string{"capacity", "risk", "renewal", "expiry"} {
		b, err := fs.ReadFile(schemas.Events, path.Join("events", "huoma.alert."+kind+".v1.json"))
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		raw := must(t, doc.(map[string]any)["examples"].([]any)[0])
		e, err := events.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		e.ID += "-" + kind // the examples may share one
		alerts = append(alerts, e)
	}
	if err := h.conn.PublishAlerts(t.Context(), alerts); err != nil {
		t.Fatal(err)
	}
	kinds := func() int {
		n := 0
		for _, kind := range []string{"capacity", "risk", "renewal", "expiry"} {
			if len(call("GET", "/v1/alerts", "/v1/alerts?kind="+kind, "").want(t, 200).json(t)["alerts"].([]any)) > 0 {
				n++
			}
		}
		return n
	}
	h.until("an alert of every kind", func() bool { return kinds() == 4 })
	call("GET", "/v1/alerts", "/v1/alerts?kind=x", "").want(t, 400)
	call("GET", "/v1/alerts/stream", "/v1/alerts/stream?kind=x", "").want(t, 400)
	sse(t, h, "", "none", 4) // holds the content type to the file's
	a.seen["GET /v1/alerts/stream 200"] = true

	// Without the key, and the machine's own.
	for _, r := range h.gate.Routes() {
		if strings.HasPrefix(r[1], "/v1/") {
			a.check(r[0], r[1], h.do(r[0], strings.ReplaceAll(r[1], "{id}", id), "").want(t, 401))
		}
	}
	for _, p := range []string{"/healthz", "/readyz", "/metrics"} {
		a.check("GET", p, h.do("GET", p, "").want(t, 200))
	}
	unready(t, a)

	// Nothing in the file that the program was not seen doing.
	for pattern, item := range a.doc["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			if method == "parameters" {
				continue
			}
			for status := range op.(map[string]any)["responses"].(map[string]any) {
				if what := strings.ToUpper(method) + " " + pattern + " " + status; !a.seen[what] {
					t.Errorf("%s was never answered", what)
				}
			}
		}
	}
}

// unready holds to the file what is answered while nothing can be stored.
func unready(t *testing.T, a *api) {
	t.Helper()
	g, err := gateway.New(gateway.Options{Addr: "127.0.0.1:0", APIKey: apiKey, Keyring: keyring(), Backend: &faulty{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close(t.Context()) })
	for _, r := range g.Routes() {
		if _, op := a.operation(r[0], r[1]); op["responses"].(map[string]any)["503"] == nil {
			continue
		}
		req, err := http.NewRequestWithContext(t.Context(), r[0], strings.NewReplacer("{id}", "000000000000", "{token}", "x", "{signed}", "x").Replace(r[1]), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+apiKey)
		w := serve(g, req)
		got := answer{w.Code, w.Result().Header, w.Body.Bytes()}
		a.check(r[0], r[1], got.want(t, 503))
	}
}

func must(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
