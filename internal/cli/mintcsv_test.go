package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/huoma/huoma/internal/cli/client"
)

func read(text string) ([]client.Mint, error) {
	return readCSV(strings.NewReader(text), client.Mint{Profile: "wecom-group", Campaign: "base", Name: "{campaign}-{seq:4}"}, func([]client.Target) error { return nil })
}

func TestCSVRows(t *testing.T) {
	list, err := read("\ufeffName,profile,url,capacity,url_2,capacity_2,campaign,validity,max_scans,verified\n" +
		"A,wechat-group,https://example.com/a,50,https://example.com/b,,spring,90s,7,true\n" +
		"\"B, quoted\",,https://example.com/c,,,,,,,\n")
	if err != nil {
		t.Fatal(err)
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
		{"empty", "", "empty"},
		{"head only", "name,url\n", "no rows"},
		{"unknown column", "name,colour\nA,red\n", `"colour"`},
		{"column twice", "url,url\na,b\n", `"url"`},
		{"unclosed quote", "name,url\n\"A,https://example.com\n", "line 2"},
		{"no target", "name,url\nA,\n", "1 row"},
		{"too few cells", "name,url\nA\n", "1 row"},
		{"too many cells", "name,url\nA,https://example.com,red\n", "1 row"},
		{"capacity without target", "url,capacity_2\nhttps://example.com,5\n", "1 row"},
		{"capacity no number", "url,capacity\nhttps://example.com,many\n", "1 row"},
		{"capacity zero", "url,capacity\nhttps://example.com,0\n", "1 row"},
		{"profile", "url,profile\nhttps://example.com,wechat\n", "1 row"},
		{"duration", "url,validity\nhttps://example.com,2 hours\n", "1 row"},
		{"verified", "url,verified\nhttps://example.com,perhaps\n", "1 row"},
		{"url and picture", "url,picture\nhttps://example.com,https://example.com/p.png\n", "1 row"},
		{"two of three", "url,capacity\nhttps://example.com,1\n,1\nhttps://example.com,x\n", "2 rows"},
		{"utf-8", "url,name\nhttps://example.com,\xff\n", "1 row"},
		{"column number", "url_99\nhttps://example.com\n", "url_99"},
	} {
		t.Run(row.name, func(t *testing.T) {
			list, err := read(row.text)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%d codes, error %v, want one with %q", len(list), err, row.want)
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
	for _, want := range []string{"line 3: capacity \"ten\"", "line 5: it has no target", "nothing was minted: 2 rows"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("standard error misses %q:\n%s", want, r.stderr)
		}
	}
}
