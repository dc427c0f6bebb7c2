package chembed_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/huoma/huoma/internal/chembed/chtest"
)

// TestHTTPSession tells the story of sessions that requests name: what is kept, what is not, and how they end.
func TestHTTPSession(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	do(t, s, "POST", q("CREATE DATABASE other"), "")
	step := func(name, method, sql, want string, params ...string) {
		t.Helper()
		_, body := do(t, s, method, q(sql, params...), "")
		prefix, cut := strings.CutSuffix(want, "…")
		if cut && !strings.HasPrefix(body, prefix) || !cut && body != want {
			t.Errorf("%s: got %.300q, want %q", name, body, want)
		}
	}
	in := func(more ...string) []string { return append([]string{"session_id", "a"}, more...) }

	step("not there yet", "POST", "SELECT 1", "Code: 372. DB::Exception: Session \"a\" not found…", in("session_check", "1")...)
	step("a temporary table", "POST", "CREATE TEMPORARY TABLE tmp (a UInt8)", "", in()...)
	step("filled", "POST", "INSERT INTO tmp VALUES (1), (2)", "", in("session_check", "1")...)
	step("read", "POST", "SELECT sum(a) FROM tmp", "3\n", in()...)
	step("read by GET", "GET", "SELECT sum(a) FROM tmp", "3\n", in()...)
	step("not seen elsewhere", "POST", "SELECT sum(a) FROM tmp", "Code: 60. …")
	step("not in another session", "POST", "SELECT sum(a) FROM tmp", "Code: 60. …", "session_id", "b")
	step("a setting", "POST", "SET max_result_rows = 77, extremes = 1", "", in()...)
	step("kept", "POST", "SELECT getSetting('max_result_rows')", "77\n\n77\n77\n", in()...)
	step("a request's own over it", "POST", "SELECT getSetting('max_result_rows')", "78\n", in("max_result_rows", "78", "extremes", "0")...)
	step("and back", "POST", "SELECT getSetting('max_result_rows') FORMAT CSV", "77\n\n77\n77\n", in()...)
	step("readonly of one request, with extremes", "POST", "SELECT currentDatabase() FORMAT CSV", "\"default\"\n\n\"default\"\n\"default\"\n", in("readonly", "1", "max_threads", "3")...)
	step("extremes off", "POST", "SET extremes = 0", "", in()...)
	step("a GET changes nothing", "GET", "CREATE TABLE x (a UInt8) ENGINE = Memory", "Code: 164. …", in()...)
	step("nor leaves the session read-only", "POST", "CREATE TABLE x (a UInt8) ENGINE = Memory", "", in()...)
	step("readonly of one request", "POST", "CREATE TABLE y (a UInt8) ENGINE = Memory", "Code: 164. …", in("readonly", "1")...)
	step("is not the next one's", "POST", "CREATE TABLE y (a UInt8) ENGINE = Memory", "", in()...)
	step("and the table is still there", "POST", "SELECT sum(a) FROM tmp", "3\n", in()...)
	step("a request's database", "POST", "SELECT currentDatabase()", "other\n", in("database", "other")...)
	step("is its own", "POST", "SELECT currentDatabase()", "default\n", in()...)
	step("USE", "POST", "USE other", "", in()...)
	step("is the session's", "POST", "SELECT currentDatabase()", "other\n", in()...)
	step("an error", "POST", "SELECT nope", "Code: 47. …", in()...)
	step("does not end it", "POST", "SELECT sum(a) FROM tmp", "3\n", in("session_check", "1")...)
	step("compression by SET", "POST", "SET enable_http_compression = 0", "", in()...)
	resp := get(t, s, q("SELECT 1", in()...), "Accept-Encoding", "gzip")
	resp.Body.Close()
	if enc := resp.Header.Get("Content-Encoding"); enc != "" {
		t.Errorf("coded in %s", enc)
	}
	step("close", "POST", "SELECT 1", "1\n", in("close_session", "1")...)
	step("it is over", "POST", "SELECT 1", "Code: 372. …", in("session_check", "1")...)

	step("a short one", "POST", "CREATE TEMPORARY TABLE tmp (a UInt8)", "", "session_id", "c", "session_timeout", "1")
	until(t, func() bool {
		_, body := do(t, s, "POST", q("SELECT count() FROM tmp", "session_id", "c", "session_timeout", "0"), "")
		return strings.HasPrefix(body, "Code: 60.") // a new one
	})
	for _, bad := range []string{"soon", "-1", "3601", "1.5", ""} {
		step("timeout "+bad, "POST", "SELECT 1", "Code: 374. DB::Exception: …", in("session_timeout", bad)...)
	}
	step("no id", "POST", "SELECT 1", "Code: 744. …", "session_id", "")
	step("a long id", "POST", "SELECT 1", "Code: 131. …", "session_id", strings.Repeat("x", 1<<17))
}

// TestHTTPSessionLock: a session serves one request at a time, and the number of sessions is bounded.
func TestHTTPSessionLock(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	watch := open(t, s)
	var wg sync.WaitGroup
	wg.Go(func() { do(t, s, "POST", q("SELECT sleep(2)", "session_id", "a"), "") })
	until(t, func() bool {
		return count(t, watch, "SELECT count() FROM system.processes WHERE query LIKE 'SELECT sleep%'") == 1
	})
	resp, body := do(t, s, "POST", q("SELECT 1", "session_id", "a"), "")
	if resp.StatusCode != 500 || !strings.HasPrefix(body, "Code: 373. DB::Exception: Session \"a\" is locked by a concurrent client (SESSION_IS_LOCKED)") {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
	wg.Wait()
	// It is free before the client has read the end of the result: one request after another meets no lock.
	for i := range 30 {
		if _, body := do(t, s, "POST", q("SELECT 1", "session_id", "a"), ""); body != "1\n" {
			t.Fatalf("request %d: got %q", i, body)
		}
	}
	for i := range 100 {
		_, body = do(t, s, "POST", q("SELECT 1", "session_id", fmt.Sprint("n", i)), "")
	}
	if !strings.HasPrefix(body, "Code: 700. DB::Exception: the embedded server keeps 100 sessions already: ") {
		t.Errorf("one too many: got %q", body)
	}
	do(t, s, "POST", q("SELECT 1", "session_id", "n0", "close_session", "1"), "")
	if _, body = do(t, s, "POST", q("SELECT 1", "session_id", "n99"), ""); body != "1\n" {
		t.Errorf("in the place of one that was closed: got %q", body)
	}
}
