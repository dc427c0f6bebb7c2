package rows

import (
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"
)

// all reads a file to its end: rows as "line:a|b", problems as their text.
func all(r io.Reader) (got, problems []string, err error) {
	in, err := NewReader(r)
	if err != nil {
		return nil, nil, err
	}
	for {
		row, err := in.Next()
		if err == io.EOF {
			return got, problems, nil
		}
		if p, ok := errors.AsType[*Problem](err); ok {
			problems = append(problems, p.Error())
			if p.Fatal {
				return got, problems, nil
			}
			continue
		}
		if err != nil {
			return got, problems, err
		}
		got = append(got, fmt.Sprintf("%d:%s", row.Line, strings.Join(row.Cells, "|")))
	}
}

func TestWhatSpreadsheetsSave(t *testing.T) {
	want := []string{"2:一, 号|https://example.com/a|5", "4:B\"b|https://example.com/b|"}
	plain := "name,url,capacity\n\"一, 号\",https://example.com/a,5\n\n\"B\"\"b\",https://example.com/b,\n"
	semicolons := "name;url;capacity\n\"一, 号\";https://example.com/a;5\n\n\"B\"\"b\";https://example.com/b;\n"
	for name, text := range map[string]string{
		"plain":                 plain,
		"byte order mark":       "\ufeff" + plain,
		"CRLF":                  strings.ReplaceAll(plain, "\n", "\r\n"),
		"CR":                    strings.ReplaceAll(plain, "\n", "\r"),
		"semicolons":            semicolons,
		"semicolons and a mark": "\ufeff" + strings.ReplaceAll(semicolons, "\n", "\r\n"),
		"tabs":                  strings.ReplaceAll(strings.ReplaceAll(plain, "一, 号", "一\x00号"), ",", "\t"),
		"no end of line":        strings.TrimSuffix(plain, "\n"),
		"blanks":                strings.ReplaceAll(plain, ",https", " , https"),
		"upper case":            strings.Replace(plain, "name,url", "NAME, Url ", 1),
		"other words":           strings.Replace(plain, "url", "target_url", 1),
		"empty rows at the end": plain + ",,\n , ,\n,,,,,,\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			text = strings.ReplaceAll(text, "\x00", ", ")
			if name == "blanks" {
				text = strings.ReplaceAll(text, `" ,`, `",`) // nothing may stand behind a quote
			}
			got, problems, err := all(strings.NewReader(text))
			if err != nil || problems != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%q\n got %q\nwant %q\nproblems %q, error %v", text, got, want, problems, err)
			}
		})
	}
	got, _, err := all(strings.NewReader("sep=;\r\nurl;name\r\na;b,c\r\n"))
	if err != nil || !reflect.DeepEqual(got, []string{"3:a|b,c"}) {
		t.Errorf("Excel's first line: %q, %v", got, err)
	}
}

func TestColumns(t *testing.T) {
	in, err := NewReader(strings.NewReader("name,url,URL_2,picture3,target_capacity_2,target4,warn_percent\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Column{
		{"name", "name", -1}, {"url", "url", 0}, {"url_2", "url", 1}, {"picture_3", "picture", 2}, {"capacity_2", "capacity", 1}, {"url_4", "url", 3}, {"warn_percent", "warn_percent", -1},
	}
	if !reflect.DeepEqual(in.Columns(), want) {
		t.Errorf("got %v\nwant %v", in.Columns(), want)
	}
	if in.Number("url_4") != 6 || in.Number("owner") != 0 {
		t.Error("columns are numbered wrongly")
	}
	for field, want := range map[string]string{"targets": "url", "targets[0]": "url", "targets[1].url": "url_2", "targets[0].capacity": "capacity", "validity": "validity"} {
		if got := NameOf(field); got != want {
			t.Errorf("%s is the column %s, want %s", field, got, want)
		}
	}
	for n, want := range map[int]string{1: "A", 26: "Z", 27: "AA", 702: "ZZ", 703: "AAA"} {
		if got := Letters(n); got != want {
			t.Errorf("column %d is %s, want %s", n, got, want)
		}
	}
}

func utf16File(order binary.ByteOrder, mark bool, text string) string {
	var b []byte
	if mark {
		text = "\ufeff" + text
	}
	for _, u := range utf16.Encode([]rune(text)) {
		b = append(b, 0, 0)
		order.PutUint16(b[len(b)-2:], u)
	}
	return string(b)
}

func TestBadFiles(t *testing.T) {
	for _, row := range []struct{ name, text, want string }{
		{"nothing", "", "needs a header line"},
		{"empty lines", "\n\r\n\n", "needs a header line"},
		{"UTF-16", utf16File(binary.LittleEndian, true, "name,url\n一,https://example.com\n"), "UTF-16"},
		{"UTF-16, the other way", utf16File(binary.BigEndian, true, "name,url\n"), "UTF-16"},
		{"UTF-16 without a mark", utf16File(binary.LittleEndian, false, "name,url\na,https://example.com\n"), "UTF-16"},
		{"a short UTF-16", utf16File(binary.BigEndian, false, "url\n"), "UTF-16"},
		{"UTF-32", "\xff\xfe\x00\x00u\x00\x00\x00", "UTF-32"},
		{"workbook", "PK\x03\x04\x14\x00\x06\x00", "workbook"},
		{"old workbook", "\xd0\xcf\x11\xe0\xa1\xb1", "workbook"},
		{"gzip", "\x1f\x8b\x08\x00", "gunzip"},
		{"unknown column", "url,colour\n", "line 1, column B (colour): there is no such column"},
		{"column without a name", "url,,name\n", "line 1, column B: the column has no name"},
		{"column twice", "\nurl,name,URL\n", "line 2, column C (url): the column stands twice"},
		{"the same column in other words", "url,target\n", "column B (url)"},
		{"target 0", "url_0\n", "there is no such column"},
		{"target 65", "url_65\n", "there is no such column"},
		{"target 01", "url_01\n", "there is no such column"},
		{"a huge number", "url_99999999999999999999\n", "there is no such column"},
		{"a GBK head", "\xc3\xfb\xb3\xc6,url\n", "line 1, column A: it is not UTF-8"},
		{"open quote in the head", "\"url\nhttps://example.com\n", "line 1, column A: the quote that opens here is never closed"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, problems, err := all(strings.NewReader(row.text))
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("rows %q, problems %q, error %v, want one with %q", got, problems, err, row.want)
			}
		})
	}
}

func TestBadRowsAreNamedAndTheRestIsRead(t *testing.T) {
	text := "name,url\n" +
		"A,https://example.com/a\n" +
		"B\n" + // 3
		"C,https://example.com/c,red\n" + // 4
		"D,\xc4\xe3\xba\xc3\n" + // 5
		"E\x00,https://example.com/e\n" + // 6
		"F \"f\",https://example.com/f\n" + // 7
		"\"G\" g,https://example.com/g\n" + // 8
		"\"H\nh\",https://example.com/h\n" + // 9 and 10
		"I,https://example.com/i\n" + // 11
		"J,\"https://example.com/j\n" // 12
	got, problems, err := all(strings.NewReader(text))
	if want := []string{"2:A|https://example.com/a", "9:H\nh|https://example.com/h", "11:I|https://example.com/i"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("rows %q (%v), want %q", got, err, want)
	}
	for i, want := range []string{
		"line 3: the row has 1 cells, the head has 2", "line 4: the row has 3 cells", "line 5, column B (url): it is not UTF-8", "line 6, column A (name): it has a NUL",
		"line 7, column A (name): a quote stands inside", "line 8, column A (name): something stands behind", "line 12, column B (url): the quote that opens here is never closed",
	} {
		if i >= len(problems) || !strings.HasPrefix(problems[i], want) {
			t.Fatalf("problems\n%s\nwant number %d to begin with %q", strings.Join(problems, "\n"), i+1, want)
		}
	}
	if len(problems) != 7 {
		t.Errorf("%d problems", len(problems))
	}
}

// endless is a file of so many bytes that are written nowhere.
type endless struct {
	head, body string
	at, left   int64
}

func (e *endless) Read(p []byte) (int, error) {
	if e.head != "" {
		n := copy(p, e.head)
		e.head = e.head[n:]
		return n, nil
	}
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := 0
	for n < len(p) && e.left > 0 {
		k := copy(p[n:], e.body[e.at:])
		n += k
		e.at = (e.at + int64(k)) % int64(len(e.body))
		e.left -= int64(k)
	}
	return n, nil
}

func TestMemoryIsBoundedHoweverLongTheFile(t *testing.T) {
	for _, row := range []struct {
		name, head, body, want string
		rows                   bool
	}{
		{"many rows", "name,url\n", "a,https://example.com/group/number/one/of/very/many\n", "", true},
		{"one row", "name,url\n", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "more than 4 MB", false},
		{"an open quote", "name,url\n\"", "a,https://example.com\n", "the quote in line 2 is not closed", false},
		{"commas", "name,url\n", ",,,,,,,,,,,,,,,,,,,,,,,,,,,,,,", "more than 4 MB", false},
		{"blanks", "name,url\n", "                              ", "more than 4 MB", false},
		{"empty lines", "name,url\n", "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n", "", false},
		{"a head without end", "", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "more than 4 MB", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			const size = 1 << 26
			var before, after runtime.MemStats
			n, most := 0, uint64(0)
			runtime.GC()
			runtime.ReadMemStats(&before)
			in, err := NewReader(&endless{head: row.head, body: row.body, left: size})
			for err == nil {
				if _, err = in.Next(); err == nil {
					n++
				}
				if n%(1<<20) == 0 {
					runtime.GC()
					runtime.ReadMemStats(&after)
					most = max(most, after.HeapAlloc)
				}
			}
			if row.want == "" && err != io.EOF || row.want != "" && !strings.Contains(err.Error(), row.want) {
				t.Errorf("ended with %v, want %q", err, row.want)
			}
			if row.rows != (n > 1000) {
				t.Errorf("%d rows", n)
			}
			// Cells of a row of commas are 16 bytes each, and a slice that grows is there twice.
			if most > before.HeapAlloc+48*MaxRecord {
				t.Errorf("%d MB held", (most-before.HeapAlloc)>>20)
			}
		})
	}
}

type broken struct{ after io.Reader }

var errBroken = errors.New("the disk is gone")

func (b broken) Read(p []byte) (int, error) {
	n, err := b.after.Read(p)
	if err == io.EOF {
		err = errBroken
	}
	return n, err
}

func TestAFileThatCannotBeReadIsNoShorterFile(t *testing.T) {
	for _, text := range []string{"", "url", "url\n", "url\nhttps://example.com", "url\n\"https://exam", "url\n  "} {
		if _, _, err := all(broken{strings.NewReader(text)}); !errors.Is(err, errBroken) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzScanner holds the scanner against encoding/csv: what that one reads is read the same, what it refuses is refused.
func FuzzScanner(f *testing.F) {
	for _, s := range []string{"a,b\nc,d\n", "\"a,\"\"b\n\",c\r\n", "a;b\n;\n", "a\"b,c\n", "\"a\"b\n", "\"a", ",\n,", "a,", "\n\n a, \"b\"", "\ufeffa,b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := newScanner(strings.NewReader(text))
		if err != nil {
			return // no CSV at all
		}
		var got [][]string
		refused := false
		for {
			cells, line, err := s.record()
			if err == io.EOF {
				break
			}
			if p, ok := errors.AsType[*Problem](err); ok {
				refused = true
				if p.Line < 1 || p.Column < 1 || p.Reason == "" {
					t.Fatalf("%q: a problem without a place: %+v", text, p)
				}
				if p.Fatal {
					break
				}
				continue
			}
			if err != nil || line < 1 || len(cells) == 0 {
				t.Fatalf("%q: line %d, %d cells, error %v", text, line, len(cells), err)
			}
			got = append(got, cells)
		}
		body := strings.TrimPrefix(text, "\ufeff")
		switch {
		case strings.Contains(strings.ReplaceAll(body, "\r\n", "\n"), "\r"), strings.HasPrefix(body, "sep="), s.comma == '\t', !utf8.ValidString(body):
			return // encoding/csv knows no such lines and marks, and takes a tab for a blank
		case strings.ContainsAny(body, "\v\f\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"):
			return // which are blanks before a quote to it
		}
		r := csv.NewReader(strings.NewReader(body))
		r.Comma, r.FieldsPerRecord, r.TrimLeadingSpace = rune(s.comma), -1, true
		want, err := r.ReadAll()
		if (err != nil) != refused {
			t.Fatalf("%q: refused: %v, encoding/csv says %v", text, refused, err)
		}
		if err != nil {
			return
		}
		trim := func(list [][]string) (out [][]string) {
			for _, row := range list {
				next := make([]string, len(row))
				for i := range row {
					next[i] = strings.TrimSpace(row[i])
				}
				out = append(out, next)
			}
			return out
		}
		if g, w := trim(got), trim(want); !reflect.DeepEqual(g, w) {
			t.Fatalf("%q:\n got %q\nwant %q", text, g, w)
		}
	})
}

// FuzzReader: whatever the file, the reader ends, names a place for what it refuses, and hands out whole rows.
func FuzzReader(f *testing.F) {
	for _, s := range []string{"url,name\na,b\n", "\xff\xfeu\x00", "url;url_2\na;b\n", "sep=;\nurl\n", "url\n\"\n", "url\r\ra\r"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := NewReader(strings.NewReader(string(b)))
		for last := 0; err == nil || err != io.EOF; {
			if p, ok := errors.AsType[*Problem](err); ok {
				if p.Reason == "" || p.Kind == "" {
					t.Fatalf("a problem that says nothing: %+v", p)
				}
				if p.Fatal {
					return
				}
			} else if err != nil {
				t.Fatal(err)
			}
			var row Row
			if row, err = in.Next(); err == nil {
				if row.Line <= last || len(row.Cells) != len(in.Columns()) {
					t.Fatalf("row %+v after line %d, with %d columns", row, last, len(in.Columns()))
				}
				last = row.Line
			}
		}
	})
}
