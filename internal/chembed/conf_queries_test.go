package chembed_test

import (
	"fmt"
	"slices"
	"strings"
)

// fixtures are made in the database of every client, and in the engine asked directly.
var fixtures = []string{
	`CREATE TABLE hits (id UInt32, site LowCardinality(String), ts DateTime('UTC'), v Float64, tags Array(String), n Nullable(Int32)) ENGINE = MergeTree ORDER BY (site, ts)`,
	`INSERT INTO hits SELECT number, ['docs', 'shop', 'blog'][number % 3 + 1], toDateTime('2026-01-01 00:00:00', 'UTC') + number * 3600, number / 8, arrayMap(x -> 't' || toString(x), range(number % 4)), if(number % 5 = 0, NULL, number) FROM numbers(1000)`,
	`CREATE TABLE sites (name String, owner String) ENGINE = MergeTree ORDER BY name`,
	`INSERT INTO sites VALUES ('docs', 'ann'), ('shop', 'bob'), ('void', 'cy')`,
	`CREATE TABLE versions (k UInt8, v String, ver UInt32) ENGINE = ReplacingMergeTree(ver) ORDER BY k`,
	`INSERT INTO versions VALUES (1, 'old', 1), (2, 'only', 1)`,
	`INSERT INTO versions VALUES (1, 'new', 2)`,
	"CREATE TABLE `таблица 表` (`столбец ✓` String, `a b` UInt8) ENGINE = MergeTree ORDER BY tuple()",
	"INSERT INTO `таблица 表` VALUES ('да', 1)",
	`CREATE TABLE empty (a UInt8, b Nullable(String), c Array(DateTime('UTC'))) ENGINE = MergeTree ORDER BY a`,
	`CREATE VIEW by_site AS SELECT site, count() AS c, sum(v) AS s FROM hits GROUP BY site`,
	`CREATE TABLE sampled (k UInt64) ENGINE = MergeTree ORDER BY intHash32(k) SAMPLE BY intHash32(k)`,
	`INSERT INTO sampled SELECT number FROM numbers(10000)`,
}

// confQuery is a query that every client runs, unless it says why one cannot.
type confQuery struct {
	id, sql  string
	before   []string // run before it, in the same session
	settings map[string]string
	params   []confParam
	external *confExternal
	unknown  unknown
	compare  comparison
	once     bool    // long: one way of each client is enough
	code     int     // the exception's, if the query is to fail
	want     *answer // where the library itself answers otherwise than a server does
	contains string  // in the exception's text, where the whole is not the same each time; empty to compare the whole
}

// inSession says that the statements before a query leave something in its session, so that a client of HTTP has to name one.
func (q *confQuery) inSession() bool {
	return slices.ContainsFunc(q.before, func(sql string) bool {
		return strings.HasPrefix(sql, "SET ") || strings.HasPrefix(sql, "USE ") || strings.HasPrefix(sql, "CREATE TEMPORARY ")
	})
}

// sessionTimeout is how long a session over HTTP is kept, in seconds.
const sessionTimeout = "20"

// comparison says what of an answer is compared with the engine's.
type comparison int

const (
	byRows      comparison = iota // names, types and every row in its order
	byChecksum                    // names, types, the number of rows and a sum over all values
	byTotals                      // rows, totals, and extremes where the client tells them
	byException                   // code and text
	byNames                       // names and types; the rows differ each time
)

// confParam is a query parameter: its value as ClickHouse reads it, and as JavaScript writes it, in JSON, where that is not the same.
type confParam struct{ name, value, json string }

// confExternal is a table that comes with its query; rows are tab-separated.
type confExternal struct{ name, structure, rows string }

// unknown names clients that cannot run a case, and why.
type unknown map[string]string

func columns200() string {
	var b strings.Builder
	for i := range 200 {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "number + %d AS c%d", i, i)
	}
	return b.String()
}

const (
	noParams        = "18.16 is older than query parameters"
	noExternal      = "the client sends no external tables"
	notSyntax18     = "18.16 parses queries itself, and is older than this syntax"
	noSetting18     = "18.16 is older than the setting, and takes no name that it does not know"
	ownDatabaseSent = "each of its requests names the database, after USE, too"
	noHTTPTotals    = "the format Native, which it reads over HTTP, has no totals"
	noExtremes      = "ch-go does not know the packet of extremes"
)

var (
	oldParams = unknown{cliName: noParams}
	oldSyntax = unknown{cliName: notSyntax18}
)

var queries = []confQuery{
	// Results.
	{id: "one", sql: `SELECT 1`},
	{id: "no name", sql: `SELECT 1 + 1, 'x', NULL`},
	{id: "two columns of one name", sql: `SELECT 1 AS a, 2 AS b, a + b AS c`},
	{id: "no rows", sql: `SELECT id, site, n FROM hits WHERE id > 100000`},
	{id: "no rows of an empty table", sql: `SELECT * FROM empty`},
	{id: "no rows of an expression", sql: `SELECT 'x' AS a, toUInt64(1) AS b WHERE 0`},
	{id: "no rows with a comment at the end", sql: "SELECT number FROM numbers(10) WHERE number > 10 -- none"},
	{id: "no rows of a group", sql: `SELECT site, count() FROM hits WHERE id > 100000 GROUP BY site`},
	{id: "an aggregate of no rows", sql: `SELECT count(), sum(v), max(ts), any(site) FROM hits WHERE 0`},
	{id: "rows of many blocks", sql: `SELECT number, toString(number) FROM numbers(1000)`, settings: map[string]string{"max_block_size": "7"}},
	{id: "many small blocks of a table", sql: `SELECT id, tags FROM hits ORDER BY id`, settings: map[string]string{"max_block_size": "13"}},
	{id: "blocks that a filter empties", sql: `SELECT number FROM numbers(100000) WHERE number % 33333 = 0`, settings: map[string]string{"max_block_size": "1000", "max_threads": "1"}},
	{id: "a row of 1 MB", sql: `SELECT repeat('活', 350000) AS a`},
	{id: "0 to 999 of every column", sql: `SELECT * FROM hits ORDER BY id`},
	{id: "a limit", sql: `SELECT id FROM hits ORDER BY id LIMIT 3 OFFSET 5`},
	{id: "LIMIT 0", sql: `SELECT id FROM hits LIMIT 0`},
	{id: "LIMIT BY", sql: `SELECT site, id FROM hits ORDER BY site, id LIMIT 2 BY site`},
	{id: "WITH TIES", sql: `SELECT site FROM hits ORDER BY site LIMIT 1 WITH TIES`, unknown: oldSyntax},
	{id: "WITH TOTALS", sql: `SELECT site, count() AS c, sum(id) AS s FROM hits GROUP BY site WITH TOTALS ORDER BY site`, compare: byTotals, unknown: unknown{goHTTPName: noHTTPTotals}},
	{id: "WITH TOTALS of no rows", sql: `SELECT site, count() AS c FROM hits WHERE 0 GROUP BY site WITH TOTALS ORDER BY site`, compare: byTotals, unknown: unknown{goHTTPName: noHTTPTotals},
		want: &answer{cols: []string{"site LowCardinality(String)", "c UInt64"}, totals: []string{"", "0"}}},
	{id: "totals with a limit", sql: `SELECT id % 10 AS d, count() AS c FROM hits GROUP BY d WITH TOTALS ORDER BY d LIMIT 3`, compare: byTotals, unknown: unknown{goHTTPName: noHTTPTotals}},
	{id: "extremes", sql: `SELECT id, v, site FROM hits ORDER BY id LIMIT 10`, settings: map[string]string{"extremes": "1"}, compare: byTotals, unknown: unknown{chgoName: noExtremes}},
	{id: "totals and extremes", sql: `SELECT site, count() AS c FROM hits GROUP BY site WITH TOTALS ORDER BY site`, settings: map[string]string{"extremes": "1"}, compare: byTotals, unknown: unknown{goHTTPName: noHTTPTotals, chgoName: noExtremes}},
	{id: "ROLLUP", sql: `SELECT site, count() AS c FROM hits GROUP BY site WITH ROLLUP ORDER BY site, c`},
	{id: "CUBE", sql: `SELECT site, id % 2 AS o, count() AS c FROM hits GROUP BY CUBE(site, o) ORDER BY site, o, c`},
	{id: "GROUPING SETS", sql: `SELECT site, id % 2 AS o, count() AS c FROM hits GROUP BY GROUPING SETS ((site), (o)) ORDER BY site, o`, unknown: oldSyntax},
	{id: "WITH FILL", sql: `SELECT number * 2 AS n FROM numbers(3) ORDER BY n WITH FILL FROM 0 TO 6`, unknown: oldSyntax},
	{id: "1 000 000 rows", once: true, sql: `SELECT number AS n, intHash64(number) AS h FROM numbers(1000000)`, compare: byChecksum},
	{id: "500 000 rows of words", once: true, sql: `SELECT toString(number) AS s FROM numbers(500000)`, compare: byChecksum},
	{id: "100 000 rows of arrays", once: true, sql: `SELECT number AS n, arrayMap(x -> x * number, range(number % 5)) AS a, if(number % 7 = 0, NULL, number) AS m FROM numbers(100001)`, compare: byChecksum},

	// What SELECT can do.
	{id: "window functions", sql: `SELECT id, row_number() OVER (PARTITION BY site ORDER BY id) AS r, sum(v) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS s, lagInFrame(id) OVER (ORDER BY id) AS l FROM hits ORDER BY id LIMIT 20`, unknown: oldSyntax},
	{id: "UNION ALL", sql: `SELECT * FROM (SELECT 1 AS a UNION ALL SELECT 2 UNION ALL SELECT 3) ORDER BY a`},
	{id: "UNION DISTINCT", sql: `SELECT * FROM (SELECT 1 AS a UNION DISTINCT SELECT 1) ORDER BY a`, unknown: oldSyntax},
	{id: "INTERSECT and EXCEPT", sql: `SELECT number FROM numbers(10) EXCEPT SELECT number FROM numbers(8) ORDER BY number`, unknown: oldSyntax},
	{id: "a scalar WITH", sql: `WITH 3 AS x, x * 2 AS y SELECT x, y`},
	{id: "a common table expression", sql: `WITH top AS (SELECT site, count() AS c FROM hits GROUP BY site) SELECT * FROM top ORDER BY site`, unknown: oldSyntax},
	{id: "a recursive expression", sql: `WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT n FROM t ORDER BY n`, unknown: oldSyntax},
	{id: "a subquery", sql: `SELECT site, c FROM (SELECT site, count() AS c FROM hits GROUP BY site) ORDER BY site`},
	{id: "IN a subquery", sql: `SELECT count() FROM hits WHERE site IN (SELECT name FROM sites)`},
	{id: "a scalar subquery", sql: `SELECT id FROM hits WHERE v = (SELECT max(v) FROM hits)`},
	{id: "INNER JOIN", sql: `SELECT hits.id, sites.owner FROM hits INNER JOIN sites ON hits.site = sites.name ORDER BY hits.id LIMIT 10`},
	{id: "LEFT JOIN with NULLs", sql: `SELECT s.name, h.id FROM sites AS s LEFT JOIN (SELECT site, min(id) AS id FROM hits GROUP BY site) AS h ON s.name = h.site ORDER BY s.name`, settings: map[string]string{"join_use_nulls": "1"}},
	{id: "JOIN USING", sql: `SELECT a, b, c FROM (SELECT 1 AS a, 2 AS b) AS l ANY LEFT JOIN (SELECT 1 AS a, 3 AS c) AS r USING (a)`},
	{id: "CROSS JOIN", sql: `SELECT a, b FROM (SELECT number AS a FROM numbers(2)) AS x CROSS JOIN (SELECT number AS b FROM numbers(2)) AS y ORDER BY a, b`},
	{id: "ASOF JOIN", sql: `SELECT x.t, y.v FROM (SELECT 1 AS k, number AS t FROM numbers(4)) AS x ASOF LEFT JOIN (SELECT 1 AS k, number * 2 AS t, number AS v FROM numbers(2)) AS y ON x.k = y.k AND x.t >= y.t ORDER BY x.t`, unknown: oldSyntax},
	{id: "ARRAY JOIN", sql: `SELECT id, tag FROM hits ARRAY JOIN tags AS tag ORDER BY id, tag LIMIT 10`},
	{id: "LEFT ARRAY JOIN", sql: `SELECT id, tag, i FROM hits LEFT ARRAY JOIN tags AS tag, arrayEnumerate(tags) AS i ORDER BY id, i LIMIT 10`},
	{id: "FINAL", sql: `SELECT k, v FROM versions FINAL ORDER BY k`},
	{id: "PREWHERE", sql: `SELECT count() FROM hits PREWHERE site = 'docs' WHERE v > 10`},
	{id: "DISTINCT", sql: `SELECT DISTINCT site FROM hits ORDER BY site`},
	{id: "HAVING", sql: `SELECT site, count() AS c FROM hits GROUP BY site HAVING c > 333 ORDER BY site`},
	{id: "SAMPLE", sql: `SELECT count() > 0 AND count() < 10000 FROM sampled SAMPLE 1/10`},
	{id: "QUALIFY", sql: `SELECT id FROM hits QUALIFY row_number() OVER (ORDER BY id DESC) <= 3 ORDER BY id`, unknown: oldSyntax},
	{id: "a view", sql: `SELECT * FROM by_site ORDER BY site`},
	{id: "lambdas", sql: `SELECT arrayMap(x -> x * 2, [1, 2, 3]) AS a, arrayFilter((x, y) -> y > 1, ['a', 'b'], [1, 2]) AS b, arraySort(x -> -x, [1, 3, 2]) AS c`},
	{id: "aggregates", sql: `SELECT uniqExact(site), quantileExact(0.5)(id), groupArray(3)(id), topK(1)(site), argMax(id, v), stddevPop(v), corr(id, v) FROM (SELECT * FROM hits ORDER BY id)`},
	{id: "combinators", sql: `SELECT countIf(v > 100), sumMap([id % 3], [1]), uniqMerge(u) FROM (SELECT id, v, uniqState(id) AS u FROM hits GROUP BY id, v)`, unknown: auto},
	{id: "times", sql: `SELECT toStartOfDay(ts) AS d, toYYYYMM(ts) AS m, toStartOfHour(ts) AS h, count() AS c FROM hits GROUP BY d, m, h ORDER BY h LIMIT 3`},
	{id: "strings", sql: `SELECT upper('abc'), substring('活码', 1, 3), splitByChar(',', 'a,b'), replaceAll('aaa', 'a', 'b'), hex('x'), base64Encode('hi'), reverse('abc')`},
	{id: "JSON functions", sql: `SELECT JSONExtractString('{"a": "x"}', 'a'), JSONExtract('{"b": [1, 2]}', 'b', 'Array(UInt8)')`},
	{id: "CASE", sql: `SELECT CASE number WHEN 0 THEN 'zero' WHEN 1 THEN 'one' ELSE 'many' END AS c, multiIf(number = 0, 1, 2) FROM numbers(3)`},
	{id: "operators", sql: `SELECT number::String AS a, number BETWEEN 1 AND 2 AS b, 'abc' LIKE 'a%' AS c, [1, 2][1] AS d, (1, 'x').2 AS e, NOT 1 AS f FROM numbers(2)`, unknown: oldSyntax},

	// The text of a query.
	{id: "a semicolon at the end", sql: "SELECT 1;"},
	{id: "blanks and comments", sql: "\n\t  /* a ; comment */ SELECT /* in the middle */ 1 -- and at the end\n AS\n\n\ta  "},
	{id: "a comment alone at the end", sql: "SELECT 2 AS b\n-- the end"},
	{id: "a hash comment", sql: "# first\nSELECT 1", unknown: oldSyntax},
	{id: "a carriage return", sql: "SELECT\r\n1\r\n,\r\n2"},
	{id: "words that mean something else", sql: `SELECT format, settings, values FROM (SELECT 5 AS format, 6 AS settings, 7 AS values)`},
	{id: "keywords in strings", sql: `SELECT 'INTO OUTFILE; FORMAT x', ' -- no comment', '/* nor this */' AS a`},
	{id: "quotes in strings", sql: `SELECT 'it''s', 'it\'s', '\\', "number", ` + "`number`" + ` FROM numbers(1)`},
	{id: "a here document", sql: `SELECT $$it's "raw"$$ AS a, $tag$ $$ $tag$ AS b`, unknown: oldSyntax},
	{id: "names of other alphabets", sql: "SELECT `столбец ✓`, `a b`, 'текст 活码 🀄' AS `имя 名` FROM `таблица 表`"},
	{id: "brackets around all", sql: `(SELECT 4 AS a)`},
	{id: "a query of 1 MB", sql: `SELECT length('` + strings.Repeat("x", 1<<20) + `') AS n`, settings: map[string]string{"max_query_size": "2000000"}},
	{id: "a list of 20 000 numbers", sql: `SELECT count() FROM hits WHERE id IN (` + numberList(20000) + `)`},
	{id: "settings in the text", sql: `SELECT getSetting('max_block_size') AS a SETTINGS max_block_size = 1234`},
	{id: "settings of the text in the middle", sql: `SELECT count() FROM (SELECT number FROM numbers(10) SETTINGS max_threads = 1)`},
	{id: "a number of every kind", sql: `SELECT 0xff, 0b101, 1e3, -5, 1_000_000, .5, inf, NULL`, unknown: oldSyntax},

	// Statements that are not SELECT.
	{id: "SHOW TABLES", sql: `SHOW TABLES LIKE 'hit%'`},
	{id: "SHOW TABLES of none", sql: `SHOW TABLES LIKE 'nothing'`},
	{id: "SHOW DATABASES", sql: `SHOW DATABASES LIKE 'system'`, unknown: oldSyntax},
	{id: "SHOW CREATE TABLE", sql: `SHOW CREATE TABLE sites`},
	{id: "SHOW COLUMNS", sql: `SHOW COLUMNS FROM sites`, unknown: oldSyntax},
	{id: "SHOW FUNCTIONS", sql: `SHOW FUNCTIONS LIKE 'toUInt12%'`, unknown: oldSyntax},
	{id: "SHOW SETTINGS", sql: `SHOW SETTINGS LIKE 'max_block_size'`, unknown: oldSyntax},
	{id: "SHOW PROCESSLIST", sql: `SHOW PROCESSLIST`, compare: byNames, unknown: oldAuto},
	{id: "DESCRIBE a table", sql: `DESCRIBE TABLE hits`},
	{id: "DESC", sql: `DESC sites`},
	{id: "DESCRIBE a query", sql: `DESCRIBE (SELECT 1 AS a, 'x' AS b)`},
	{id: "DESCRIBE a function", sql: `DESCRIBE TABLE numbers(1)`},
	{id: "EXISTS", sql: `EXISTS TABLE hits`},
	{id: "EXISTS nothing", sql: `EXISTS TABLE nothing`},
	{id: "EXPLAIN", sql: `EXPLAIN SELECT count() FROM hits`, unknown: oldSyntax},
	{id: "EXPLAIN SYNTAX", sql: `EXPLAIN SYNTAX SELECT * FROM sites WHERE 1 AND name = 'x'`, unknown: oldSyntax},
	{id: "EXPLAIN PIPELINE", sql: `EXPLAIN PIPELINE SELECT 1`, unknown: oldSyntax},
	{id: "CHECK TABLE", sql: `CHECK TABLE sites`, settings: map[string]string{"check_query_single_value_result": "1"}, unknown: unknown{cliName: noSetting18}},
	{id: "USE", before: []string{"USE system"}, sql: `SELECT currentDatabase(), dummy FROM one`, unknown: unknown{goHTTPName: ownDatabaseSent, jsName: ownDatabaseSent}},
	{id: "SET", before: []string{"SET max_block_size = 4321"}, sql: `SELECT getSetting('max_block_size') AS a`},
	{id: "SET of two", before: []string{"SET max_block_size = 4321, max_threads = 3"}, sql: `SELECT getSetting('max_block_size') AS a, getSetting('max_threads') AS b`},
	{id: "a temporary table", before: []string{"CREATE TEMPORARY TABLE tmp (a UInt8, b String)", "INSERT INTO tmp SELECT 1, 'x' UNION ALL SELECT 2, 'y'"}, sql: `SELECT * FROM tmp ORDER BY a`},
	{id: "a temporary table joined", before: []string{"CREATE TEMPORARY TABLE names (name String)", "INSERT INTO names SELECT 'docs'"}, sql: `SELECT owner FROM sites INNER JOIN names USING name`},
	{id: "a setting of the session and of the query", before: []string{"SET max_block_size = 10"}, settings: map[string]string{"max_block_size": "77"}, sql: `SELECT getSetting('max_block_size') AS a`, unknown: unknown{cliName: "18.16 carries out SET itself, too, and then sends what was set"}},
	{id: "a setting of a query before", before: []string{"SELECT 1 SETTINGS max_block_size = 5"}, sql: `SELECT getSetting('max_block_size') AS a`},
	{id: "settings of the query", settings: map[string]string{"max_threads": "3", "max_block_size": "99", "join_use_nulls": "1"}, sql: `SELECT getSetting('max_threads') AS a, getSetting('max_block_size') AS b, toUInt8(getSetting('join_use_nulls')) AS c`},

	// Query parameters.
	{id: "a parameter of String", sql: `SELECT {s:String} AS s`, params: []confParam{{"s", `it's "活码" {x:String} 🀄`, ""}}, unknown: oldParams},
	{id: "a parameter with escapes", sql: `SELECT {s:String} AS s`, params: []confParam{{"s", `back\\slash\ttab\nline`, `"back\\slash\ttab\nline"`}}, unknown: oldParams},
	{id: "parameters of numbers", sql: `SELECT {a:UInt8} AS a, {b:Int64} AS b, {c:Float64} AS c`, params: []confParam{{"a", "7", "7"}, {"b", "-9", "-9"}, {"c", "1.5", "1.5"}}, unknown: oldParams},
	{id: "a parameter of Date", sql: `SELECT {d:Date} AS d, {t:DateTime('UTC')} AS t`, params: []confParam{{"d", "2026-01-02", ""}, {"t", "2026-01-02 03:04:05", ""}}, unknown: oldParams},
	{id: "a parameter of Array", sql: `SELECT {a:Array(UInt32)} AS a, {b:Array(String)} AS b`, params: []confParam{{"a", "[1,2,3]", "[1,2,3]"}, {"b", `['x','it\'s']`, `["x","it's"]`}}, unknown: oldParams},
	{id: "a parameter of Map", sql: `SELECT {m:Map(String, UInt8)}['b'] AS m`, params: []confParam{{"m", "{'a':1,'b':2}", `{"a":1,"b":2}`}}, unknown: oldParams},
	{id: "a parameter of Nullable", sql: `SELECT {n:Nullable(String)} AS n, {m:Nullable(UInt8)} IS NULL AS m`, params: []confParam{{"n", "x", ""}, {"m", `\N`, "null"}}, unknown: oldParams},
	{id: "a parameter of Identifier", sql: `SELECT owner FROM {t:Identifier} WHERE name = {s:String}`, params: []confParam{{"t", "sites", ""}, {"s", "shop", ""}}, unknown: oldParams},
	{id: "a parameter in a limit", sql: `SELECT id FROM hits WHERE site = {s:String} ORDER BY id LIMIT {n:UInt8}`, params: []confParam{{"s", "blog", ""}, {"n", "2", "2"}}, unknown: oldParams},
	{id: "a parameter that is missing", sql: `SELECT {s:String} AS s`, compare: byException, code: 456, unknown: oldParams},
	{id: "a parameter of another type", sql: `SELECT {n:UInt8} AS n`, params: []confParam{{"n", "many", ""}}, compare: byException, code: 457, unknown: oldParams},

	// External tables.
	{id: "an external table", external: &confExternal{"ext", "id UInt32, word String", "1\tone\n2\ttwo\n"}, sql: `SELECT * FROM ext ORDER BY id`, unknown: unknown{jsName: noExternal}},
	{id: "an external table joined", external: &confExternal{"ext", "name String", "docs\nvoid\n"}, sql: `SELECT name, owner FROM sites INNER JOIN ext USING name ORDER BY name`, unknown: unknown{jsName: noExternal}},
	{id: "IN an external table", external: &confExternal{"ids", "id UInt32", "3\n5\n8\n"}, sql: `SELECT id, site FROM hits WHERE id IN ids ORDER BY id`, unknown: unknown{jsName: noExternal}},

	// Table functions and the tables of the system.
	{id: "numbers", sql: `SELECT sum(number) FROM numbers(1000)`},
	{id: "numbers from an offset", sql: `SELECT number FROM numbers(5, 3)`},
	{id: "generateRandom", sql: `SELECT * FROM generateRandom('a UInt32, b String, c Array(Int8)', 42, 8, 3) LIMIT 20`},
	{id: "values", sql: `SELECT * FROM values('a UInt8, b String', (1, 'x'), (2, 'y'))`},
	{id: "zeros", sql: `SELECT count() FROM zeros(100000)`},
	{id: "generateSeries", sql: `SELECT * FROM generate_series(1, 9, 4)`},
	{id: "format", sql: `SELECT * FROM format(JSONEachRow, '{"a": 1}{"a": 2}') ORDER BY a`},
	{id: "merge", sql: `SELECT count() FROM merge(currentDatabase(), '^hits$')`},
	{id: "view", sql: `SELECT * FROM view(SELECT 1 AS a)`, unknown: oldSyntax},
	{id: "system.one", sql: `SELECT * FROM system.one`},
	{id: "system.tables", sql: `SELECT name, engine, total_rows FROM system.tables WHERE database = currentDatabase() AND name IN ('hits', 'sites', 'by_site') ORDER BY name`},
	{id: "system.columns", sql: `SELECT name, type, position, is_in_sorting_key FROM system.columns WHERE database = currentDatabase() AND table = 'hits' ORDER BY position`},
	{id: "system.parts", sql: `SELECT table, sum(rows) AS r FROM system.parts WHERE database = currentDatabase() AND active AND table IN ('hits', 'sites') GROUP BY table ORDER BY table`},
	{id: "system.functions", sql: `SELECT name, is_aggregate, case_insensitive FROM system.functions WHERE name IN ('sum', 'length') ORDER BY name`},
	{id: "system.settings", sql: `SELECT name, type FROM system.settings WHERE name = 'max_threads'`},
	{id: "system.databases", sql: `SELECT name, engine FROM system.databases WHERE name = 'system'`},
	{id: "system.processes", sql: `SELECT query_id, elapsed, query FROM system.processes`, compare: byNames},
	{id: "version", sql: `SELECT version(), timezone(), currentDatabase(), currentUser()`},

	// Exceptions.
	{id: "an unknown table", sql: `SELECT * FROM nothing`, compare: byException, code: 60},
	{id: "an unknown column", sql: `SELECT nothing FROM hits`, compare: byException, code: 47},
	{id: "an unknown database", sql: `SELECT * FROM nothing.hits`, compare: byException, code: 81},
	{id: "an unknown function", sql: `SELECT noSuchFunction(1)`, compare: byException, code: 46},
	{id: "an unknown setting", sql: `SELECT 1 SETTINGS nothing = 1`, compare: byException, code: 115, contains: "Unknown setting 'nothing'"},
	{id: "an unknown type", sql: `SELECT CAST(1 AS Nothin)`, compare: byException, code: 50},
	{id: "a syntax error", sql: `SELEC 1`, compare: byException, code: 62, unknown: unknown{cliName: "18.16 finds the mistake itself, and words it otherwise", jsName: "the client takes a word in brackets for the end of an exception's text"}},
	{id: "a syntax error in the middle", sql: `SELECT 1 +`, compare: byException, code: 62, unknown: unknown{cliName: "18.16 finds the mistake itself, and words it otherwise", jsName: "the client adds a FORMAT clause, which completes the broken sum"}},
	{id: "two statements", sql: `SELECT 1; SELECT 2`, compare: byException, code: 62, contains: "Multi-statements are not allowed", want: &answer{err: &refusal{62, "Multi-statements are not allowed"}}},
	{id: "a wrong argument", sql: `SELECT toDate('nonsense')`, compare: byException, code: 38},
	{id: "wrong numbers of arguments", sql: `SELECT length()`, compare: byException, code: 42},
	{id: "an argument of a wrong type", sql: `SELECT 'a' + 1`, compare: byException, code: 43},
	{id: "a division by zero", sql: `SELECT intDiv(1, number) FROM numbers(1)`, compare: byException, code: 153},
	{id: "an aggregate of an aggregate", sql: `SELECT sum(count()) FROM hits`, compare: byException, code: 184},
	{id: "a column not in the group", sql: `SELECT id, count() FROM hits GROUP BY site`, compare: byException, code: 215},
	{id: "no common type", sql: `SELECT [1, 'x']`, compare: byException, code: 386, settings: map[string]string{"use_variant_as_common_type": "0"}, unknown: unknown{cliName: noSetting18}},
	{id: "SAMPLE without a key", sql: `SELECT * FROM sites SAMPLE 1/10`, compare: byException, code: 141},
	{id: "throwIf at once", sql: `SELECT throwIf(1, 'boom: it''s over')`, compare: byException, code: 395},
	{id: "throwIf in the middle", once: true, sql: `SELECT number, throwIf(number = 900000, 'late') FROM numbers(1000000)`, settings: map[string]string{"max_block_size": "1000", "max_threads": "1"}, compare: byException, code: 395, contains: "late"},
	{id: "a limit on rows read", sql: `SELECT count() FROM hits WHERE v > 1`, settings: map[string]string{"max_rows_to_read": "10"}, compare: byException, code: 158, contains: "max rows"},
	{id: "a limit on the result", sql: `SELECT number FROM numbers(1000)`, settings: map[string]string{"max_result_rows": "10", "result_overflow_mode": "throw"}, compare: byException, code: 396, contains: "10"},
	{id: "a timeout", once: true, sql: `SELECT sleepEachRow(0.5) FROM numbers(100)`, settings: map[string]string{"max_execution_time": "1", "max_block_size": "1", "max_threads": "1"}, compare: byException, code: 159, contains: "Timeout exceeded"},
	{id: "too little memory", sql: `SELECT groupArray(repeat('x', 1000)) FROM numbers(1000000)`, settings: map[string]string{"max_memory_usage": "20000000"}, compare: byException, code: 241, contains: "maximum: 19.07 MiB"},
	{id: "read only", sql: `CREATE TABLE refused (a UInt8) ENGINE = Memory`, settings: map[string]string{"readonly": "1"}, compare: byException, code: 164},
	{id: "a table that is there", sql: `CREATE TABLE hits (a UInt8) ENGINE = MergeTree ORDER BY a`, compare: byException, code: 57},
	{id: "no such engine", sql: `CREATE TABLE refused (a UInt8) ENGINE = Nonsense`, compare: byException, code: 56},
	{id: "DROP of nothing", sql: `DROP TABLE nothing`, compare: byException, code: 60},
	{id: "KILL of nothing", before: []string{"KILL QUERY WHERE query_id = 'nothing' SYNC"}, sql: `SELECT 1`},

	// Statements that change tables; the last is the query that shows what they did.
	{id: "CREATE and DROP", before: []string{"CREATE TABLE c1 (a UInt8) ENGINE = MergeTree ORDER BY a", "DROP TABLE c1"}, sql: `EXISTS TABLE c1`},
	{id: "CREATE AS SELECT", before: []string{"CREATE TABLE c2 ENGINE = MergeTree ORDER BY tuple() AS SELECT number AS n FROM numbers(5)"}, sql: `SELECT * FROM c2 ORDER BY n`},
	{id: "ALTER of columns", before: []string{"CREATE TABLE c3 (a UInt8) ENGINE = MergeTree ORDER BY a", "INSERT INTO c3 SELECT 1", "ALTER TABLE c3 ADD COLUMN b String DEFAULT 'new'", "ALTER TABLE c3 MODIFY COLUMN b LowCardinality(String)"}, sql: `SELECT * FROM c3`},
	{id: "ALTER UPDATE", before: []string{"CREATE TABLE c4 (a UInt8, b UInt8) ENGINE = MergeTree ORDER BY a", "INSERT INTO c4 SELECT 1, 1 UNION ALL SELECT 2, 2", "ALTER TABLE c4 UPDATE b = 9 WHERE a = 1 SETTINGS mutations_sync = 1"}, sql: `SELECT * FROM c4 ORDER BY a`, unknown: unknown{cliName: notSyntax18}},
	{id: "ALTER DELETE", before: []string{"CREATE TABLE c5 (a UInt8) ENGINE = MergeTree ORDER BY a", "INSERT INTO c5 SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3", "ALTER TABLE c5 DELETE WHERE a = 2 SETTINGS mutations_sync = 1"}, sql: `SELECT * FROM c5 ORDER BY a`, unknown: unknown{cliName: notSyntax18}},
	{id: "DELETE FROM", before: []string{"CREATE TABLE c6 (a UInt8) ENGINE = MergeTree ORDER BY a", "INSERT INTO c6 SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3", "DELETE FROM c6 WHERE a > 1"}, sql: `SELECT * FROM c6`, unknown: unknown{cliName: notSyntax18}},
	{id: "OPTIMIZE", before: []string{"CREATE TABLE c7 (a UInt8, b UInt8) ENGINE = ReplacingMergeTree(b) ORDER BY a", "INSERT INTO c7 SELECT 1, 1", "INSERT INTO c7 SELECT 1, 2", "OPTIMIZE TABLE c7 FINAL"}, sql: `SELECT * FROM c7`},
	{id: "TRUNCATE", before: []string{"CREATE TABLE c8 (a UInt8) ENGINE = MergeTree ORDER BY a", "INSERT INTO c8 SELECT 1", "TRUNCATE TABLE c8"}, sql: `SELECT count() FROM c8`},
	{id: "RENAME", before: []string{"CREATE TABLE c9 (a UInt8) ENGINE = MergeTree ORDER BY a", "INSERT INTO c9 SELECT 5", "RENAME TABLE c9 TO c9b"}, sql: `SELECT * FROM c9b`},
	{id: "EXCHANGE", before: []string{"CREATE TABLE x1 (a UInt8) ENGINE = MergeTree ORDER BY a", "CREATE TABLE x2 (a UInt8) ENGINE = MergeTree ORDER BY a", "INSERT INTO x1 SELECT 1", "EXCHANGE TABLES x1 AND x2"}, sql: `SELECT * FROM x2`, unknown: oldSyntax},
	{id: "partitions", before: []string{"CREATE TABLE p1 (d Date, a UInt8) ENGINE = MergeTree PARTITION BY toYYYYMM(d) ORDER BY a", "INSERT INTO p1 SELECT '2026-01-01', 1 UNION ALL SELECT '2026-02-01', 2", "ALTER TABLE p1 DROP PARTITION 202601"}, sql: `SELECT * FROM p1`},
	{id: "a materialized view", before: []string{"CREATE TABLE m1 (a UInt8) ENGINE = MergeTree ORDER BY a", "CREATE TABLE m2 (s UInt64) ENGINE = MergeTree ORDER BY s", "CREATE MATERIALIZED VIEW mv TO m2 AS SELECT sum(a) AS s FROM m1", "INSERT INTO m1 SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3"}, sql: `SELECT * FROM m2`},
	{id: "a dictionary", before: []string{"CREATE DICTIONARY d1 (name String, owner String) PRIMARY KEY name SOURCE(CLICKHOUSE(QUERY 'SELECT ''docs'' AS name, ''ann'' AS owner')) LAYOUT(COMPLEX_KEY_HASHED()) LIFETIME(0)"}, sql: `SELECT dictGet('d1', 'owner', tuple('docs')) AS o`, unknown: oldSyntax},
	{id: "a function of one's own", before: []string{"CREATE FUNCTION IF NOT EXISTS conf_twice AS (x) -> x * 2"}, sql: `SELECT conf_twice(21) AS a`, unknown: oldSyntax},
}

func numberList(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, i*3)
	}
	return b.String()
}
