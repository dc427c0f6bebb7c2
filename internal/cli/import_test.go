package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/huoma/huoma/internal/chembed/chtest"
	"github.com/huoma/huoma/internal/cli/client"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/importing"
	"github.com/huoma/huoma/internal/importing/importtest"
	"github.com/huoma/huoma/internal/natsjs"
	"github.com/huoma/huoma/internal/role"
)

// warehouse gives an installation a ClickHouse and an analytics worker, until the test ends. It returns the HTTP address.
func (in installation) warehouse(t testing.TB) string {
	t.Helper()
	ch := chtest.Start(t)
	conn, err := natsjs.Connect(t.Context(), natsjs.Options{URL: in.nats, Name: "analytics"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithCancel(context.Background())
	w, err := role.Analytics{
		Conn: conn, Partitions: 2, ClickHouseURL: "clickhouse://" + ch.Addr() + "/huoma", Migrate: true, Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(),
	}.New(ctx)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, w.Close()); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the analytics worker: %v", err)
		}
	})
	return "http://" + ch.HTTPAddr()
}

// sql asks ClickHouse.
func sql(t testing.TB, web, statement string) string {
	t.Helper()
	return strings.TrimSpace(run(t, "query", statement, "--clickhouse-http", web).ok(t))
}

// importing runs huoma import against the installation.
func (in installation) importing(t testing.TB, args ...string) result {
	t.Helper()
	return in.on(t, append([]string{"import", "--nats-url", in.nats}, args...)...)
}

type imported struct {
	Lines, Imported, Already, Skipped, Bad, Latin1 int
	Reasons                                        map[string]int
	BadFiles                                       []string `json:"bad_files"`
}

// summary is the last line of a command with --json.
func summary(t testing.TB, r result) imported {
	t.Helper()
	text := strings.TrimSpace(r.ok(t))
	return lines[imported](t, text[strings.LastIndexByte(text, '\n')+1:])[0]
}

func (in installation) mints(t testing.TB, n int) (ids, tokens []string) {
	t.Helper()
	for i := range n {
		m := lines[object](t, in.on(t, "mint", "https://example.com/group", "https://example.com/more", "--capacity", "50,50", "--name", fmt.Sprintf("Code %d", i), "--json").ok(t))[0]
		ids, tokens = append(ids, m["id"].(string)), append(tokens, m["token"].(string))
	}
	return ids, tokens
}

func writeFile(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLedgerInNATS(t *testing.T) {
	in := install(t)
	im, err := in.conn.Imports(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if key, err := im.Key(t.Context(), false); err != nil || key != nil {
		t.Errorf("a ledger that is not there has the key %x, %v", key, err)
	}
	for range 2 {
		if im, err = in.conn.Imports(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	}
	importtest.Conform(t, importLog{im})
}

// A web server's log of last year becomes rows, counts and nothing else, however often and in whatever pieces it is imported.
func TestImportALog(t *testing.T) {
	in := install(t)
	web := in.warehouse(t)
	ids, tokens := in.mints(t, 3)
	const n = 6000
	var text strings.Builder
	truth, err := importtest.Log{Seed: 7, Lines: n, Tokens: tokens, Start: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC), Span: 60 * 24 * time.Hour}.Write(&text)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	whole := writeFile(t, dir, "access.log", text.String())
	all := strings.SplitAfter(text.String(), "\n")
	old := writeFile(t, dir, "access.log.1", strings.Join(all[:n/2], ""))

	dry := in.importing(t, "--format", "combined", "--dry-run", whole).ok(t)
	if strings.Count(dry, `"historical":true`) != 10 || !strings.Contains(dry, fmt.Sprintf("would import   %d\n", truth.Scans)) {
		t.Errorf("dry run: %s", dry)
	}
	if got := in.totals(t); got.Scans != 0 {
		t.Fatalf("a dry run published: %+v", got)
	}
	if s := summary(t, in.importing(t, "--format", "combined", "--json", old)); s.Lines != n/2 || s.Imported == 0 || s.Already != 0 || s.Bad != 0 {
		t.Errorf("the older log: %+v", s)
	}
	plain := in.importing(t, "--format", "combined", whole).ok(t)
	for _, want := range []string{fmt.Sprintf("lines read     %d\n", n), "bad            0\n", "already there", "method", "status"} {
		if !strings.Contains(plain, want) {
			t.Errorf("the summary has no %q: %s", want, plain)
		}
	}
	stdin := runApp(t, &App{}, text.String(), "import", "--format", "combined", "--json", "-", "--nats-url", in.nats, "--gateway", in.gateway, "--api-key", testKey)
	if s := summary(t, stdin); s.Imported != 0 || s.Already != truth.Scans || s.Skipped != truth.Other {
		t.Errorf("again, from standard input: %+v, want %d there already", s, truth.Scans)
	}

	eventually(t, "all is decided", func() bool { return in.totals(t).Scans == int64(truth.Scans) })
	if got := in.totals(t); got.Repeated != 0 || got.Dead != 0 || got.Alerts != 0 {
		t.Errorf("decided: %+v", got)
	}
	eventually(t, "all is stored", func() bool { return sql(t, web, "SELECT count() FROM scans") == fmt.Sprint(truth.Scans) })
	robots := 0
	for i, id := range ids {
		stats := lines[object](t, in.on(t, "codes", "stats", id, "--json").ok(t))[0]
		counts := stats["counts"].(object)
		sum := 0
		for verdict, v := range counts {
			count := int(v.(float64))
			sum += count
			switch verdict {
			case "bot", "preview":
				robots += count
			case "accepted":
			default:
				if count > 0 {
					t.Errorf("code %d: %d %s", i, count, verdict)
				}
			}
		}
		if sum != truth.ByToken[tokens[i]] {
			t.Errorf("code %d: %d scans, want %d", i, sum, truth.ByToken[tokens[i]])
		}
		if stats["status"] != "active" || stats["consumed"] != 0.0 {
			t.Errorf("code %d is %v, %v of its scans used up", i, stats["status"], stats["consumed"])
		}
	}
	if robots != truth.Robots {
		t.Errorf("%d robots and previews, want %d", robots, truth.Robots)
	}
	for what, want := range map[string]string{
		"SELECT sum(missing), sum(doubled), sum(gaps) FROM reconcile":                           "0\t0\t0",
		"SELECT count() FROM alerts":                                                            "0",
		"SELECT count() FROM decisions":                                                         "0",
		"SELECT countIf(variant = 0 OR tracking = ''), min(ts), uniqExact(event_id) FROM scans": fmt.Sprintf("0\t2025-03-01 00:00:00.000\t%d", truth.Scans),
		"SELECT countIf(network LIKE '%.0/24' OR network LIKE '%::/64' OR network LIKE '2001:db8:%/64') = count() FROM scans": "1",
		"SELECT sum(scans) FROM scans_hourly": fmt.Sprint(truth.Scans),
	} {
		eventually(t, what+" is "+want, func() bool { return sql(t, web, what) == want })
	}
}

// A shop's export with members and orders, and lines that make no sense.
func TestImportAnExport(t *testing.T) {
	in := install(t)
	web := in.warehouse(t)
	ids, _ := in.mints(t, 2)
	dir := t.TempDir()
	mapping := writeFile(t, dir, "shop.yaml", `
source: shop
type: {field: kind, table: {visit: scan, in: joined, order: conversion}}
code: {field: page, table: {/spring: `+ids[0]+`, /summer: Code 1}}
time: {field: at, layout: '%Y-%m-%d %H:%M', zone: Asia/Shanghai}
visitor: customer
target: {value: '0'}
name: {value: sale}
value: sum
currency: {value: CNY}
city: city
`)
	var b strings.Builder
	b.WriteString("kind,page,at,customer,sum,city\r\n")
	for i := range 60 { // more than the group holds
		fmt.Fprintf(&b, "in,/spring,2025-05-01 10:%02d,customer-%d,,\r\n", i, i)
		fmt.Fprintf(&b, "visit,/spring,2025-05-01 10:%02d,customer-%d,,caf\xe9\r\n", i, i)
	}
	b.WriteString("order,/summer,2025-05-02 10:00,customer-1,12.50,\r\n" +
		"visit,/spring,yesterday,customer-1,,\r\n" +
		"visit,/spring,2025-05-02 10:00,\"cust\"omer,,\r\n" +
		"visit,/winter,2025-05-02 10:00,customer-1,,\r\n" +
		"refund,/spring,2025-05-02 10:00,customer-1,,\r\n")
	file := writeFile(t, dir, "export.csv", b.String())
	r := in.importing(t, "--format", "csv", "--mapping", mapping, file)
	for _, want := range []string{"imported       121\n", "skipped        2 (no code 1, type 1)\n", "bad            2, kept in " + file + ".bad\n", "60 lines, read as Latin-1"} {
		if !strings.Contains(r.ok(t), want) {
			t.Errorf("no %q in %s", want, r.out)
		}
	}
	for _, want := range []string{"export.csv line 123: the time cannot be read", "export.csv line 124: a quote stands within a cell"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("no %q in %s", want, r.stderr)
		}
	}
	kept, err := os.ReadFile(file + ".bad")
	if want := "kind,page,at,customer,sum,city\nvisit,/spring,yesterday,customer-1,,\nvisit,/spring,2025-05-02 10:00,\"cust\"omer,,\n"; err != nil || string(kept) != want {
		t.Errorf("kept aside: %q, %v", kept, err)
	}
	eventually(t, "all is decided", func() bool { got := in.totals(t); return got.Scans == 60 && got.Members == 60 && got.Conversions == 1 })
	stats := lines[object](t, in.on(t, "codes", "stats", ids[0], "--json").ok(t))[0]
	if stats["status"] != "active" || stats["current"] != 0.0 || stats["unique"] != 60.0 {
		t.Errorf("stats after history: %v", stats)
	}
	eventually(t, "rows are there", func() bool {
		return sql(t, web, "SELECT count() FROM scans") == "60" && sql(t, web, "SELECT count() FROM members") == "60" && sql(t, web, "SELECT count() FROM conversions") == "1"
	})
	for what, want := range map[string]string{
		"SELECT count() FROM alerts": "0", "SELECT count() FROM decisions": "0",
		"SELECT uniqExact(m.visitor) FROM members AS m INNER JOIN scans AS s ON s.visitor = m.visitor AND s.code_id = m.code_id": "60",
		"SELECT count() FROM conversions AS c INNER JOIN members AS m ON c.visitor = m.visitor WHERE c.value = 12.5":             "1",
		"SELECT count() FROM members WHERE visitor LIKE '%customer%'":                                                            "0",
		"SELECT any(city), min(ts) FROM scans":                                                                                   "café\t2025-05-01 02:00:00.000",
		"SELECT sum(missing), sum(doubled) FROM reconcile":                                                                       "0\t0",
	} {
		if got := sql(t, web, what); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	if s := summary(t, in.importing(t, "--format", "csv", "--mapping", mapping, "--json", file)); s.Imported != 0 || s.Already != 121 || s.Bad != 2 || len(s.BadFiles) != 1 {
		t.Errorf("again: %+v", s)
	}
}

// command is huoma import with the inner parts that tests need.
func (in installation) command(files ...string) *importCmd {
	return &importCmd{
		access: access{Gateway: in.gateway, APIKey: testKey, JSON: true}, Files: files, Format: "combined", NATSURL: in.nats, Database: "huoma", ClickHouseHTTP: "http://127.0.0.1:1",
	}
}

func (c *importCmd) run(t testing.TB) (result, error) {
	t.Helper()
	var out, stderr lockedBuffer
	err := c.Run(t.Context(), &App{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &stderr})
	return result{out: out.String(), stderr: stderr.String()}, err
}

// ahead is a ledger whose clock is ahead of when its entries were written.
type ahead struct {
	importing.Log
	by time.Duration
}

func (l ahead) Read(ctx context.Context, from uint64, s importing.Scope, fn func(events.ImportEntry) error) (uint64, time.Time, error) {
	last, now, err := l.Log.Read(ctx, from, s, fn)
	return last, now.Add(l.by), err
}

// An import that dies with events under way, and is run again when the scan workers may have forgotten them.
func TestImportDiesAndComesBackLater(t *testing.T) {
	in := install(t)
	_, tokens := in.mints(t, 2)
	var text strings.Builder
	truth, err := importtest.Log{Seed: 3, Lines: 3000, Tokens: tokens, Start: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC), Span: 24 * time.Hour}.Write(&text)
	if err != nil {
		t.Fatal(err)
	}
	file := writeFile(t, t.TempDir(), "access.log", text.String())
	dead := errors.New("dead")
	c := in.command(file)
	var published atomic.Int32
	c.crash = func(p importing.Point) error {
		if p == importing.AfterPublish {
			published.Add(1)
		}
		if published.Load() >= 2 {
			return dead
		}
		return nil
	}
	if _, err := c.run(t); !errors.Is(err, dead) {
		t.Fatalf("ended with %v", err)
	}
	eventually(t, "something is decided", func() bool { return in.totals(t).Scans > 0 })

	later := func(l importing.Log) importing.Log { return ahead{l, 30 * time.Hour} }
	c = in.command(file)
	c.aging = later
	_, err = c.run(t)
	if err == nil || !strings.Contains(err.Error(), "not known whether they are stored") || !strings.Contains(err.Error(), "--clickhouse-http") {
		t.Fatalf("without a warehouse: %v", err)
	}
	web := in.warehouse(t)
	eventually(t, "the warehouse is asked and knows", func() bool {
		c = in.command(file)
		c.aging, c.ClickHouseHTTP = later, web
		_, err = c.run(t)
		return err == nil || !strings.Contains(err.Error(), "in a while")
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is decided", func() bool { return in.totals(t).Scans == int64(truth.Scans) })
	if got := in.totals(t); got.Repeated != 0 { // nothing was sent on the trust that the worker remembers
		t.Errorf("decided: %+v", got)
	}
	if s := summary(t, in.importing(t, "--format", "combined", "--json", file)); s.Already != truth.Scans || s.Imported != 0 {
		t.Errorf("at last: %+v", s)
	}

	// The same with records that have ids of their own, whose time may change.
	export := func(at string) string {
		var b strings.Builder
		for i := range 3000 {
			fmt.Fprintf(&b, `{"code":%q,"time":%q,"id":"%d"}`+"\n", tokens[i%2], at, i)
		}
		return writeFile(t, t.TempDir(), "export.jsonl", b.String())
	}
	published.Store(0)
	c = in.command(export("2025-03-01T00:00:00Z"))
	c.Format = "jsonl"
	c.crash = func(p importing.Point) error {
		if p == importing.AfterPublish && published.Add(1) >= 2 {
			return dead
		}
		return nil
	}
	if _, err := c.run(t); !errors.Is(err, dead) {
		t.Fatalf("ended with %v", err)
	}
	eventually(t, "the warehouse knows what was published", func() bool {
		c = in.command(export("2025-04-01T00:00:00Z"))
		c.Format, c.aging, c.ClickHouseHTTP = "jsonl", later, web
		_, err = c.run(t)
		return err == nil || !strings.Contains(err.Error(), "in a while")
	})
	if err != nil {
		t.Fatal(err)
	}
	want := int64(truth.Scans + 3000)
	eventually(t, "all is decided", func() bool { return in.totals(t).Scans == want })
	if got := in.totals(t); got.Repeated != 0 {
		t.Errorf("decided: %+v", got)
	}
}

// tornLedger is the ledger in NATS for an import that may die within a call to it: when a part of an announcement is written, or when the answer
// is on its way.
type tornLedger struct {
	importLog
	at func(importing.Point) error
}

// The points within the calls, beside those of the import itself.
const (
	amidAnnounce    importing.Point = "amid-announce" // some days are announced, the others not
	announcedUnsaid importing.Point = "announced-unsaid"
	closedUnsaid    importing.Point = "closed-unsaid"
)

func (l tornLedger) Announce(ctx context.Context, after uint64, list []events.ImportEntry) (uint64, error) {
	if err := l.at(amidAnnounce); err != nil {
		_, _ = l.importLog.Announce(ctx, after, list[:(len(list)+1)/2])
		return 0, err
	}
	last, err := l.importLog.Announce(ctx, after, list)
	if err := l.at(announcedUnsaid); err != nil {
		return 0, err
	}
	return last, err
}

func (l tornLedger) Close(ctx context.Context, e events.ImportEntry) (uint64, error) {
	seq, err := l.importLog.Close(ctx, e)
	if err := l.at(closedUnsaid); err != nil {
		return 0, err
	}
	return seq, err
}

// Between any two effects an import may die, early and late, and the next one at another place; whoever ends it ends it for all. Against a real
// ledger, gateway and scan worker every record is counted once, also when it is imported again.
func TestImportDiesAnywhere(t *testing.T) {
	in := install(t)
	ids, _ := in.mints(t, 2)
	im, err := in.conn.Imports(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	cl, err := client.New(in.gateway, testKey)
	if err != nil {
		t.Fatal(err)
	}
	dead := errors.New("dead")
	const n = 300
	runs, want := 0, int64(0)
	// run imports a text and dies at the nth passage of a point; nothing of it has an effect any more then.
	run := func(text string, point importing.Point, nth int) (importing.Summary, error) {
		t.Helper()
		var mu sync.Mutex
		passes, died := 0, false
		at := func(p importing.Point) error {
			mu.Lock()
			defer mu.Unlock()
			if p == point {
				if passes++; passes == nth {
					died = true
				}
			}
			if died {
				return dead
			}
			return nil
		}
		runs++
		s, err := importing.Run(t.Context(), importing.Options{
			Mapping: importing.DefaultMapping(importing.JSONL), Gateway: &importGateway{c: cl}, Log: tornLedger{importLog{im}, at}, Run: fmt.Sprint("run-", runs), ChunkSize: 60, Crash: at,
			Inputs: []importing.Input{{Name: "x", Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}},
		})
		if died != errors.Is(err, dead) {
			t.Fatalf("%s, passage %d: ended with %v", point, nth, err)
		}
		return s, err
	}
	points := append(slices.Clone(importing.Points), amidAnnounce, announcedUnsaid, closedUnsaid)
	for i, point := range points {
		for _, nth := range []int{1, 2, 5} {
			var b strings.Builder
			for k := range n { // over six days, so that an announcement is several entries
				at := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(k%6)*24*time.Hour + time.Duration(k)*time.Second)
				fmt.Fprintf(&b, `{"code":%q,"time":%q,"visitor":"v%d-%d-%d"}`+"\n", ids[k%2], at.Format(time.RFC3339), i, nth, k)
			}
			text := b.String()
			if _, err := run(text, point, nth); err == nil {
				t.Fatalf("%s is not passed %d times", point, nth)
			}
			_, _ = run(text, points[(i+nth)%len(points)], 1) // which may have nothing left to do
			_, _ = run(text, points[(i+2*nth)%len(points)], 2)
			if s, err := run(text, "", 0); err != nil || s.Imported+s.Already != n || s.Bad+s.Skipped != 0 {
				t.Fatalf("%s, passage %d, at last: %+v, %v", point, nth, s, err)
			}
			if s, err := run(text, "", 0); err != nil || s.Already != n || s.Imported != 0 {
				t.Errorf("%s, passage %d, once more: %+v, %v", point, nth, s, err)
			}
			want += n
			eventually(t, fmt.Sprintf("all is decided after %s, passage %d", point, nth), func() bool { return in.totals(t).Scans >= want })
			if got := in.totals(t); got.Scans != want || got.Dead != 0 {
				t.Fatalf("%s, passage %d: %+v, want %d scans", point, nth, got, want)
			}
		}
	}
}

// A gateway that is busy, then away, then loses answers: nothing is lost or doubled. Two imports of the same log at once make it no worse.
func TestImportThroughABadConnection(t *testing.T) {
	in := install(t)
	_, tokens := in.mints(t, 2)
	var text strings.Builder
	truth, err := importtest.Log{Seed: 4, Lines: 4000, Tokens: tokens, Start: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC), Span: 24 * time.Hour}.Write(&text)
	if err != nil {
		t.Fatal(err)
	}
	file := writeFile(t, t.TempDir(), "access.log", text.String())
	target, err := url.Parse(in.gateway)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	var n atomic.Int32
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/events" {
			proxy.ServeHTTP(w, r)
			return
		}
		switch n.Add(1) {
		case 1:
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3:
			w.WriteHeader(http.StatusTooManyRequests)
		case 2, 5: // stored, and nobody hears of it
			rec := httptest.NewRecorder()
			proxy.ServeHTTP(rec, r)
			panic(http.ErrAbortHandler)
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(front.Close)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			c := in.command(file)
			c.Gateway = front.URL
			if r, err := c.run(t); err != nil {
				t.Errorf("%v: %s", err, r.stderr)
			}
		})
	}
	wg.Wait()
	eventually(t, "all is decided", func() bool { return in.totals(t).Scans == int64(truth.Scans) })
	if s := summary(t, in.importing(t, "--format", "combined", "--json", file)); s.Already != truth.Scans || s.Imported != 0 {
		t.Errorf("again: %+v", s)
	}
	if got := in.totals(t); got.Scans != int64(truth.Scans) {
		t.Errorf("decided: %+v", got)
	}
}

func TestImportRefuses(t *testing.T) {
	in := install(t)
	dir := t.TempDir()
	good := writeFile(t, dir, "good.csv", "code,time\n")
	for _, row := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"no format", []string{good}, exitUsage, "format"},
		{"a rate below nothing", []string{"--format", "csv", "--rate", "-1", good}, exitUsage, "--rate"},
		{"no file", []string{"--format", "csv", filepath.Join(dir, "none")}, exitError, "none cannot be read"},
		{"a folder", []string{"--format", "csv", dir}, exitError, "is a folder"},
		{"standard input twice", []string{"--format", "csv", "-", "-"}, exitUsage, "twice"},
		{"bad lines into the file itself", []string{"--format", "csv", "--bad", good, good}, exitUsage, "--bad names"},
		{"no mapping", []string{"--format", "csv", "--mapping", filepath.Join(dir, "none.yaml"), good}, exitError, "none.yaml cannot be read"},
		{"a wrong mapping", []string{"--format", "csv", "--mapping", writeFile(t, dir, "m.yaml", "code: c\ntime: t\ncolour: red\n"), good}, exitError, `m.yaml, line 3: the mapping has no key "colour"`},
		{"a column that is missing", []string{"--format", "csv", writeFile(t, dir, "c.csv", "time\n")}, exitError, `c.csv: line 1: there is no column "code"`},
		{"UTF-16", []string{"--format", "csv", writeFile(t, dir, "u.csv", "\xff\xfec\x00")}, exitError, "u.csv: it is UTF-16"},
		{"no NATS", []string{"--format", "csv", "--nats-url", "nats://127.0.0.1:1", good}, exitError, "NATS is unreachable"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if r := in.importing(t, row.args...); r.code != row.code || !strings.Contains(r.stderr, row.says) || strings.Count(r.stderr, "\n") != 1 {
				t.Errorf("status %d: %s, want %d: …%s…", r.code, r.stderr, row.code, row.says)
			}
		})
	}
	if s := summary(t, in.importing(t, "--format", "csv", "--json", good)); s.Lines != 1 || s.Imported != 0 {
		t.Errorf("nothing to import: %+v", s)
	}
}

func TestImportLine(t *testing.T) {
	got := importLine(importing.Progress{Bytes: 500, Lines: 2000, Imported: 900, Already: 10, Skipped: 80, Bad: 10}, 1000, 10*time.Second)
	if want := "[######..................] 25 %  900 imported, 10 already there, 80 skipped, 10 bad  100/s  30s left"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := importLine(importing.Progress{Lines: 10}, 0, time.Second); strings.Contains(got, "%") {
		t.Errorf("of unknown length: %s", got)
	}
}
