package chembed_test

import (
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/huoma/huoma/internal/chembed"
	"github.com/huoma/huoma/internal/chembed/chtest"
)

// oldClient runs Debian's clickhouse-client, which is of 2018 and knows a third of today's types.
func oldClient(t testing.TB, s *chembed.Server, stdin string, args ...string) (string, error) {
	t.Helper()
	host, port, err := net.SplitHostPort(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("clickhouse-client", append([]string{"--host", host, "--port", port}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestOldClient: a client of revision 54412 sees everything, in types it knows.
func TestOldClient(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	c := open(t, s)
	mustExec(t, c, `CREATE TABLE every (b Bool, d DateTime64(3, 'Asia/Shanghai'), d32 Date32, m Map(String, UInt8), j JSON, dy Dynamic, v Variant(UInt8, String), i Int256, ab Array(Bool),
		lc LowCardinality(String), n Nullable(DateTime64(0, 'UTC')), p Point, ip IPv4, dec Decimal(50, 2), t Tuple(Bool, Map(String, Bool)), s String) ENGINE = Memory`)
	mustExec(t, c, `INSERT INTO every SELECT true, toDateTime64('2026-01-02 03:04:05.678', 3, 'Asia/Shanghai'), '2026-01-02', map('k', 7), '{"a":1}', 5, NULL, 6, [true, false],
		'lc', NULL, (1, 2.5), '10.0.0.1', 1.25, (true, map('x', false)), 'text' FROM numbers(2)`)
	for _, row := range []struct {
		stdin string
		args  []string
		want  string
	}{
		{"", []string{"--query", "SELECT * FROM every LIMIT 1"},
			"1\t2026-01-02 03:04:05.678\t2026-01-02\t[('k',7)]\t{\"a\":1}\t5\t\\N\t6\t[1,0]\tlc\t\\N\t(1,2.5)\t10.0.0.1\t1.25\t(1,[('x',0)])\ttext\n"},
		{"", []string{"--query", "SELECT b, count() FROM every GROUP BY b WITH TOTALS"}, "1\t2\n\n0\t2\n"},
		{"", []string{"--query", "SELECT b, d FROM every WHERE s = '' FORMAT TSVWithNamesAndTypes"}, "b\td\nUInt8\tString\n"},
		{"", []string{"--query", "SELECT number AS a, number AS a FROM numbers(2)"}, "0\t0\n1\t1\n"},
		{"", []string{"--extremes=1", "--query", "SELECT number FROM numbers(3)"}, "0\n1\n2\n\n0\n2\n"},
		{"", []string{"--max_block_size=2", "--query", "SELECT max(blockSize()) FROM numbers(5)"}, "2\n"},
		{"1\n3\n", []string{"--external", "--file=-", "--name=mine", "--structure=x UInt64", "--query", "SELECT number FROM numbers(9) WHERE number IN (SELECT x FROM mine)"}, "1\n3\n"},
		{"", []string{"--multiquery", "--query", "INSERT INTO every (b, d, m, s) VALUES (0, '2026-01-02 03:04:05.6', [('a', 1)], 'old')"}, ""},
		{"", []string{"--query", "SELECT b, d, m FROM every WHERE s = 'old'"}, "0\t2026-01-02 03:04:05.600\t[('a',1)]\n"},
		{"10.0.0.2,2026-05-05 00:00:00.125,csv\n", []string{"--query", "INSERT INTO every (ip, d, s) FORMAT CSV"}, ""},
	} {
		if got, err := oldClient(t, s, row.stdin, row.args...); got != row.want || err != nil {
			t.Errorf("%s\ngot  %q, %v\nwant %q", strings.Join(row.args, " "), got, err, row.want)
		}
	}
	if n := count(t, c, "SELECT count() FROM every WHERE NOT b AND d = toDateTime64('2026-01-02 03:04:05.6', 3, 'Asia/Shanghai') AND m['a'] = 1"); n != 1 {
		t.Errorf("%d rows of the old client's", n)
	}
	for _, row := range []struct{ sql, want string }{
		{"SELECT * FROM nope", "Code: 60"}, {"SELECT throwIf(number = 50000) FROM numbers(100000)", "Code: 395"}, {"SYSTEM SHUTDOWN", "stops with Huoma"},
	} {
		if got, err := oldClient(t, s, "", "--query", row.sql); err == nil || !strings.Contains(got, row.want) {
			t.Errorf("%s: %q, %v", row.sql, got, err)
		}
	}
	// Large results of types it does not know, too.
	got, err := oldClient(t, s, "", "--query", "SELECT number % 2 = 0 AS b, toDateTime64(number, 3, 'UTC') AS d FROM numbers(300000) FORMAT TSV")
	if n := strings.Count(got, "\n"); n != 300000 || err != nil || !strings.HasSuffix(got, "0\t1970-01-04 11:19:59.000\n") {
		t.Errorf("%d lines, %v, …%q", n, err, got[max(0, len(got)-60):])
	}
}
