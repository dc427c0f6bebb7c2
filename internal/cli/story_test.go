package cli

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"image/png"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/events"
)

// lines decodes one JSON object a line.
func lines[T any](t testing.TB, text string) []T {
	t.Helper()
	var out []T
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		var v T
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("not one JSON object a line: %v: %q", err, line)
		}
		out = append(out, v)
	}
	return out
}

type object = map[string]any

// An operator mints a code, scans it until they are locked out, changes it and ends it.
func TestMintScanLockChangeRevoke(t *testing.T) {
	in := install(t)
	if out := in.on(t, "codes").ok(t); out != "" {
		t.Errorf("no codes: %q", out)
	}
	minted := lines[object](t, in.on(t, "mint", "https://example.com/group", "--name", "Club", "--capacity", "7", "--campaign", "spring", "--json").ok(t))[0]
	id, _ := minted["id"].(string)
	if minted["name"] != "Club" || minted["profile"] != "wecom-group" || id == "" {
		t.Fatalf("minted %v", minted)
	}
	if text := in.on(t, "mint", "https://example.com/other", "--idempotency-key", "k1").ok(t); strings.Count(text, "\t") != 1 || !strings.Contains(text, "/s/") {
		t.Errorf("in a pipe, id and URL: %q", text)
	}
	again := in.on(t, "mint", "https://example.com/other", "--idempotency-key", "k1").ok(t)
	if list := lines[object](t, in.on(t, "codes", "list", "--json").ok(t)); len(list) != 2 || !strings.HasPrefix(again, list[0]["id"].(string)+"\t") && !strings.HasPrefix(again, list[1]["id"].(string)+"\t") {
		t.Errorf("two codes, the second minted once: %v", list)
	}

	jar := filepath.Join(t.TempDir(), "jar")
	scans := lines[object](t, in.on(t, "scan", id, "--count", "5", "--cookie-jar", jar, "--json").ok(t))
	for i, s := range scans {
		if s["status"] != 302.0 || s["verdict"] != "accepted" || s["location"] != "https://example.com/group" || s["event"] == "" {
			t.Errorf("scan %d: %v", i+1, s)
		}
	}
	// The lock is a decision of the worker's; it may be a moment behind.
	var locked object
	eventually(t, "the sixth scan is refused", func() bool {
		locked = lines[object](t, in.on(t, "scan", minted["scan_url"].(string), "--cookie-jar", jar, "--json").ok(t))[0]
		return locked["verdict"] == "locked"
	})
	if locked["status"] != 429.0 || locked["rule"] != "frequency" || locked["retry_after"] == nil {
		t.Errorf("locked: %v", locked)
	}
	if info, err := os.Stat(jar); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the cookie jar: %v %v", info.Mode(), err)
	}
	if other := lines[object](t, in.on(t, "scan", minted["token"].(string), "--new-visitor", "--cookie-jar", jar, "--json").ok(t))[0]; other["verdict"] != "accepted" {
		t.Errorf("a new visitor: %v", other)
	}
	if text := in.on(t, "scan", id, "--user-agent", "curl/8.0", "--cookie-jar", jar).ok(t); !strings.HasPrefix(text, "403 bot") {
		t.Errorf("a robot: %q", text)
	}
	if text := in.on(t, "scan", "NOTOKEN", "--cookie-jar", jar).ok(t); !strings.HasPrefix(text, "404 forged") {
		t.Errorf("a forged token: %q", text)
	}
	kiosk := lines[object](t, in.on(t, "codes", "kiosk", id, "--device", "lobby", "--json").ok(t))[0]
	text := in.on(t, "codes", "kiosk", id, "--device", "lobby").ok(t)
	if url, _ := kiosk["url"].(string); kiosk["device"] != "lobby" || !strings.Contains(url, "/k/") || !strings.HasPrefix(text, url+"\n") || !strings.Contains(text, kiosk["tracking"].(string)) {
		t.Errorf("a kiosk: %v, %q", kiosk, text)
	}

	eventually(t, "the counts arrive", func() bool {
		stats := lines[object](t, in.on(t, "codes", "stats", id, "--json").ok(t))[0]
		counts, _ := stats["counts"].(object)
		return counts["accepted"] == 6.0 && counts["bot"] == 1.0
	})
	var alerts []object
	eventually(t, "risk and capacity are alerted", func() bool {
		out := in.on(t, "alerts", "--json").ok(t)
		if out == "" {
			return false
		}
		alerts = lines[object](t, out)
		return len(alerts) == 2
	})
	if text := in.on(t, "alerts", "--since", "1h").ok(t); !strings.Contains(text, "risk") || !strings.Contains(text, "capacity") || !strings.Contains(text, "6 of 7 (86 %)") || strings.Count(text, "\n") != 2 {
		t.Errorf("alerts: %q", text)
	}
	if text := in.on(t, "alerts", "--since", "2999-01-01T00:00:00Z").ok(t); text != "" {
		t.Errorf("alerts of the future: %q", text)
	}

	changed := lines[object](t, in.on(t, "codes", "change", id, "--target", "https://example.com/new", "--name", "Club 2", "--fields", `{"content":"poster"}`, "--json").ok(t))[0]
	if changed["name"] != "Club 2" || changed["content"] != "poster" {
		t.Errorf("changed: %v", changed)
	}
	if r := in.on(t, "codes", "change", id, "--target", "javascript:alert(1)"); r.code != exitError || !strings.Contains(r.stderr, "targets[0].url") {
		t.Errorf("a bad target: %d %q", r.code, r.stderr)
	}
	in.on(t, "codes", "revoke", id).ok(t)
	if text := in.on(t, "scan", id, "--new-visitor", "--cookie-jar", jar).ok(t); !strings.HasPrefix(text, "410 revoked") {
		t.Errorf("revoked: %q", text)
	}
	if text := in.on(t, "codes", "get", id).ok(t); !strings.Contains(text, `"status": "revoked"`) {
		t.Errorf("get: %q", text)
	}
	if r := in.on(t, "codes", "get", "0123456789zz"); r.code != exitError || r.stderr == "" {
		t.Errorf("unknown code: %d %q", r.code, r.stderr)
	}
	if r := run(t, "codes", "--gateway", in.gateway, "--api-key", "wrong-key-of-somebody"); r.code != exitError || !strings.Contains(r.stderr, "--api-key") {
		t.Errorf("wrong key: %d %q", r.code, r.stderr)
	}
}

func TestMintFromCSVIntoZipAndFolder(t *testing.T) {
	in := install(t)
	dir := t.TempDir()
	csv := filepath.Join(dir, "codes.csv")
	if err := os.WriteFile(csv, []byte("name,url,capacity\n,https://example.com/a,10\nBooth/1,https://example.com/b,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "codes.zip")
	minted := lines[object](t, in.on(t, "mint", "--from", csv, "--campaign", "fair", "--name", "{campaign}-{seq:3}", "--out", archive, "--size", "256", "--json").ok(t))
	if len(minted) != 2 || minted[0]["name"] != "fair-001" || minted[1]["name"] != "Booth/1" {
		t.Fatalf("minted %v", minted)
	}
	z, err := zip.OpenReader(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	want := []string{"fair-001-" + minted[0]["id"].(string) + ".png", "Booth_1-" + minted[1]["id"].(string) + ".png"}
	if n := len(z.File); n != 3 || z.File[2].Name != "codes.csv" {
		t.Fatalf("%d files", n)
	}
	for i, f := range z.File[:2] {
		if age := time.Since(f.Modified); age < -time.Minute || age > time.Hour {
			t.Errorf("%s is dated %s", f.Name, f.Modified)
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(bytes.NewReader(b))
		if err != nil || img.Bounds().Dx() != 256 || f.Name != want[i] {
			t.Errorf("%s: %v, want a picture of 256 pixels named %s", f.Name, err, want[i])
		}
	}
	if r := in.on(t, "mint", "--from", csv, "--campaign", "other", "--out", archive); r.code != exitError || !strings.Contains(r.stderr, "there already") {
		t.Errorf("an archive is not written over: %d %q", r.code, r.stderr)
	}
	folder := filepath.Join(dir, "pictures")
	in.on(t, "mint", "https://example.com/ab", "--variant", "plain", "--variant", "bold", "--out", folder).ok(t)
	files, err := filepath.Glob(filepath.Join(folder, "*-v[12].png"))
	if err != nil || len(files) != 2 {
		t.Errorf("pictures of two variants: %v %v", files, err)
	}
	// What the gateway refuses is told by row, and nothing is minted.
	if err := os.WriteFile(csv, []byte("url\nhttps://example.com/a\nhttp://127.0.0.1/admin\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := in.on(t, "codes", "--json").ok(t)
	if r := in.on(t, "mint", "--from", csv); r.code != exitError || !strings.Contains(r.stderr, "line 3, column A (url)") {
		t.Errorf("a private target: %d %q", r.code, r.stderr)
	}
	if after := in.on(t, "codes", "--json").ok(t); after != before {
		t.Error("something was minted")
	}
}

func TestFollowAlerts(t *testing.T) {
	in := install(t)
	id := lines[object](t, in.on(t, "mint", "https://example.com/a", "--capacity", "5", "--json").ok(t))[0]["id"].(string)
	var out, stderr lockedBuffer
	a := &App{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &stderr}
	done := make(chan int, 1)
	ctx := t.Context()
	go func() {
		done <- a.Main(ctx, []string{"alerts", "--follow", "--json", "--since", "1h", "--gateway", in.gateway, "--api-key", testKey})
	}()
	jar := filepath.Join(t.TempDir(), "jar")
	for range 4 {
		in.on(t, "scan", id, "--new-visitor", "--cookie-jar", jar).ok(t)
	}
	eventually(t, "the alert is followed", func() bool { return out.String() != "" })
	al := lines[object](t, out.String())
	if len(al) != 1 || al[0]["type"] != events.TypeAlertCapacity || al[0]["subject"] != id {
		t.Errorf("followed: %v", al)
	}
	select {
	case code := <-done:
		t.Errorf("following ended with %d: %s", code, stderr.String())
	default:
	}
}

// Simulated events are all there: in the log's totals, by type, and in the labels.
func TestSimulateAddsExactlyItsEvents(t *testing.T) {
	in := install(t)
	labels := filepath.Join(t.TempDir(), "labels.jsonl")
	args := []string{"simulate", "--events", "3000", "--seed", "5", "--codes", "12", "--nats-url", in.nats, "--labels", labels, "--json", "--run", "r1"}
	out := in.on(t, args...).ok(t)
	sum := lines[struct {
		Events, Published, Duplicates, Unsure, Codes int
		Stored                                       map[string]int
		Kinds, Via                                   map[string]int
		Answers                                      map[string]int
	}](t, out)[0]
	if sum.Events != 3000 || sum.Published != 3000+sum.Duplicates || sum.Duplicates == 0 || sum.Unsure != 0 || sum.Codes != 12 {
		t.Errorf("summary %+v", sum)
	}
	if sum.Via["batch"] == 0 || sum.Via["scan"] == 0 || sum.Via["nats"] == 0 {
		t.Errorf("ways %v", sum.Via)
	}
	scans := sum.Stored[events.TypeScan]
	members := sum.Stored[events.TypeMemberJoined] + sum.Stored[events.TypeMemberLeft] + sum.Stored[events.TypeMemberSnapshot]
	var got events.Totals
	eventually(t, "everything is decided", func() bool {
		got = in.totals(t)
		return got.Scans+got.Members+got.Conversions >= 3000
	})
	if got.Scans != int64(scans) || got.Members != int64(members) || got.Conversions != int64(sum.Stored[events.TypeConversion]) || got.Dead != 0 {
		t.Errorf("decided %+v, want %v", got, sum.Stored)
	}
	if got.Repeated == 0 || got.Repeated > int64(sum.Duplicates) {
		t.Errorf("%d repeats were dropped of %d", got.Repeated, sum.Duplicates)
	}
	b, err := os.ReadFile(labels)
	if err != nil {
		t.Fatal(err)
	}
	ids, kinds := map[string]bool{}, map[string]int{}
	for _, l := range lines[struct{ ID, Kind, Type, Code, Time string }](t, string(b)) {
		if ids[l.ID] || l.ID == "" || l.Type == "" || l.Code == "" || l.Time == "" {
			t.Errorf("label %+v", l)
		}
		ids[l.ID] = true
		kinds[l.Kind]++
	}
	if len(ids) != 3000 || kinds["abuser"] != sum.Kinds["abuser"] || kinds["abuser"] == 0 || kinds["preview"] == 0 {
		t.Errorf("%d labels, %v, want %v", len(ids), kinds, sum.Kinds)
	}
	// Abusers are locked out, and the accounts agree with the gateway's.
	locked := 0.0
	accounts := 0.0
	for _, c := range lines[object](t, in.on(t, "codes", "--json").ok(t)) {
		stats := lines[object](t, in.on(t, "codes", "stats", c["id"].(string), "--json").ok(t))[0]
		counts := stats["counts"].(object)
		for verdict, n := range counts {
			accounts += n.(float64)
			if verdict == "locked" {
				locked += n.(float64)
			}
		}
	}
	if locked == 0 || int(accounts) != scans {
		t.Errorf("%v locked, %v scans in the statistics, want %d", locked, accounts, scans)
	}
	// For people, the summary is in words.
	if text := in.on(t, "simulate", "--events", "50", "--codes", "3", "--rate", "500").ok(t); !strings.Contains(text, "events stored") {
		t.Errorf("summary in words: %q", text)
	}
}

// An event that could not be taken is repaired and put back.
func TestReplayDeadLetters(t *testing.T) {
	in := install(t)
	id := lines[object](t, in.on(t, "mint", "https://example.com/a", "--json").ok(t))[0]["id"].(string)
	if r := run(t, "replay", "--dlq", "--list", "--nats-url", in.nats); r.ok(t) != "" {
		t.Errorf("no dead letters: %q", r.out)
	}
	n, err := dialNATS(t.Context(), in.nats)
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	e := &events.Event{ID: "late-1", Source: "test", Type: events.TypeScan, Subject: id, Time: time.Now().Add(-30 * time.Hour).UTC(), Data: &events.Scan{Visitor: "v"}}
	b, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Publish(t.Context(), events.InSubject("scan", id), e.ID, b); err != nil {
		t.Fatal(err)
	}
	if err := n.Publish(t.Context(), events.InSubject("scan", id), "broken-1", []byte(`{"specversion":`)); err != nil {
		t.Fatal(err)
	}
	var list []letter
	eventually(t, "two dead letters", func() bool {
		out := run(t, "replay", "--dlq", "--list", "--json", "--nats-url", in.nats).ok(t)
		if out == "" {
			return false
		}
		list = lines[letter](t, out)
		return len(list) == 2
	})
	if list[0].Reason != "too_old" || list[0].Data != string(b) || list[1].Reason != "malformed_json" {
		t.Errorf("dead letters %+v", list)
	}
	if text := run(t, "replay", "--dlq", "--list", "--nats-url", in.nats).ok(t); !strings.Contains(text, "too_old") || strings.Contains(text, "late-1") {
		t.Errorf("the list has reasons and no data: %q", text)
	}
	// A bad line puts nothing back.
	if r := runApp(t, &App{}, "{}\n", "replay", "--dlq", "--fix", "-", "--nats-url", in.nats); r.code != exitError || !strings.Contains(r.stderr, "line 1") {
		t.Errorf("a bad line: %d %q", r.code, r.stderr)
	}
	e.Historical = true
	b, err = e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	line, err := json.Marshal(map[string]any{"seq": list[0].Seq, "event": json.RawMessage(b)})
	if err != nil {
		t.Fatal(err)
	}
	if text := runApp(t, &App{}, string(line)+"\n", "replay", "--dlq", "--fix", "-", "--nats-url", in.nats).ok(t); text != "1 put back\n" {
		t.Errorf("said %q", text)
	}
	eventually(t, "the repaired scan counts", func() bool { return in.totals(t).Scans == 1 })
	// The same again, as after an error in the middle: its dead letter is gone already.
	if text := runApp(t, &App{}, string(line)+"\n", "replay", "--dlq", "--fix", "-", "--nats-url", in.nats).ok(t); text != "1 put back\n" {
		t.Errorf("again, said %q", text)
	}
	// What is repaired is not listed any more; what cannot be read stays.
	if left := lines[letter](t, run(t, "replay", "--dlq", "--list", "--json", "--nats-url", in.nats).ok(t)); len(left) != 1 || left[0].Reason != "malformed_json" {
		t.Errorf("left: %+v", left)
	}
	if r := run(t, "replay", "--dlq", "--retry", "malformed_json", "--nats-url", in.nats); r.code != exitError || !strings.Contains(r.stderr, "repair") {
		t.Errorf("retry: %d %q", r.code, r.stderr)
	}
}

func TestScanWhereNoGatewayIs(t *testing.T) {
	in := install(t)
	// Another HTTP server has no verdict to give.
	resp, err := http.Get(in.gateway + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if r := run(t, "scan", in.gateway+"/healthz", "--cookie-jar", filepath.Join(t.TempDir(), "jar")); r.code != exitError || !strings.Contains(r.stderr, "is it a gateway") {
		t.Errorf("status %d: %q", r.code, r.stderr)
	}
}

// A list is longer than a page of the gateway's.
func TestListMoreCodesThanAPage(t *testing.T) {
	in := install(t)
	const n = 403
	rows := "url,profile\n" + strings.Repeat("https://example.com/g,wecom-group\n", n)
	file := filepath.Join(t.TempDir(), "codes.csv")
	if err := os.WriteFile(file, []byte(rows), 0o600); err != nil {
		t.Fatal(err)
	}
	in.on(t, "mint", "--from", file, "--json").ok(t)
	for limit, want := range map[string]int{"0": n, "201": 201, "200": 200} {
		seen := map[any]bool{}
		for _, c := range lines[object](t, in.on(t, "codes", "list", "--limit", limit, "--json").ok(t)) {
			seen[c["id"]] = true
		}
		if len(seen) != want {
			t.Errorf("with limit %s: %d codes, want %d", limit, len(seen), want)
		}
	}
}
