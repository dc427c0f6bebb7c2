package chembed

import (
	"strings"
	"testing"
)

func TestParseStatement(t *testing.T) {
	for _, row := range []struct {
		sql  string
		want statement
	}{
		{"", statement{kind: kindEmpty}},
		{" -- nothing\n ; ", statement{kind: kindEmpty}},
		{"SELECT 1", statement{kind: kindSelect, first: "SELECT", text: "SELECT 1", plain: "SELECT 1"}},
		{"select 1;", statement{kind: kindSelect, first: "SELECT", text: "select 1", plain: "select 1"}},
		{"SELECT 1 FORMAT JSON", statement{kind: kindSelect, first: "SELECT", format: "JSON", text: "SELECT 1 FORMAT JSON", plain: "SELECT 1 "}},
		{"SELECT 1 FORMAT JSON SETTINGS a = 1;", statement{kind: kindSelect, first: "SELECT", format: "JSON", text: "SELECT 1 FORMAT JSON SETTINGS a = 1", plain: "SELECT 1  SETTINGS a = 1"}},
		{"SELECT format x FROM t", statement{kind: kindSelect, first: "SELECT", text: "SELECT format x FROM t", plain: "SELECT format x FROM t"}},
		{"SELECT ';' AS a -- ; b", statement{kind: kindSelect, first: "SELECT", text: "SELECT ';' AS a -- ; b", plain: "SELECT ';' AS a -- ; b"}},
		{"SELECT $x$ ; ' $x$", statement{kind: kindSelect, first: "SELECT", text: "SELECT $x$ ; ' $x$", plain: "SELECT $x$ ; ' $x$"}},
		{"/* ; */ WITH 1 AS a SELECT a", statement{kind: kindSelect, first: "WITH", text: "/* ; */ WITH 1 AS a SELECT a", plain: "/* ; */ WITH 1 AS a SELECT a"}},
		{"SET a = 1", statement{kind: kindSet, first: "SET", text: "SET a = 1", plain: "SET a = 1"}},
		{"SHOW TABLES FORMAT JSON", statement{first: "SHOW", format: "JSON", text: "SHOW TABLES FORMAT JSON", plain: "SHOW TABLES "}},
		{"INSERT INTO t", statement{kind: kindInsert, first: "INSERT", text: "INSERT INTO t", plain: "INSERT INTO t", target: "t"}},
		{"INSERT INTO t (a, `b)`) VALUES", statement{kind: kindInsert, first: "INSERT", text: "INSERT INTO t (a, `b)`) ", plain: "INSERT INTO t (a, `b)`) ", target: "t", list: "(a, `b)`)", format: "Values"}},
		{"insert into table db.t(a)values(1),(2);", statement{kind: kindInsert, first: "INSERT", text: "insert into table db.t(a)", plain: "insert into table db.t(a)", target: "db.t", list: "(a)", format: "Values", data: "(1),(2);"}},
		{"INSERT INTO t SETTINGS x = 'a' FORMAT Native", statement{kind: kindInsert, first: "INSERT", text: "INSERT INTO t SETTINGS x = 'a' ", plain: "INSERT INTO t SETTINGS x = 'a' ", target: "t", format: "Native"}},
		{"INSERT INTO t FORMAT CSV\n1;2\n", statement{kind: kindInsert, first: "INSERT", text: "INSERT INTO t ", plain: "INSERT INTO t ", target: "t", format: "CSV", data: "1;2\n"}},
		{"INSERT INTO t FORMAT CSV  \r\n\n1", statement{kind: kindInsert, first: "INSERT", text: "INSERT INTO t ", plain: "INSERT INTO t ", target: "t", format: "CSV", data: "\n1"}},
		{"INSERT INTO FUNCTION remote('a', b) (x) VALUES", statement{kind: kindInsert, first: "INSERT", text: "INSERT INTO FUNCTION remote('a', b) (x) ", plain: "INSERT INTO FUNCTION remote('a', b) (x) ", target: "FUNCTION remote('a', b)", list: "(x)", format: "Values"}},
		{"INSERT INTO t (a) SELECT 'VALUES';", statement{first: "INSERT", text: "INSERT INTO t (a) SELECT 'VALUES'", plain: "INSERT INTO t (a) SELECT 'VALUES'"}},
		{"INSERT INTO t (SELECT 1)", statement{first: "INSERT", text: "INSERT INTO t (SELECT 1)", plain: "INSERT INTO t (SELECT 1)"}},
		{"CREATE TABLE t (format String)", statement{first: "CREATE", text: "CREATE TABLE t (format String)", plain: "CREATE TABLE t (format String)"}},
	} {
		got, err := parseStatement(row.sql)
		if err != nil || got != row.want {
			t.Errorf("%q:\ngot  %+v, %v\nwant %+v", row.sql, got, err, row.want)
		}
	}
	for sql, want := range map[string]string{
		"SELECT 1; SELECT 2":                   "Multi-statements",
		"INSERT INTO t SELECT 1; DROP TABLE t": "Multi-statements",
		"INSERT INTO t; SELECT 1":              "Multi-statements",
		"SELECT 1 INTO OUTFILE 'x'":            "OUTFILE",
		"INSERT INTO t FROM INFILE 'x'":        "INFILE",
		"INSERT INTO t FORMAT":                 "FORMAT",
	} {
		if st, err := parseStatement(sql); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %+v, %v; want %q", sql, st, err, want)
		}
	}
}

// FuzzParseStatement: every part is a part of the text.
func FuzzParseStatement(f *testing.F) {
	f.Add("INSERT INTO t (a) SETTINGS x = 1 FORMAT CSV\n1")
	f.Add("SELECT 'a', \"b\", `c`, $x$d$x$ /* e */ -- f\n FORMAT JSON;")
	f.Add("INSERT INTO FUNCTION f(x) VALUES (1)")
	f.Fuzz(func(t *testing.T, sql string) {
		st, err := parseStatement(sql)
		if err != nil {
			return
		}
		if !strings.HasPrefix(sql, st.text) || !strings.HasSuffix(sql, st.data) && st.data != "" || !strings.Contains(sql, st.target) || !strings.Contains(sql, st.list) {
			t.Errorf("%q: %+v", sql, st)
		}
	})
}

func TestParseEngineError(t *testing.T) {
	for _, row := range []struct {
		text string
		want engineError
	}{
		{"Code: 60. DB::Exception: Table (x) is gone. (UNKNOWN_TABLE)", engineError{60, "UNKNOWN_TABLE", "Table (x) is gone."}},
		{"Code: 27. DB::Exception: Line\n\nRow: (at row 2)\n. (CANNOT_PARSE_INPUT_ASSERTION_FAILED)", engineError{27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED", "Line\n\nRow: (at row 2)\n."}},
		{"Error: Code: 5. DB::Exception: b", engineError{5, "", "b"}},
		{"something else", engineError{1002, "UNKNOWN_EXCEPTION", "something else"}},
	} {
		if got := parseEngineError(row.text); *got != row.want {
			t.Errorf("%q: got %+v, want %+v", row.text, *got, row.want)
		}
	}
	if got := unquoteName("`a``b\\`c`"); got != "a`b`c" {
		t.Errorf("got %q", got)
	}
	if got := quote("it's \\ \x00"); got != `'it\'s \\ \0'` {
		t.Errorf("got %s", got)
	}
}
