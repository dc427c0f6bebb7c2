package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/token"
)

var programs string // folder of what is built, for TestMain to remove

func TestMain(m *testing.M) {
	status := m.Run()
	if programs != "" {
		_ = os.RemoveAll(programs)
	}
	os.Exit(status)
}

// build builds this program as make bench does: without the race detector,
// under which the processes that it starts would run too.
var build = sync.OnceValues(func() (program string, err error) {
	if programs, err = os.MkdirTemp("", "huoma-bench-program-"); err != nil {
		return "", err
	}
	program = filepath.Join(programs, "bench")
	cmd := exec.Command("go", "build", "-o", program, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return program, nil
})

func built(t *testing.T) string {
	t.Helper()
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// TestQuick runs everything once, small, and looks at the form of what comes of it.
func TestQuick(t *testing.T) {
	dir := t.TempDir()
	document := filepath.Join(dir, "table.md")
	if err := os.WriteFile(document, []byte("before\n"+tableBegins+"old\n"+tableEnds+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(built(t), "--quick", "--json", "--update", document)
	cmd.Dir = "../.." // as make runs it
	var out, notes bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &notes
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, notes.String())
	}
	printed := filepath.Join(dir, "printed.json")
	if err := os.WriteFile(printed, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	o := options{quick: true}
	for _, s := range sections {
		o.only = append(o.only, s.Letter)
	}
	want := o.names()
	lines := json.NewDecoder(&out)
	lines.DisallowUnknownFields()
	var first struct{ Machine *machine }
	if err := lines.Decode(&first); err != nil || first.Machine == nil || first.Machine.Cores < 1 || first.Machine.Go == "" || first.Machine.Engine == "" {
		t.Errorf("the first line does not describe the machine: %+v, %v", first.Machine, err)
	}
	var got [][3]string
	for lines.More() {
		var r Row
		if err := lines.Decode(&r); err != nil {
			t.Fatal(err)
		}
		got = append(got, [3]string{r.Section, r.Name, r.Unit})
		positive := map[string]float64{"ours": r.Ours}
		if slices.Contains([]string{"a", "b", "c", "f"}, r.Section) {
			positive["bare"], positive["ratio"], positive["rounds"] = r.Bare, r.Ratio, float64(r.Rounds)
		}
		for what, v := range positive {
			if !(v > 0) || math.IsInf(v, 0) {
				t.Errorf("(%s) %s: %s is %g", r.Section, r.Name, what, v)
			}
		}
		if r.OK != nil {
			t.Errorf("(%s) %s: a quick run was held against a bound", r.Section, r.Name)
		}
		if r.Section == "a" && r.Unit == "requests/s" {
			for _, who := range []string{"client", "bare client", "gateway", "nats", "bare server"} {
				if !(r.CPU[who] > 0) {
					t.Errorf("%s: the CPU of %s is %g", r.Name, who, r.CPU[who])
				}
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("rows:\ngot  %q\nwant %q", got, want)
	}
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(text); !strings.HasPrefix(s, "before\n"+tableBegins) || !strings.HasSuffix(s, tableEnds+"after\n") || strings.Contains(s, "old") {
		t.Errorf("the document was not brought up to date:\n%s", s)
	}
	if got := documented(t, text); !slices.Equal(got, want) {
		t.Errorf("rows of the document:\ngot  %q\nwant %q", got, want)
	}
	documentedAgain(t, printed, document, text)
}

// documentedAgain is the same document made of what was printed.
func documentedAgain(t *testing.T, printed, document string, want []byte) {
	t.Helper()
	var out, errs bytes.Buffer
	if got := run(t.Context(), []string{"--quick", "--from", printed, "--update", document}, &out, &errs); got != 0 {
		t.Fatalf("status %d: %s", got, errs.String())
	}
	if text, err := os.ReadFile(document); err != nil || !bytes.Equal(text, want) {
		t.Errorf("made of what was printed, the document is another (%v):\n%s\nwant\n%s", err, text, want)
	}
}

// TestProfiles takes profiles of a few processes and reads their costs.
func TestProfiles(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(built(t), "--quick", "--only", "c", "--profile", dir)
	cmd.Dir = "../.."
	notes, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, notes)
	}
	for _, name := range []string{"decide-scan-worker", "analyse-analytics-worker"} {
		_, costs, ok := strings.Cut(string(notes), name+", by own cost:\n")
		if first, _, _ := strings.Cut(costs, "\n"); !ok || !strings.Contains(first, "% in all: ") {
			t.Errorf("no costs of %s in:\n%s", name, notes)
		}
		for _, kind := range []string{".cpu", ".allocs"} {
			if info, err := os.Stat(filepath.Join(dir, name+kind)); err != nil || info.Size() == 0 {
				t.Errorf("no profile %s%s: %v", name, kind, err)
			}
		}
	}
}

// documented takes the rows out of a document's table.
func documented(t *testing.T, text []byte) (out [][3]string) {
	t.Helper()
	_, rest, begins := bytes.Cut(text, []byte(tableBegins))
	body, _, ends := bytes.Cut(rest, []byte(tableEnds))
	if !begins || !ends {
		t.Fatal("the document has no table")
	}
	for line := range strings.Lines(string(body)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 8 || !strings.HasPrefix(line, "| ") || strings.TrimSpace(cells[0]) == "" {
			continue
		}
		what := strings.NewReplacer("&lt;", "<", "&gt;", ">").Replace(strings.TrimSpace(cells[1]))
		i := strings.LastIndex(what, ", ")
		out = append(out, [3]string{strings.TrimSpace(cells[0]), what[:i], what[i+2:]})
	}
	return out
}

// TestDocument holds the table of the document to the rows that a run makes.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/benchmark.md")
	if err != nil {
		t.Fatal(err)
	}
	got := documented(t, text)
	for _, long := range []bool{false, true} {
		o := options{long: long}
		for _, s := range sections {
			o.only = append(o.only, s.Letter)
		}
		want := o.names()
		if slices.Equal(got, want) {
			return
		}
		if long {
			t.Errorf("docs/benchmark.md has rows which a run does not make: write it anew with make bench BENCH=\"--update docs/benchmark.md\"\ngot  %q\nwant %q", got, want)
		}
	}
}

// Every bound is of a row that a full or a long run makes.
func TestBoundsAreOfRows(t *testing.T) {
	o := options{long: true}
	for _, s := range sections {
		o.only = append(o.only, s.Letter)
	}
	for _, b := range bounds {
		if !slices.ContainsFunc(o.names(), func(n [3]string) bool { return n[0] == b.Section && n[1] == b.Name }) {
			t.Errorf("(%s) %q is no row", b.Section, b.Name)
		}
		if (b.Least > 0) == (b.Most > 0) || b.What != "ratio" && b.What != "ours" || b.Why == "" {
			t.Errorf("bound of %q: %+v", b.Name, b)
		}
	}
}

func TestMissedBounds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		row    Row
		missed bool
	}{
		{"at its least", Row{Section: "a", Name: scanName(256, workersOff), Ours: 50, Bare: 100, Ratio: 0.5}, false},
		{"below its least", Row{Section: "a", Name: scanName(256, workersOff), Ours: 49, Bare: 100, Ratio: 0.49}, true},
		{"at its most", Row{Section: "a", Name: scanName(256, workersOff) + ", p99", Ours: 20, Bare: 10, Ratio: 2}, false},
		{"above its most", Row{Section: "a", Name: scanName(256, workersOff) + ", p99", Ours: 21, Bare: 10, Ratio: 2.1}, true},
		{"a number of its own", Row{Section: "g", Name: recoveryName(10_000_000), Ours: 5.1}, true},
		{"no bound", Row{Section: "a", Name: scanName(1, workersOff), Ours: 1, Bare: 100, Ratio: 0.01}, false},
	} {
		b := &bench{print: &printer{out: io.Discard}}
		if err := b.report(tt.row); err != nil {
			t.Fatal(err)
		}
		if missed := b.missed(); (len(missed) > 0) != tt.missed {
			t.Errorf("%s: missed %q, want %v", tt.name, missed, tt.missed)
		}
	}
	b := &bench{print: &printer{out: io.Discard}}
	if err := b.report(Row{Name: "nothing", Ours: math.NaN()}); err == nil {
		t.Error("a row that is no number was reported")
	}
}

func TestRoundsAreMedians(t *testing.T) {
	var c compared
	c.add(50, 100)
	c.add(90, 100)
	c.add(30, 50)
	r := c.row("a", "name", "unit", nil)
	if r.Ratio != 0.6 || r.Ours != 50 || r.Bare != 100 || math.Abs(r.Spread-0.4) > 1e-9 || r.Rounds != 3 {
		t.Errorf("row = %+v", r)
	}
}

func TestWrongUsage(t *testing.T) {
	for _, args := range [][]string{{"--only", "a,z"}, {"--nothing"}, {"word"}} {
		var out, errs bytes.Buffer
		if got := run(context.Background(), args, &out, &errs); got != 2 || errs.Len() == 0 || out.Len() > 0 {
			t.Errorf("%q: status %d, %q, %q", args, got, out.String(), errs.String())
		}
	}
}

// The load client takes nothing but redirects, whole and one at a time.
func TestLoadTakesOnlyRedirects(t *testing.T) {
	tokens := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(tokens, bytes.Repeat([]byte("A"), token.Length), 0o600); err != nil {
		t.Fatal(err)
	}
	const cutShort = "cut short"
	for _, tt := range []struct {
		name, answer string
		ok           bool
	}{
		{"a redirect", "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", true},
		{"a redirect with a body", "HTTP/1.1 302 Found\r\nContent-Length: 3\r\n\r\nabc", true},
		{"refused", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", false},
		{"without a length", "HTTP/1.1 302 Found\r\n\r\n", false},
		{"two at once", "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\nHTTP", false},
		{cutShort, "HTTP/1.1 302 Fou", false},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			buf := make([]byte, 4<<10)
			for {
				if n, err := conn.Read(buf); err != nil || !bytes.HasSuffix(buf[:n], endOfHeader) {
					return
				}
				if _, err := io.WriteString(conn, tt.answer); err != nil || tt.name == cutShort {
					return
				}
			}
		}()
		r, err := load(loadSpec{Addr: l.Addr().String(), Tokens: tokens, Connections: 1, Measure: 100 * time.Millisecond})
		if (err == nil) != tt.ok || tt.ok && (r.Requests < r.Measured || r.Measured == 0 || r.Rate <= 0) {
			t.Errorf("%s: %+v, %v", tt.name, r, err)
		}
		_ = l.Close()
	}
}
