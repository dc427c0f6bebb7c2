package chembed_test

import "strings"

// confInsert is an insert that every client makes, unless it says why one cannot. It has one of
//   - rows: a query whose rows the client reads, and inserts by its own means of inserting (a batch, a block, a stream);
//   - sql: statements that are run as they stand;
//   - format: data in that format, made by the engine of what query gives, after an INSERT without data.
//
// In all of them {t} is the table.
type confInsert struct {
	id       string
	table    string // CREATE TABLE {t} …; empty to take the columns of the rows
	before   []string
	rows     string
	into     string // INSERT INTO {t}, if it is another
	sql      []string
	format   string
	query    string // the data
	settings map[string]string
	show     string // what is compared then; empty for SELECT * FROM {t}
	unknown  unknown
	once     bool // long: one way of each client is enough
	code     int  // of the exception, if the insert is to fail
}

const (
	onlyValues = "its inserts take values, not the text of a format"
	noFormat18 = "18.16 reads what it inserts itself, and is older than the format or reads it only as output"
)

// data are formats people upload, with what cannot: clickhouse-go and ch-go take no text.
func data(more unknown) unknown {
	all := unknown{goName: onlyValues, goHTTPName: onlyValues, chgoName: onlyValues}
	for n, why := range more {
		all[n] = why
	}
	return all
}

const (
	plainTable = `CREATE TABLE {t} (a UInt32, b String, c Nullable(Float64), d DateTime('UTC')) ENGINE = MergeTree ORDER BY a`
	someRows   = `SELECT toUInt32(number) AS a, 'it''s "' || toString(number) || char(9) || 'x' AS b, if(number % 3 = 0, NULL, number / 4) AS c, toDateTime(number * 86400, 'UTC') AS d FROM numbers(1, 500)`
	defaults   = `CREATE TABLE {t} (a UInt32, b String DEFAULT 'd' || toString(a), m UInt32 MATERIALIZED a + 1, al UInt32 ALIAS a * 2, e UInt8 EPHEMERAL 7, f UInt32 DEFAULT e + 1) ENGINE = MergeTree ORDER BY a`
	showAll    = `SELECT a, b, m, al, f FROM {t}`
)

var inserts = []confInsert{
	// Text.
	{id: "VALUES", table: plainTable, sql: []string{`INSERT INTO {t} VALUES (1, 'x', 1.5, '2026-01-01 00:00:00'), (2, 'it''s', NULL, '2026-01-02 00:00:00')`}},
	{id: "VALUES of columns", table: plainTable, sql: []string{`INSERT INTO {t} (b, a) VALUES ('x', 1), ('y', 2)`}},
	{id: "VALUES of expressions", table: plainTable, sql: []string{`INSERT INTO {t} (a, b) VALUES (1 + 2, upper('x')), (toUInt32('7'), concat('a', 'b'))`}},
	{id: "VALUES over lines", table: plainTable, sql: []string{"INSERT INTO {t} (a, b)\nVALUES\n  (1, 'one;'),\n  (2, '-- two')\n;"}},
	{id: "INTO TABLE", table: plainTable, sql: []string{`INSERT INTO TABLE {t} (a) VALUES (5)`}},
	{id: "INSERT SELECT", table: plainTable, sql: []string{`INSERT INTO {t} SELECT id, site, v, ts FROM hits WHERE id < 50`}},
	{id: "INSERT SELECT of columns", table: plainTable, sql: []string{`INSERT INTO {t} (b, a) SELECT toString(number), number FROM numbers(10)`}},
	{id: "INSERT WITH", table: plainTable, sql: []string{`INSERT INTO {t} (a) WITH 13 AS x SELECT x`}},
	{id: "INSERT of a UNION", table: plainTable, sql: []string{`INSERT INTO {t} (a) SELECT * FROM (SELECT 1 AS x UNION ALL SELECT 2)`}},
	{id: "INSERT SELECT of no rows", table: plainTable, sql: []string{`INSERT INTO {t} SELECT id, site, v, ts FROM hits WHERE 0`}},
	{id: "inline JSONEachRow", table: plainTable, sql: []string{"INSERT INTO {t} FORMAT JSONEachRow {\"a\": 1, \"b\": \"x\"}\n{\"a\": 2}\n{\"a\": 3, \"d\": \"2026-01-01 00:00:00\"}"}},
	{id: "inline CSV", table: plainTable, sql: []string{"INSERT INTO {t} FORMAT CSV\n1,\"it's \"\"x\"\"\",1.5,2026-01-01 00:00:00\n2,y,\\N,2026-01-02 00:00:00\n"}},
	{id: "inline TSV", table: plainTable, sql: []string{"INSERT INTO {t} (a, b) FORMAT TabSeparated\n1\tx\\ty\n2\tz\n"}},
	{id: "inline Values", table: plainTable, sql: []string{"INSERT INTO {t} (a, b) FORMAT Values (1, 'x'), (2, 'y')"}},
	{id: "with settings", table: plainTable, sql: []string{"INSERT INTO {t} (a) SETTINGS max_insert_threads = 1 VALUES (1)"}, unknown: oldSyntax},
	{id: "into null", table: plainTable, sql: []string{"INSERT INTO TABLE FUNCTION null('a UInt8') SELECT 1"}},
	{id: "names of other alphabets", table: "CREATE TABLE {t} (`a b` UInt8, `активный` String) ENGINE = MergeTree ORDER BY tuple()", sql: []string{"INSERT INTO {t} (`активный`, `a b`) VALUES ('да', 1)"}},

	// Defaults.
	{id: "defaults", table: defaults, sql: []string{`INSERT INTO {t} (a) VALUES (1), (2)`}, show: showAll},
	{id: "EPHEMERAL", table: defaults, sql: []string{`INSERT INTO {t} (a, e) VALUES (1, 40)`}, show: showAll},
	{id: "rows of columns", table: defaults, rows: `SELECT toUInt32(number) AS a, 'given' AS b FROM numbers(3)`, into: `INSERT INTO {t} (a, b)`, show: showAll},
	{id: "rows of EPHEMERAL", table: defaults, rows: `SELECT toUInt32(number) AS a, toUInt8(number * 2) AS e FROM numbers(3)`, into: `INSERT INTO {t} (a, e)`, show: showAll},
	{id: "DEFAULT in VALUES", table: defaults, sql: []string{`INSERT INTO {t} (a, b) VALUES (1, DEFAULT)`}, show: showAll, unknown: oldSyntax},
	{id: "NULL as default", table: defaults, sql: []string{`INSERT INTO {t} (a, b) FORMAT JSONEachRow {"a": 1, "b": null}`}, show: showAll, unknown: unknown{cliName: "18.16 reads JSON itself, and takes no null for a default"}},

	// Refusals.
	{id: "a wrong value", table: plainTable, sql: []string{`INSERT INTO {t} (a) FORMAT JSONEachRow {"a": "many"}`}, code: 27},
	{id: "no such column", table: plainTable, sql: []string{`INSERT INTO {t} (nothing) VALUES (1)`}, code: 16},
	{id: "no such table", table: plainTable, sql: []string{`INSERT INTO nothing VALUES (1)`}, code: 60},
	{id: "a constraint", table: `CREATE TABLE {t} (a UInt8, CONSTRAINT small CHECK a < 100) ENGINE = MergeTree ORDER BY a`, sql: []string{`INSERT INTO {t} VALUES (1), (200)`}, code: 469},
	{id: "rows against a constraint", table: `CREATE TABLE {t} (a UInt8, CONSTRAINT small CHECK a < 100) ENGINE = MergeTree ORDER BY a`, rows: `SELECT toUInt8(number) AS a FROM numbers(150)`, code: 469},
	{id: "too many partitions", table: `CREATE TABLE {t} (a UInt32) ENGINE = MergeTree PARTITION BY a ORDER BY a`, sql: []string{`INSERT INTO {t} SELECT number FROM numbers(200)`}, code: 252},
	{id: "into a view", table: plainTable, sql: []string{`INSERT INTO by_site VALUES ('x', 1, 1)`}, code: 48},

	// What inserting does.
	{id: "through a materialized view", table: plainTable, before: []string{`CREATE TABLE {t}_to (s UInt64) ENGINE = MergeTree ORDER BY s`, `CREATE MATERIALIZED VIEW {t}_mv TO {t}_to AS SELECT sum(a) AS s FROM {t}`}, rows: someRows, show: `SELECT * FROM {t}_to`},
	{id: "a token twice", table: plainTable + ` SETTINGS non_replicated_deduplication_window = 100`, settings: map[string]string{"insert_deduplication_token": "once", "insert_deduplicate": "1"},
		sql: []string{`INSERT INTO {t} (a) SELECT 1`, `INSERT INTO {t} (a) SELECT 2`}, unknown: unknown{cliName: noSetting18}},
	{id: "the same rows twice", table: plainTable + ` SETTINGS non_replicated_deduplication_window = 100`, settings: map[string]string{"insert_deduplicate": "1"},
		sql: []string{`INSERT INTO {t} (a) SELECT 1`, `INSERT INTO {t} (a) SELECT 1`}},
	{id: "a replacing table", table: `CREATE TABLE {t} (k UInt8, v UInt32) ENGINE = ReplacingMergeTree(v) ORDER BY k`, sql: []string{`INSERT INTO {t} VALUES (1, 1)`, `INSERT INTO {t} VALUES (1, 2)`}, show: `SELECT * FROM {t} FINAL`},
	{id: "partitions", table: `CREATE TABLE {t} (d Date, a UInt32) ENGINE = MergeTree PARTITION BY toYYYYMM(d) ORDER BY a`, rows: `SELECT toDate('2026-01-01') + number AS d, toUInt32(number) AS a FROM numbers(200)`},
	{id: "a Memory table", table: `CREATE TABLE {t} (a UInt32, b String) ENGINE = Memory`, rows: `SELECT toUInt32(number) AS a, toString(number) AS b FROM numbers(100)`},
	{id: "a Log table", table: `CREATE TABLE {t} (a UInt32, b String) ENGINE = Log`, rows: `SELECT toUInt32(number) AS a, toString(number) AS b FROM numbers(100)`},
	{id: "200 columns", rows: `SELECT ` + columns200() + ` FROM numbers(50)`},
	{id: "no rows", table: plainTable, rows: `SELECT toUInt32(1) AS a, 'x' AS b, CAST(NULL, 'Nullable(Float64)') AS c, toDateTime(0, 'UTC') AS d WHERE 0`, unknown: unknown{cliName: "18.16 refuses to insert nothing"}},
	{id: "a row of 1 MB", table: plainTable, rows: `SELECT toUInt32(1) AS a, repeat('活', 350000) AS b, CAST(1, 'Nullable(Float64)') AS c, toDateTime(0, 'UTC') AS d`},
	{id: "500 000 rows, asynchronously", once: true, table: `CREATE TABLE {t} (a UInt64, b UInt64) ENGINE = MergeTree ORDER BY a`, rows: `SELECT number AS a, number * 7 AS b FROM numbers(500000)`, settings: map[string]string{"async_insert": "1", "wait_for_async_insert": "1"}, unknown: unknown{cliName: noSetting18}},

	// Formats.
	{id: "CSV", table: plainTable, format: "CSV", query: someRows, unknown: data(nil)},
	{id: "CSVWithNames", table: plainTable, format: "CSVWithNames", query: `SELECT c, a, b, d FROM (` + someRows + `)`, unknown: data(unknown{cliName: "18.16 skips the names, and takes the columns in the table's order"})},
	{id: "TabSeparated", table: plainTable, format: "TabSeparated", query: someRows, unknown: data(nil)},
	{id: "TabSeparatedWithNamesAndTypes", table: plainTable, format: "TabSeparatedWithNamesAndTypes", query: someRows, unknown: data(nil)},
	{id: "JSONEachRow", table: plainTable, format: "JSONEachRow", query: someRows, unknown: data(nil)},
	{id: "JSONCompactEachRow", table: plainTable, format: "JSONCompactEachRow", query: someRows, unknown: data(unknown{cliName: noFormat18})},
	{id: "JSON", table: plainTable, format: "JSON", query: someRows, unknown: data(unknown{cliName: noFormat18})},
	{id: "RowBinary", table: plainTable, format: "RowBinary", query: someRows, unknown: data(nil)},
	{id: "RowBinaryWithNamesAndTypes", table: plainTable, format: "RowBinaryWithNamesAndTypes", query: someRows, unknown: data(unknown{cliName: noFormat18})},
	{id: "Native", table: plainTable, format: "Native", query: someRows, unknown: data(nil)},
	{id: "Values", table: plainTable, format: "Values", query: someRows, unknown: data(nil)},
	{id: "Parquet", table: plainTable, format: "Parquet", query: someRows, unknown: data(unknown{cliName: noFormat18})},
	{id: "Arrow", table: plainTable, format: "ArrowStream", query: someRows, unknown: data(unknown{cliName: noFormat18})},
	{id: "ORC", table: plainTable, format: "ORC", query: someRows, unknown: data(unknown{cliName: noFormat18})},
	{id: "Avro", table: plainTable, format: "Avro", query: `SELECT toInt32(a) AS a, b, c, toInt32(d) AS d FROM (` + someRows + `)`, unknown: data(unknown{cliName: noFormat18})},
	{id: "MsgPack", table: plainTable, format: "MsgPack", query: someRows, unknown: data(unknown{cliName: noFormat18})},
	{id: "LineAsString", table: `CREATE TABLE {t} (line String) ENGINE = MergeTree ORDER BY line`, format: "LineAsString", query: `SELECT 'line ' || toString(number) FROM numbers(20)`, unknown: data(unknown{cliName: noFormat18})},
}

// allInserts are these, and one of every type.
func allInserts() []confInsert {
	var all []confInsert
	for _, s := range samples {
		if s.noInsert != "" {
			continue
		}
		why := unknown{}
		for _, u := range []unknown{s.unknown, s.noPut} {
			for n, w := range u {
				why[n] = w
			}
		}
		all = append(all, confInsert{id: "type " + s.id, rows: s.sql, show: s.show, settings: s.settings, unknown: why})
	}
	return append(all, inserts...)
}

// of fills the table's name in.
func (in *confInsert) of(table, sql string) string { return strings.ReplaceAll(sql, "{t}", table) }
