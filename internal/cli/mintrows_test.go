package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/huoma/huoma/internal/cli/client"
)

// read reads a CSV: the codes of it, or what is wrong as one text.
func read(t testing.TB, text string) (list []client.Mint, wrong string) {
	t.Helper()
	f := &csvFile{path: "codes.csv", base: client.Mint{Profile: "wecom-group", Campaign: "base", Name: "{campaign}-{seq:4}"}, capacities: func([]client.Target) error { return nil }}
	var bad badRows
	err := f.read(t.Context(), strings.NewReader(text), &bad, func(c *chunk) error {
		for _, b := range c.list {
			var m client.Mint
			if err := json.Unmarshal(b, &m); err != nil {
				return err
			}
			list = append(list, m)
		}
		return nil
	})
	if err != nil {
		return list, err.Error()
	}
	if bad.total > 0 {
		var out strings.Builder
		wrong = bad.tell(&out, f.path).Error()
		return list, out.String() + wrong
	}
	return list, ""
}

func TestCSVRows(t *testing.T) {
	list, wrong := read(t, "\ufeffName,profile,url,capacity,url_2,capacity_2,campaign,validity,max_scans,verified\n"+
		"A,wechat-group,https://example.com/a,50,https://example.com/b,,spring,90s,7,true\n"+
		"\"B, quoted\",,https://example.com/c,,,,,,,\n")
	if wrong != "" {
		t.Fatal(wrong)
	}
	if len(list) != 2 {
		t.Fatalf("%d rows, want 2", len(list))
	}
	a, b := list[0], list[1]
	if a.Name != "A" || a.Profile != "wechat-group" || a.Campaign != "spring" || a.Validity != "90s" || *a.MaxScans != 7 || !a.Verified ||
		len(a.Targets) != 2 || a.Targets[0].URL != "https://example.com/a" || *a.Targets[0].Capacity != 50 || a.Targets[1].Capacity != nil {
		t.Errorf("first row %+v", a)
	}
	if b.Name != "B, quoted" || b.Profile != "wecom-group" || b.Campaign != "base" || b.MaxScans != nil || len(b.Targets) != 1 {
		t.Errorf("second row %+v", b)
	}
}

func TestBadCSV(t *testing.T) {
	for _, row := range []struct{ name, text, want string }{
		{"empty", "", "header line"},
		{"head only", "name,url\n", "no rows"},
		{"unknown column", "name,colour\nA,red\n", "line 1, column B (colour): there is no such column"},
		{"column twice", "url,url\na,b\n", "line 1, column B (url): the column stands twice"},
		{"unclosed quote", "name,url\n\"A,https://example.com\n", "line 2, column A (name): the quote"},
		{"no target", "name,url\nA,\n", "line 2, column B (url): the row has no target"},
		{"no column for a target", "name\nA\n", "line 2, url: the row has no target"},
		{"too few cells", "name,url\nA\n", "line 2: the row has 1 cells"},
		{"too many cells", "name,url\nA,https://example.com,red\n", "line 2: the row has 3 cells"},
		{"capacity without target", "url,capacity_2\nhttps://example.com,5\n", "line 2, url_2: target 2 has a capacity but leads nowhere"},
		{"capacity no number", "url,capacity\nhttps://example.com,many\n", "line 2, column B (capacity): \"many\": write a whole number"},
		{"capacity zero", "url,capacity\nhttps://example.com,0\n", "column B (capacity)"},
		{"profile", "url,profile\nhttps://example.com,wechat\n", "column B (profile)"},
		{"duration", "url,validity\nhttps://example.com,2 hours\n", "column B (validity)"},
		{"verified", "url,verified\nhttps://example.com,perhaps\n", "column B (verified)"},
		{"url and picture", "url,picture\nhttps://example.com,https://example.com/p.png\n", "column A (url): target 1 is both"},
		{"a picture that is not there", "picture\n/nowhere/at/all.png\n", "column A (picture)"},
		{"two of three", "url,capacity\nhttps://example.com,1\n,1\nhttps://example.com,x\n", "2 rows cannot be"},
		{"more than are told", "url\n" + strings.Repeat("a,b\n", 150), "has 50 more bad rows\nnothing was minted: 150 rows"},
		{"utf-8", "url,name\nhttps://example.com,\xff\n", "column B (name): it is not UTF-8"},
		{"utf-16", "\xff\xfeu\x00r\x00l\x00", "UTF-16"},
		{"column number", "url_99\nhttps://example.com\n", "(url_99)"},
	} {
		t.Run(row.name, func(t *testing.T) {
			list, wrong := read(t, row.text)
			if !strings.Contains(wrong, row.want) || !strings.Contains(wrong, "nothing was minted") && !strings.Contains(wrong, "no rows") {
				t.Errorf("%d codes, error %q, want one with %q", len(list), wrong, row.want)
			}
		})
	}
}

// Bad rows are named by line, and nothing is minted: no gateway is needed to say so.
func TestBadRowsAreNamedByLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "codes.csv")
	text := "name,url,capacity\nA,https://example.com/a,10\n\"B\nb\",https://example.com/b,ten\nC,,\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, "mint", "--from", path, "--gateway", "http://127.0.0.1:1", "--data", t.TempDir())
	if r.code != exitError || r.out != "" {
		t.Errorf("status %d, output %q", r.code, r.out)
	}
	for _, want := range []string{"line 3, column C (capacity): \"ten\"", "line 5, column B (url): the row has no target", "nothing was minted: 2 rows"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("standard error misses %q:\n%s", want, r.stderr)
		}
	}
}
