package importing

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func packed(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", MaxLine)
	for _, row := range []struct {
		name, in string
		want     []string // "!reason" for a bad line
		latin1   int
		fails    string
	}{
		{"plain", "a\nb\n", []string{"a", "b"}, 0, ""},
		{"no end at the end", "a\nb", []string{"a", "b"}, 0, ""},
		{"carriage returns", "a\r\nb\r\n", []string{"a", "b"}, 0, ""},
		{"nothing", "", nil, 0, ""},
		{"byte order mark", "\ufeffa\n", []string{"a"}, 0, ""},
		{"UTF-8", "群é\n", []string{"群é"}, 0, ""},
		{"Latin-1", "caf\xe9 \x80\n", []string{"café €"}, 1, ""},
		{"both in one line", "群 caf\xe9\nb\n", []string{"群 café", "b"}, 1, ""},
		{"NUL", "a\x00b\nc\n", []string{"!" + errNUL.Reason, "c"}, 0, ""},
		{"as long as can be", long + "\nb\n", []string{long, "b"}, 0, ""},
		{"as long as can be, with a carriage return", long + "\r\nb\n", []string{long, "b"}, 0, ""},
		{"too long", long + "x\nb\n", []string{"!" + errLongLine.Reason, "b"}, 0, ""},
		{"much too long", strings.Repeat(long, 9) + "\nb", []string{"!" + errLongLine.Reason, "b"}, 0, ""},
		{"gzip", packed(t, "a\nb\n"), []string{"a", "b"}, 0, ""},
		{"gzip cut off", packed(t, strings.Repeat("a line\n", 9))[:20], nil, 0, "cut off or damaged"},
		{"no gzip after all", "\x1f\x8bab", nil, 0, "is none"},
		{"UTF-16 little", "\xff\xfea\x00\n\x00", nil, 0, "UTF-16"},
		{"UTF-16 big", "\xfe\xff\x00a\x00\n", nil, 0, "UTF-16"},
		{"UTF-16 without a mark", strings.Repeat("a\x00b\x00", 20), nil, 0, "UTF-16LE"},
		{"UTF-16 big without a mark", strings.Repeat("\x00a\x00b", 20), nil, 0, "UTF-16BE"},
		{"UTF-32", "\xff\xfe\x00\x00a\x00\x00\x00", nil, 0, "UTF-32"},
	} {
		t.Run(row.name, func(t *testing.T) {
			l, err := newLines(strings.NewReader(row.in))
			var got []string
			for err == nil {
				var one line
				if one, err = l.next(); err == nil {
					if one.number != len(got)+1 {
						t.Errorf("line %d has number %d", len(got)+1, one.number)
					}
					if one.err != nil {
						got = append(got, "!"+one.err.Reason)
						continue
					}
					got = append(got, string(one.text))
				}
			}
			if row.fails != "" {
				if err == io.EOF || !strings.Contains(err.Error(), row.fails) {
					t.Fatalf("error %v, want %q", err, row.fails)
				}
				return
			}
			if err != io.EOF || !slices.Equal(got, row.want) || l.latin1 != row.latin1 {
				t.Errorf("got %.300q, %v, %d read as Latin-1", got, err, l.latin1)
			}
		})
	}
}

func TestSplitLog(t *testing.T) {
	const agent = "Mozilla/5.0 (X11) \"q\""
	for _, row := range []struct {
		name, in string
		want     map[int]string
		bad      string
	}{
		{"combined", `203.0.113.9 - mei [31/Jan/2026:08:15:30 +0800] "GET /S/ABC?utm_source=x HTTP/2.0" 302 0 "https://e.com/" "Mozilla/5.0 (X11) \"q\""`, map[int]string{
			logAddress: "203.0.113.9", logIdent: "-", logUser: "mei", logTime: "31/Jan/2026:08:15:30 +0800", logRequest: "GET /S/ABC?utm_source=x HTTP/2.0", logMethod: "GET",
			logURI: "/S/ABC?utm_source=x", logPath: "/S/ABC", logQuery: "utm_source=x", logProtocol: "HTTP/2.0", logStatus: "302", logBytes: "0",
			logReferrer: "https://e.com/", logUserAgent: agent,
		}, ""},
		{"common", `::1 - - [31/Jan/2026:08:15:30 +0000] "GET / HTTP/1.1" 200 -`, map[int]string{
			logAddress: "::1", logIdent: "-", logUser: "-", logTime: "31/Jan/2026:08:15:30 +0000", logRequest: "GET / HTTP/1.1", logMethod: "GET", logURI: "/", logPath: "/",
			logProtocol: "HTTP/1.1", logStatus: "200", logBytes: "-",
		}, ""},
		{"more behind", `a - - [t] "GET / HTTP/1.1" 200 1 "-" "x" "198.51.100.7" 0.005 "q"`, map[int]string{
			logAddress: "a", logIdent: "-", logUser: "-", logTime: "t", logRequest: "GET / HTTP/1.1", logMethod: "GET", logURI: "/", logPath: "/", logProtocol: "HTTP/1.1",
			logStatus: "200", logBytes: "1", logReferrer: "-", logUserAgent: "x", logExtra: "198.51.100.7", logExtra + 1: "0.005", logExtra + 2: "q",
		}, ""},
		{"a user with spaces", `a - Mei Li [t] "-" 400 0`, map[int]string{logAddress: "a", logIdent: "-", logUser: "Mei Li", logTime: "t", logRequest: "-", logStatus: "400", logBytes: "0"}, ""},
		{"a scanner of ports", `a - - [t] "\x16\x03\x01" 400 0 "-" "-"`, map[int]string{
			logAddress: "a", logIdent: "-", logUser: "-", logTime: "t", logRequest: "\x16\x03\x01", logStatus: "400", logBytes: "0", logReferrer: "-", logUserAgent: "-",
		}, ""},
		{"escapes", `a - - [t] "GET /\\\q\t HTTP/1.1" 200 0 "" "caf\xe9 \xE7\xBE\xA4\xz"`, map[int]string{
			logAddress: "a", logIdent: "-", logUser: "-", logTime: "t", logRequest: "GET /\\\\q\t HTTP/1.1", logMethod: "GET", logURI: "/\\\\q\t", logPath: "/\\\\q\t",
			logProtocol: "HTTP/1.1", logStatus: "200", logBytes: "0", logUserAgent: "café 群\\xz",
		}, ""},
		{"as a proxy is asked", `a - - [t] "GET http://h/p?q HTTP/1.1" 200 0`, map[int]string{
			logAddress: "a", logIdent: "-", logUser: "-", logTime: "t", logRequest: "GET http://h/p?q HTTP/1.1", logMethod: "GET", logURI: "http://h/p?q", logPath: "/p", logQuery: "q",
			logProtocol: "HTTP/1.1", logStatus: "200", logBytes: "0",
		}, ""},
		{"empty", ``, nil, "no common or combined log"},
		{"words", `hello`, nil, "no common or combined log"},
		{"no time", `a - - "GET / HTTP/1.1" 200 0`, nil, "time"},
		{"time without an end", `a - - [31/Jan`, nil, "time"},
		{"no request", `a - - [t] 200 0`, nil, "no common or combined log"},
		{"request without an end", `a - - [t] "GET / HTTP/1.1`, nil, "quoted field"},
		{"backslash at the end", `a - - [t] "GET \`, nil, "quoted field"},
		{"no status", `a - - [t] "GET / HTTP/1.1" x 0`, nil, "status"},
		{"cut off after the request", `a - - [t] "GET / HTTP/1.1"`, nil, "no common or combined log"},
		{"no bytes", `a - - [t] "GET / HTTP/1.1" 200`, nil, "bytes"},
		{"agent without an end", `a - - [t] "GET / HTTP/1.1" 200 0 "-" "Mozi`, nil, "quoted field"},
		{"referrer without quotes", `a - - [t] "GET / HTTP/1.1" 200 0 - -`, nil, "referrer is not in quotes"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got, want logLine
			why := splitLog(row.in, &got)
			if row.bad != "" {
				if why == nil || !strings.Contains(why.Reason, row.bad) {
					t.Fatalf("%v, want %q", why, row.bad)
				}
				return
			}
			for i, v := range row.want {
				want[i] = v
			}
			if why != nil || got != want {
				t.Errorf("got %q, %v", got, why)
			}
		})
	}
}

// readCSV reads all records; bad ones are "!reason".
func readCSV(t testing.TB, text string) (out [][]string) {
	t.Helper()
	l, err := newLines(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	r := csvReader{in: l, comma: ','}
	for {
		cells, number, _, err := r.next(nil)
		var why *Bad
		switch {
		case err == io.EOF:
			return out
		case errors.As(err, &why):
			out = append(out, []string{"!" + why.Reason})
		case err != nil:
			t.Fatal(err)
		case number < 1:
			t.Fatalf("record at line %d", number)
		default:
			out = append(out, slices.Clone(cells))
		}
	}
}

func TestCSVRecords(t *testing.T) {
	for _, row := range []struct {
		name, in string
		want     [][]string
	}{
		{"plain", "a,b\n1,2\n", [][]string{{"a", "b"}, {"1", "2"}}},
		{"empty cells", ",\n\"\",\n", [][]string{{"", ""}, {"", ""}}},
		{"quotes", "\"a,\"\"b\",c\n", [][]string{{`a,"b`, "c"}}},
		{"over lines", "\"a\r\nb\",c\nd,e\n", [][]string{{"a\nb", "c"}, {"d", "e"}}},
		{"blank lines", "a\n\n\nb\n", [][]string{{"a"}, {"b"}}},
		{"a quote within", "a\"b,c\nd,e\n", [][]string{{"!" + errCSVBare.Reason}, {"d", "e"}}},
		{"behind the quote", "\"a\"b,c\nd,e\n", [][]string{{"!" + errCSVBare.Reason}, {"d", "e"}}},
		{"no end of the quote", "\"a,b\nd,e\nf,g\n", [][]string{{"!" + errCSVQuote.Reason}, {"d", "e"}, {"f", "g"}}},
		{"too long a quote", "\"" + strings.Repeat("a\n", MaxLine) + "\",b\n", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := readCSV(t, row.in)
			if row.want == nil {
				if len(got) < 1 || got[0][0] != "!"+errCSVQuote.Reason || len(got) != MaxLine+1 {
					t.Errorf("%d records, the first %.80q", len(got), got[0])
				}
				return
			}
			if !slices.EqualFunc(got, row.want, slices.Equal) {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestJSONPaths(t *testing.T) {
	p := jsonPath{slots: map[string]int{"a": 0, "b.c": 1, "b.d.e": 2, "f": 3}}
	for _, row := range []struct {
		in   string
		want [4]string
		bad  string
	}{
		{`{"a":"x","b":{"c":1.50,"d":{"e":true}},"f":null,"g":[{"a":1}]}`, [4]string{"x", "1.50", "true", ""}, ""},
		{`{"f":{"x":[1, 2]}}`, [4]string{"", "", "", `{"x":[1, 2]}`}, ""},
		{` {} `, [4]string{}, ""},
		{`{"a":"\u7fa4\n"}`, [4]string{"群\n"}, ""},
		{`[]`, [4]string{}, "no JSON object"},
		{`null`, [4]string{}, "no JSON object"},
		{`{"a":1`, [4]string{}, "ends early"},
		{`{"a":1}{}`, [4]string{}, "behind"},
		{`{"a":1} x`, [4]string{}, "behind"},
		{`{"a":1,"a":2}`, [4]string{}, "twice"},
		{`{"a":"\ud800"}`, [4]string{}, "out of place"},
		{strings.Repeat(`{"a":`, 40), [4]string{}, "nested"},
	} {
		var got [4]string
		why := p.read([]byte(row.in), got[:])
		if row.bad != "" {
			if why == nil || !strings.Contains(why.Reason, row.bad) {
				t.Errorf("%s: %v, want %q", row.in, why, row.bad)
			}
			continue
		}
		if why != nil || got != row.want {
			t.Errorf("%s: %q, %v", row.in, got, why)
		}
	}
}

func FuzzSplitLog(f *testing.F) {
	f.Add(`203.0.113.9 - mei [31/Jan/2026:08:15:30 +0800] "GET /S/ABC?utm_source=x HTTP/2.0" 302 0 "https://e.com/" "Mozilla/5.0 \"q\" \xe9"`)
	f.Add(`a - - [t] "\x16\x03" 400 0`)
	f.Add(`a b c [d] "e" 1 2 "f" "g" "h" i j k l m`)
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, "\n\x00") || !utf8.ValidString(s) {
			return // newLines gives no such line
		}
		var l logLine
		if why := splitLog(s, &l); why != nil {
			return
		}
		for i, v := range l {
			if !utf8.ValidString(v) {
				t.Errorf("%s of %q is not UTF-8: %q", logFields[i], s, v)
			}
		}
		// Written again from its parts, it is read the same.
		quote := strings.NewReplacer("\\", `\\`, "\"", `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\v", `\v`, "\b", `\b`, "\x00", `\x00`)
		again := l[logAddress] + " " + l[logIdent] + " " + l[logUser] + " [" + l[logTime] + "] \"" + quote.Replace(l[logRequest]) + "\" " + l[logStatus] + " " + l[logBytes]
		for _, v := range l[logReferrer:] {
			again += ` "` + quote.Replace(v) + `"`
		}
		var second logLine
		if why := splitLog(again, &second); why != nil || second != l {
			t.Errorf("%q is %q and, written again as %q, %q, %v", s, l, again, second, why)
		}
	})
}

func FuzzCSV(f *testing.F) {
	f.Add("a,b\n\"1\n,\"\"\",2\n")
	f.Add("\"a\"b\nc\n")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsAny(text, "\x00\r") || !utf8.ValidString(text) || strings.HasPrefix(text, "\ufeff") || encoding([]byte(text)) != "" || strings.HasPrefix(text, "\x1f\x8b") {
			return
		}
		got := readCSV(t, text)
		// What the standard library takes as a whole, we take the same.
		r := csv.NewReader(strings.NewReader(text))
		r.FieldsPerRecord = -1
		want, err := r.ReadAll()
		if err == nil && !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	})
}

func FuzzJSONL(f *testing.F) {
	f.Add(`{"a":"x","b":{"c":1.50}}`)
	f.Add(`{"a":{"c":[]},"b":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		p := jsonPath{slots: map[string]int{"a": 0, "b.c": 1}}
		var got [2]string
		if why := p.read([]byte(text), got[:]); why != nil && why.Reason == "" {
			t.Errorf("%q: no reason", text)
		}
		for _, v := range got {
			if !utf8.ValidString(v) {
				t.Errorf("%q gives %q", text, v)
			}
		}
	})
}
