package events

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/huoma/huoma/internal/code"
)

const (
	head = `{"specversion":"1.0","id":"01J9","source":"//p","type":"huoma.scan.v1","subject":"k3v9x0c2m5n8","time":"2026-01-31T08:15:30.250Z"`
	scan = head + `,"data":{}}`
)

// event is a well-formed event of a type with data.
func event(typ, data string) string {
	return `{"specversion":"1.0","id":"01J9","source":"//p","type":"` + typ + `","subject":"k3v9x0c2m5n8","time":"2026-01-31T08:15:30.250Z","data":` + data + `}`
}

const definition = `{"id":"k3v9x0c2m5n8","revision":1,"profile":"wechat-group","targets":[{"n":0,"url":"https://example.org/g","capacity":200}],` +
	`"countdown":"sliding","validity":"2h","longest":"7d","renewal_every":"3d","max_scans":100,"warn_percent":80,"dedupe":"0s",` +
	`"rules":[{"id":"frequency","scope":"visitor","limit":5,"window":"30s","action":"lock","for":"10m"}],` +
	`"minted_at":"2026-01-31T08:15:30.25Z","changed_at":"2026-01-31T08:15:30.25Z"}`

// canonical are events that are written just as they were read.
var canonical = []string{
	scan,
	head + `,"dataschema":"https://example.org/s","tenant":"t1","historical":true,"traceparent":"00-ab","flag":false,"n":-2147483648,"data":{}}`,
	event(TypeScan, `{"token":"T","variant":8,"tracking":"AB12CD34","visitor":"o:1","openid":"oX","user_agent":"Mozilla/5.0 <\"\\é群>","network":"203.0.113.0/24",`+
		`"country":"CN","province":"云南","city":"昆明","device_model":"Mi 5","os":"Android","app":"WeChat","referrer_host":"example.org",`+
		`"utm":{"source":"s","medium":"m","campaign":"c","term":"t","content":"x"},"target":0,"click_id":"c1","answered":"accepted","answered_rule":"x"}`),
	strings.Replace(scan, "30.250Z", "30.123456789Z", 1),
	strings.Replace(scan, "30.250Z", "30.1234Z", 1),
	event(TypeMemberJoined, `{"target":0,"visitor":"o:1","click_id":"c1"}`),
	event(TypeMemberLeft, `{"target":9999}`),
	event(TypeMemberSnapshot, `{"target":3,"count":0}`),
	event(TypeMemberSnapshot, `{"target":3,"count":1099511627776}`),
	event(TypeConversion, `{"click_id":"c1","name":"sale","value":-12345678901234.5600,"currency":"CNY"}`),
	event(TypeConversion, `{"visitor":"o:1","name":"lead"}`),
	event(TypeConversion, `{"openid":"oX","name":"lead"}`),
	event(TypeMemberLeft, `{"target":0,"openid":"oX"}`),
	event(TypeCodeMinted, definition),
	event(TypeCodeChanged, definition),
	event(TypeCodeRenewed, strings.Replace(definition, `,"changed_at":"2026-01-31T08:15:30.25Z"`, `,"changed_at":"2026-01-31T08:15:30.25Z","renewed_at":"2026-02-01T00:00:00Z"`, 1)),
	event(TypeCodeRevoked, strings.Replace(definition, `,"changed_at":"2026-01-31T08:15:30.25Z"`, `,"changed_at":"2026-01-31T08:15:30.25Z","revoked_at":"2026-02-01T00:00:00Z"`, 1)),
	event(TypeForged, `{"network":"203.0.113.0/24","count":7}`),
	event(TypeAlertCapacity, `{"code":"k","kind":"capacity","reason":"threshold","target":0,"members":160,"members_from":"members","capacity":200,"percent":80,"threshold":80,"per_hour":12.5,"eta_full":"2026-01-31T11:15:30.250Z","cause":["e1"]}`),
	event(TypeAlertRisk, `{"code":"k","kind":"risk","reason":"lock","rule":"frequency","scope":"visitor","key":"o:1","until":"2026-01-31T08:25:30.25Z","limit":5,"window":"30s","cause":["e1","e2"]}`),
	event(TypeAlertRenewal, `{"code":"k","kind":"renewal","reason":"due-soon","due_at":"2026-02-03T08:15:30Z"}`),
	event(TypeAlertExpiry, `{"code":"k","kind":"expiry","reason":"validity","due_at":"2026-02-03T08:15:30Z"}`),
	event(TypeDecision, `{"code":"k","kind":"rotate","reason":"capacity","target":1,"from":0,"cause":["e1"]}`),
}

func TestCanonicalEventsAreWrittenAsTheyWereRead(t *testing.T) {
	types := map[string]bool{}
	for _, x := range canonical {
		e, err := Parse([]byte(x))
		if err != nil {
			t.Errorf("%s: %v", x, err)
			continue
		}
		types[e.Type] = true
		got, err := e.Marshal()
		if err != nil || string(got) != x {
			t.Errorf("%v\n got %s\nwant %s", err, got, x)
		}
		if err := e.Check(); err != nil {
			t.Errorf("check: %v", err)
		}
	}
	if len(types) != 15 {
		t.Errorf("%d types have a row, want all 15", len(types))
	}
}

func TestParse(t *testing.T) {
	e, err := Parse([]byte(` {"data":{"variant":3,"utm":{},"tenant":null},"time":"2026-01-31T16:15:30+08:00","subject":"k","type":"huoma.scan.v1","source":"s","id":"i",` +
		`"specversion":"1.0","datacontenttype":"application/json","historical":false,"tenant":null}` + "\n"))
	if err == nil {
		t.Fatalf("an unknown field passed: %+v", e)
	}
	e, err = Parse([]byte(` {"data":{"variant":3,"utm":{},"visitor":null},"time":"2026-01-31T16:15:30+08:00","subject":"k","type":"huoma.scan.v1","source":"s","id":"i",` +
		`"specversion":"1.0","datacontenttype":"application/json","historical":false,"tenant":null}` + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := e.Marshal()
	if want := `{"specversion":"1.0","id":"i","source":"s","type":"huoma.scan.v1","subject":"k","time":"2026-01-31T08:15:30.000Z","data":{"variant":3}}`; string(b) != want {
		t.Errorf("written %s\nwant %s", b, want)
	}
	if s := e.Data.(*Scan); s.Variant != 3 || s.Target != nil || !e.Time.Equal(time.Date(2026, 1, 31, 8, 15, 30, 0, time.UTC)) {
		t.Errorf("read %+v", e)
	}
}

// without removes a field from an event.
func without(x, field string) string {
	i := strings.Index(x, `"`+field+`":`)
	j := i + strings.IndexByte(x[i:], ',') + 1
	return x[:i] + x[j:]
}

func TestNamedErrors(t *testing.T) {
	with := func(old, new string) string {
		if !strings.Contains(scan, old) {
			t.Fatalf("no %s", old)
		}
		return strings.Replace(scan, old, new, 1)
	}
	attr := func(a string) string { return head + "," + a + `,"data":{}}` }
	data := func(d string) string { return event(TypeScan, d) }
	def := func(old, new string) string {
		if !strings.Contains(definition, old) {
			t.Fatalf("no %s", old)
		}
		return event(TypeCodeMinted, strings.Replace(definition, old, new, 1))
	}
	long := strings.Repeat("x", MaxName+1)
	sale := func(value string) string { return event(TypeConversion, `{"click_id":"c","name":"sale",`+value+`}`) }
	many := ""
	for i := range 33 {
		many += fmt.Sprintf(`"x%d":1,`, i)
	}
	seen := map[Code]bool{}
	for _, row := range []struct {
		name, event string
		code        Code
		field       string
	}{
		{"nothing", ``, CodeMalformed, ""},
		{"white space", " \n", CodeMalformed, ""},
		{"no JSON", `hello`, CodeMalformed, ""},
		{"cut off", scan[:len(scan)-1], CodeMalformed, ""},
		{"something after it", scan + `{}`, CodeMalformed, ""},
		{"a comma too many", head + `,"data":{},}`, CodeMalformed, ""},
		{"a comma too many in the data", data(`{"city":"a",}`), CodeMalformed, "data"},
		{"half a surrogate pair", data(`{"city":"\ud800"}`), CodeMalformed, "data.city"},
		{"a raw control character", data("{\"city\":\"\x01\"}"), CodeMalformed, "data.city"},
		{"a number with a leading zero", data(`{"variant":01}`), CodeMalformed, "data"},
		{"single quotes", `{'id':'x'}`, CodeMalformed, ""},
		{"an array", `[` + scan + `]`, CodeInvalid, ""},
		{"a string", `"x"`, CodeWrongUnit, ""},
		{"null", `null`, CodeMissingField, "specversion"},

		{"invalid UTF-8", data("{\"city\":\"\xff\"}"), CodeInvalidUTF8, ""},
		{"UTF-8 cut off", data("{\"city\":\"\xe7\xbe\"}"), CodeInvalidUTF8, ""},
		{"an overlong form", data("{\"city\":\"\xc0\xaf\"}"), CodeInvalidUTF8, ""},

		{"id twice", attr(`"id":"x"`), CodeDuplicateField, "id"},
		{"extension twice", attr(`"x":1,"x":1`), CodeDuplicateField, "x"},
		{"data twice", strings.Replace(scan, `"data":{}`, `"data":{},"data":{}`, 1), CodeDuplicateField, "data"},
		{"twice within the data", data(`{"city":"a","city":"a"}`), CodeDuplicateField, "data.city"},
		{"twice, once escaped", data(`{"city":"a","\u0063ity":"a"}`), CodeDuplicateField, "data.city"},

		{"unknown in the data", data(`{"colour":"red"}`), CodeUnknownField, "data.colour"},
		{"unknown in a part", data(`{"utm":{"id":"x"}}`), CodeUnknownField, "data.utm.id"},
		{"the data's name in another case", data(`{"City":"a"}`), CodeUnknownField, "data.City"},
		{"an attribute in another case", attr(`"Tenant":"x"`), CodeUnknownField, "Tenant"},
		{"an attribute that is none", attr(`"user_agent":"x"`), CodeUnknownField, "user_agent"},
		{"binary data", attr(`"data_base64":"AA=="`), CodeUnknownField, "data_base64"},
		{"an attribute without a name", attr(`"":"x"`), CodeUnknownField, ""},
		{"a long attribute name", attr(`"abcdefghijklmnopqrstu":1`), CodeUnknownField, "abcdefghijklmnopqrstu"},
		{"unknown in a definition", def(`"n":0`, `"n":0,"m":1`), CodeUnknownField, "data.targets[0].m"},
		{"another type's field", event(TypeMemberJoined, `{"target":0,"count":1}`), CodeUnknownField, "data.count"},

		{"unknown type", with("huoma.scan.v1", "huoma.scan.v2"), CodeUnknownType, "type"},
		{"a type in another case", with("huoma.scan.v1", "Huoma.scan.v1"), CodeUnknownType, "type"},

		{"no specversion", without(scan, "specversion"), CodeMissingField, "specversion"},
		{"no id", without(scan, "id"), CodeMissingField, "id"},
		{"empty id", with("01J9", ""), CodeMissingField, "id"},
		{"null id", with(`"01J9"`, "null"), CodeMissingField, "id"},
		{"no source", without(scan, "source"), CodeMissingField, "source"},
		{"no type", without(scan, "type"), CodeMissingField, "type"},
		{"no subject", without(scan, "subject"), CodeMissingField, "subject"},
		{"no time", without(scan, "time"), CodeMissingField, "time"},
		{"no data", head + `}`, CodeMissingField, "data"},
		{"null data", head + `,"data":null}`, CodeMissingField, "data"},
		{"join without target", event(TypeMemberJoined, `{}`), CodeMissingField, "data.target"},
		{"join with null target", event(TypeMemberJoined, `{"target":null}`), CodeMissingField, "data.target"},
		{"snapshot without target", event(TypeMemberSnapshot, `{"count":1}`), CodeMissingField, "data.target"},
		{"snapshot without count", event(TypeMemberSnapshot, `{"target":0}`), CodeMissingField, "data.count"},
		{"conversion of nobody", event(TypeConversion, `{"name":"lead"}`), CodeMissingField, "data.click_id"},
		{"conversion without name", event(TypeConversion, `{"visitor":"v"}`), CodeMissingField, "data.name"},
		{"value without currency", sale(`"value":1`), CodeMissingField, "data.currency"},
		{"currency without value", sale(`"currency":"CNY"`), CodeMissingField, "data.value"},
		{"definition without id", def(`"id":"k3v9x0c2m5n8",`, ``), CodeMissingField, "data.id"},
		{"definition without revision", def(`"revision":1,`, ``), CodeMissingField, "data.revision"},
		{"definition without profile", def(`"profile":"wechat-group",`, ``), CodeMissingField, "data.profile"},
		{"definition without targets", def(`"targets":[{"n":0,"url":"https://example.org/g","capacity":200}],`, ``), CodeMissingField, "data.targets"},
		{"definition without countdown", def(`"countdown":"sliding",`, ``), CodeMissingField, "data.countdown"},
		{"definition without mint", def(`"minted_at":"2026-01-31T08:15:30.25Z",`, ``), CodeMissingField, "data.minted_at"},
		{"alert without code", event(TypeAlertRisk, `{"kind":"risk","reason":"lock"}`), CodeMissingField, "data.code"},
		{"alert without kind", event(TypeAlertRisk, `{"code":"k","reason":"lock"}`), CodeMissingField, "data.kind"},
		{"decision without code", event(TypeDecision, `{"kind":"lock","reason":"x"}`), CodeMissingField, "data.code"},
		{"decision without kind", event(TypeDecision, `{"code":"k","reason":"x"}`), CodeMissingField, "data.kind"},

		{"time as a number", with(`"2026-01-31T08:15:30.250Z"`, `1769847330`), CodeWrongUnit, "time"},
		{"time in seconds as text", with("2026-01-31T08:15:30.250Z", "1769847330"), CodeWrongUnit, "time"},
		{"time without zone", with("30.250Z", "30.250"), CodeWrongUnit, "time"},
		{"time without T", with("31T08", "31 08"), CodeWrongUnit, "time"},
		{"time with a comma", with("30.250Z", "30,250Z"), CodeWrongUnit, "time"},
		{"time with a short hour", with("T08:", "T8:"), CodeWrongUnit, "time"},
		{"a 30th of February", with("01-31", "02-30"), CodeWrongUnit, "time"},
		{"a zone of 25 h", with("30.250Z", "30.250+25:00"), CodeWrongUnit, "time"},
		{"only a date", with("2026-01-31T08:15:30.250Z", "2026-01-31"), CodeWrongUnit, "time"},
		{"id as a number", with(`"01J9"`, `7`), CodeWrongUnit, "id"},
		{"variant as text", data(`{"variant":"2"}`), CodeWrongUnit, "data.variant"},
		{"half a variant", data(`{"variant":1.5}`), CodeWrongUnit, "data.variant"},
		{"target as text", event(TypeMemberJoined, `{"target":"0"}`), CodeWrongUnit, "data.target"},
		{"half a person", event(TypeMemberSnapshot, `{"target":0,"count":1.5}`), CodeWrongUnit, "data.count"},
		{"more people than a number holds", event(TypeMemberSnapshot, `{"target":0,"count":9223372036854775808}`), CodeWrongUnit, "data.count"},
		{"value as text", sale(`"value":"12.50","currency":"CNY"`), CodeWrongUnit, "data.value"},
		{"value in parts of a hundredth of a cent", sale(`"value":0.00001,"currency":"CNY"`), CodeWrongUnit, "data.value"},
		{"value too large", sale(`"value":123456789012345,"currency":"CNY"`), CodeWrongUnit, "data.value"},
		{"value with an exponent", sale(`"value":1e3,"currency":"CNY"`), CodeWrongUnit, "data.value"},
		{"value null", sale(`"value":null,"currency":"CNY"`), CodeWrongUnit, "data.value"},
		{"currency by its sign", sale(`"value":1,"currency":"¥"`), CodeWrongUnit, "data.currency"},
		{"currency in lower case", sale(`"value":1,"currency":"cny"`), CodeWrongUnit, "data.currency"},
		{"validity in seconds", def(`"validity":"2h"`, `"validity":7200`), CodeWrongUnit, "data.validity"},
		{"validity in weeks", def(`"validity":"2h"`, `"validity":"1w"`), CodeWrongUnit, "data.validity"},
		{"window in seconds", def(`"window":"30s"`, `"window":30`), CodeWrongUnit, "data.rules[0].window"},
		{"mint as a number", def(`"minted_at":"2026-01-31T08:15:30.25Z"`, `"minted_at":1`), CodeWrongUnit, "data.minted_at"},
		{"extension with a fraction", attr(`"x":1.5`), CodeWrongUnit, "x"},
		{"extension over 32 bits", attr(`"x":2147483648`), CodeWrongUnit, "x"},

		{"CloudEvents 0.3", with(`"1.0"`, `"0.3"`), CodeInvalid, "specversion"},
		{"data as text", head + `,"data":"x"}`, CodeWrongUnit, "data"},
		{"data as an array", head + `,"data":[]}`, CodeInvalid, "data"},
		{"another content", attr(`"datacontenttype":"text/plain"`), CodeInvalid, "datacontenttype"},
		{"subject with a dot", with("k3v9x0c2m5n8", "a.b"), CodeInvalid, "subject"},
		{"subject with a wildcard", with("k3v9x0c2m5n8", "*"), CodeInvalid, "subject"},
		{"subject with a space", with("k3v9x0c2m5n8", "a b"), CodeInvalid, "subject"},
		{"subject of 65 characters", with("k3v9x0c2m5n8", strings.Repeat("a", 65)), CodeInvalid, "subject"},
		{"before 1970", with("2026-01-31", "1969-12-31"), CodeInvalid, "time"},
		{"far ahead", with("2026-01-31", "2262-01-01"), CodeInvalid, "time"},
		{"a control character", with("01J9", `a\u0000b`), CodeInvalid, "id"},
		{"a line break in the data", data(`{"city":"a\nb"}`), CodeInvalid, "data.city"},
		{"a control character in an extension", attr(`"x":"a\u0007"`), CodeInvalid, "x"},
		{"historical as text", attr(`"historical":"true"`), CodeWrongUnit, "historical"},
		{"extension as an object", attr(`"x":{}`), CodeInvalid, "x"},
		{"extension null", attr(`"x":null`), CodeInvalid, "x"},
		{"variant 9", data(`{"variant":9}`), CodeInvalid, "data.variant"},
		{"variant below 0", data(`{"variant":-1}`), CodeInvalid, "data.variant"},
		{"answered nonsense", data(`{"answered":"ok"}`), CodeInvalid, "data.answered"},
		{"target below 0", data(`{"target":-1}`), CodeInvalid, "data.target"},
		{"target too high", data(`{"target":10000}`), CodeInvalid, "data.target"},
		{"utm as an array", data(`{"utm":[]}`), CodeInvalid, "data.utm"},
		{"count below 0", event(TypeMemberSnapshot, `{"target":0,"count":-1}`), CodeInvalid, "data.count"},
		{"count too high", event(TypeMemberSnapshot, `{"target":0,"count":1099511627777}`), CodeInvalid, "data.count"},
		{"rule out of bounds", def(`"limit":5`, `"limit":0`), CodeInvalid, "data.rules[0].limit"},
		{"target number twice", def(`"capacity":200}`, `"capacity":200},{"n":0,"url":"https://example.org"}`), CodeInvalid, "data.targets[1].n"},
		{"target to nowhere", def(`"url":"https://example.org/g",`, ``), CodeInvalid, "data.targets[0].url"},
		{"countdown unknown", def(`"sliding"`, `"up"`), CodeInvalid, "data.countdown"},
		{"no forged scan", event(TypeForged, `{"network":"n","count":0}`), CodeInvalid, "data.count"},

		{"an event over the limit", head + `,"data":{` + strings.Repeat(" ", MaxEvent) + `}}`, CodeTooLarge, ""},
		{"a long id", with("01J9", long), CodeTooLarge, "id"},
		{"a long type", with("huoma.scan.v1", long), CodeTooLarge, "type"},
		{"a long tenant", attr(`"tenant":"` + strings.Repeat("x", 65) + `"`), CodeTooLarge, "tenant"},
		{"a long extension", attr(`"x":"` + strings.Repeat("x", MaxText) + `"`), CodeTooLarge, "x"},
		{"a long user agent", data(`{"user_agent":"` + strings.Repeat("x", MaxText+1) + `"}`), CodeTooLarge, "data.user_agent"},
		{"a long referrer", data(`{"referrer_host":"` + long + `"}`), CodeTooLarge, "data.referrer_host"},
		{"a long campaign", data(`{"utm":{"campaign":"` + long + `"}}`), CodeTooLarge, "data.utm.campaign"},
		{"a long visitor", event(TypeMemberJoined, `{"target":0,"visitor":"`+long+`"}`), CodeTooLarge, "data.visitor"},
		{"a long openid of a buyer", event(TypeConversion, `{"openid":"`+long+`","name":"lead"}`), CodeTooLarge, "data.openid"},
		{"a long openid of a member", event(TypeMemberJoined, `{"target":0,"openid":"`+long+`"}`), CodeTooLarge, "data.openid"},
		{"a long conversion", event(TypeConversion, `{"visitor":"v","name":"`+long+`"}`), CodeTooLarge, "data.name"},

		{"too deep", data(`{"utm":` + strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth) + `}`), CodeTooDeep, ""},
		{"just not too deep, though no utm", data(`{"utm":` + strings.Repeat("[", MaxDepth-2) + strings.Repeat("]", MaxDepth-2) + `}`), CodeInvalid, "data.utm"},
		{"one too deep", data(`{"utm":` + strings.Repeat("[", MaxDepth-1) + strings.Repeat("]", MaxDepth-1) + `}`), CodeTooDeep, ""},
		{"brackets in text are not depth", data(`{"city":"\"` + strings.Repeat("[{", 50) + `","variant":9}`), CodeInvalid, "data.variant"},
		{"very deep", strings.Repeat("[", MaxEvent), CodeTooDeep, ""},
		{"deep and never closed", strings.Repeat(`{"a":`, 5000), CodeTooDeep, ""},

		{"too many extensions", head + "," + many + `"data":{}}`, CodeTooMany, "x32"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := Parse([]byte(row.event))
			e, ok := AsError(err)
			if !ok {
				t.Fatalf("got %v, want %s on %q", err, row.code, row.field)
			}
			if e.Code != row.code || e.Field != row.field || e.Index != -1 || e.Reason == "" {
				t.Errorf("got %s on %q (%s), want %s on %q", e.Code, e.Field, e.Reason, row.code, row.field)
			}
			seen[row.code] = true
		})
	}
	for _, c := range []Code{CodeMalformed, CodeInvalidUTF8, CodeDuplicateField, CodeUnknownField, CodeUnknownType, CodeMissingField, CodeWrongUnit, CodeInvalid, CodeTooLarge, CodeTooDeep, CodeTooMany} {
		if !seen[c] {
			t.Errorf("no row for %s", c)
		}
	}
}

// TestEveryTextIsBounded finds each text field of a scan by itself, so that a
// new one cannot be forgotten.
func TestEveryTextIsBounded(t *testing.T) {
	for _, field := range []string{"token", "tracking", "visitor", "openid", "user_agent", "network", "country", "province", "city", "device_model",
		"os", "app", "referrer_host", "click_id", "answered_rule"} {
		for bad, code := range map[string]Code{strings.Repeat("x", MaxText+1): CodeTooLarge, `\u001b[0m`: CodeInvalid, `\u007f`: CodeInvalid} {
			_, err := Parse([]byte(event(TypeScan, `{"`+field+`":"`+bad+`"}`)))
			if e, ok := AsError(err); !ok || e.Code != code || e.Field != "data."+field {
				t.Errorf("%s: %v, want %s", field, err, code)
			}
		}
	}
}

func TestErrorsQuoteLittleAndNoSecret(t *testing.T) {
	name := strings.Repeat("é", 4000)
	for _, x := range []string{event(name[:200], `{}`), event(TypeScan, `{"`+name+`":1}`), head + `,"` + name + `":1,"data":{}}`} {
		_, err := Parse([]byte(x))
		if err == nil || len(err.Error()) > 400 || !utf8.ValidString(err.Error()) {
			t.Errorf("%d bytes of error", len(fmt.Sprint(err)))
		}
	}
	for _, x := range []string{event(TypeScan, `{"openid":12345678,"visitor":"x"}`), event(TypeScan, `{"openid":"sECRET\u0001"}`), event(TypeScan, `{"token":"sECRET`+strings.Repeat("x", 300)+`"}`)} {
		if _, err := Parse([]byte(x)); err == nil || strings.Contains(err.Error(), "sECRET") || strings.Contains(err.Error(), "12345678") {
			t.Errorf("the error tells a secret: %v", err)
		}
	}
	e := &Error{Code: CodeInvalid, Field: "data.x", Index: 3, Reason: "is wrong"}
	if got, want := fmt.Errorf("publish: %w", e).Error(), "publish: event 3: data.x: is wrong (invalid_value)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if _, ok := AsError(errors.New("other")); ok {
		t.Error("any error is ours")
	}
}

func batch(n int, each string) []byte {
	return []byte("[" + strings.Repeat(each+",", max(n-1, 0)) + strings.Repeat(each, min(n, 1)) + "]")
}

func TestParseBatch(t *testing.T) {
	for _, n := range []int{0, 1, 2, MaxBatch} {
		if list, err := ParseBatch(batch(n, scan)); err != nil || len(list) != n {
			t.Errorf("a batch of %d: %d events, %v", n, len(list), err)
		}
	}
	if list, err := ParseBatch([]byte(" \n" + scan)); err != nil || len(list) != 1 {
		t.Errorf("a single event: %d events, %v", len(list), err)
	}
	list, err := ParseBatch(batch(MaxBatch+1, scan))
	if e, ok := AsError(err); !ok || e.Code != CodeTooMany || len(list) != 0 {
		t.Errorf("a batch of %d: %d events, %v", MaxBatch+1, len(list), err)
	}
	list, err = ParseBatch([]byte(`[` + scan + `,` + scan + `,` + strings.Replace(scan, "01J9", "", 1) + `,` + scan + `]`))
	if e, ok := AsError(err); !ok || e.Index != 2 || e.Field != "id" || len(list) != 2 {
		t.Errorf("the third is bad: %d events, %v", len(list), err)
	}
	for name, x := range map[string]string{"cut off": "[" + scan, "a comma too many": "[" + scan + ",]", "two arrays": "[][]"} {
		if _, err := ParseBatch([]byte(x)); func() bool { e, ok := AsError(err); return !ok || e.Code != CodeMalformed }() {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseBatch([]byte("[\"\xff\"]")); func() bool { e, ok := AsError(err); return !ok || e.Code != CodeInvalidUTF8 }() {
		t.Errorf("invalid UTF-8: %v", err)
	}
	if _, err := ParseBatch([]byte(strings.Repeat("[", 100))); func() bool { e, ok := AsError(err); return !ok || e.Code != CodeTooDeep }() {
		t.Errorf("deep: %v", err)
	}
	if _, err := ParseBatch(slices.Concat([]byte("["), bytes.Repeat([]byte(" "), MaxBatch*MaxEvent), []byte("]"))); func() bool { e, ok := AsError(err); return !ok || e.Code != CodeTooLarge }() {
		t.Errorf("oversized: %v", err)
	}
	if list, err := ParseBatch([]byte(`[` + scan + `,7]`)); func() bool { e, ok := AsError(err); return !ok || e.Index != 1 || e.Code != CodeWrongUnit }() {
		t.Errorf("a number among them: %d events, %v", len(list), err)
	}
}

func TestMarshalBatch(t *testing.T) {
	list, err := ParseBatch([]byte("[" + strings.Join(canonical, ",") + "]"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := MarshalBatch(list)
	if want := "[" + strings.Join(canonical, ",") + "]"; err != nil || string(b) != want {
		t.Errorf("%v\n got %s\nwant %s", err, b, want)
	}
	if b, err := MarshalBatch(nil); err != nil || string(b) != "[]" {
		t.Errorf("an empty batch: %s, %v", b, err)
	}
	if _, err := MarshalBatch([]*Event{list[0], {ID: "\xff", Data: &Scan{}}}); err == nil {
		t.Error("invalid UTF-8 was written")
	}
}

func TestCheckHoldsEventsMadeByHand(t *testing.T) {
	zero := 0
	good := Event{ID: "i", Source: "s", Type: TypeMemberJoined, Subject: "k", Time: time.Now(), Data: &Member{Target: &zero}}
	if err := good.Check(); err != nil {
		t.Errorf("a good one: %v", err)
	}
	for name, change := range map[string]func(*Event){
		"no id":           func(e *Event) { e.ID = "" },
		"no time":         func(e *Event) { e.Time = time.Time{} },
		"data of another": func(e *Event) { e.Data = &Scan{City: "x"} },
		"no target":       func(e *Event) { e.Data = &Member{} },
		"invalid UTF-8":   func(e *Event) { e.Source = "\xff" },
		"bad extension":   func(e *Event) { e.Extensions = []Extension{{Name: "id", Value: []byte(`"x"`)}} },
	} {
		e := good
		change(&e)
		if err := e.Check(); err == nil {
			t.Errorf("%s: passed", name)
		}
	}
}

func TestFormatTime(t *testing.T) {
	at := time.Date(2026, 1, 31, 16, 15, 30, 0, time.FixedZone("", 8*3600))
	for d, want := range map[time.Duration]string{0: "2026-01-31T08:15:30.000Z", 250e6: "2026-01-31T08:15:30.250Z", 1: "2026-01-31T08:15:30.000000001Z", 120e3: "2026-01-31T08:15:30.00012Z"} {
		if got := FormatTime(at.Add(d)); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestFromProducer(t *testing.T) {
	for _, x := range canonical {
		e, err := Parse([]byte(x))
		if err != nil {
			t.Fatal(err)
		}
		want := slices.Contains([]string{TypeScan, TypeMemberJoined, TypeMemberLeft, TypeMemberSnapshot, TypeConversion}, e.Type)
		if FromProducer(e.Type) != want || (InKind(e.Type) != "") != want {
			t.Errorf("%s: from a producer %v, under %q; want %v", e.Type, FromProducer(e.Type), InKind(e.Type), want)
		}
	}
}

func TestVerdictsMayBeAnswered(t *testing.T) {
	for _, v := range code.Verdicts {
		if _, err := Parse([]byte(event(TypeScan, `{"answered":"`+string(v)+`"}`))); err != nil {
			t.Errorf("%s: %v", v, err)
		}
	}
}
