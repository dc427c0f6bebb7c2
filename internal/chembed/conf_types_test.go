package chembed_test

// sample is rows of one kind of column type. Each is a query, and an insert: a client reads the rows and inserts what it read
// into a table of the same types, by its own means of inserting.
type sample struct {
	id, sql  string
	show     string // what is compared after the insert; empty for all
	settings map[string]string
	unknown  unknown // clients that cannot know the types, and why
	noInsert string  // why nobody can insert the types; empty if one can
	noPut    unknown // clients that read the types, but cannot insert them
}

// Reasons that many rows give.
const (
	noAuto      = "ch-go's automatic columns do not know the type; its users name the Go type of the column"
	noUTF8      = "JavaScript's strings hold no invalid UTF-8"
	noGoType    = "clickhouse-go knows no such type"
	notInTables = "the type has no columns in tables"
)

var (
	oldAuto = unknown{cliName: notSyntax18, chgoName: noAuto}
	auto    = unknown{chgoName: noAuto}
)

var samples = []sample{
	{id: "integers", sql: `SELECT * FROM values('a Int8, b UInt8, c Int16, d UInt16, e Int32, f UInt32, g Int64, h UInt64',
		(-128, 0, -32768, 0, -2147483648, 0, -9223372036854775808, 0), (127, 255, 32767, 65535, 2147483647, 4294967295, 9223372036854775807, 18446744073709551615), (0, 1, 2, 3, 4, 5, 6, 7))`},
	{id: "integers of 128 bits", sql: `SELECT toInt128(arrayJoin(['-170141183460469231731687303715884105728', '170141183460469231731687303715884105727', '-1', '0'])) AS a, toUInt128('340282366920938463463374607431768211455') - toUInt128(a > 0) AS b`},
	{id: "integers of 256 bits", sql: `SELECT toInt256(arrayJoin(['-57896044618658097711785492504343953926634992332820282019728792003956564819968', '57896044618658097711785492504343953926634992332820282019728792003956564819967', '-1', '0'])) AS a, toUInt256('115792089237316195423570985008687907853269984665640564039457584007913129639935') - toUInt256(a > 0) AS b`},
	{id: "floats", sql: `SELECT * FROM values('a Float32, b Float64', (0, 1), (1.5, 0.1), (inf, -inf), (nan, nan), (1e-7, 1e-7), (3.4028234663852886e38, 1.7976931348623157e308), (16777216, 123456789.125), (1e20, 1e21), (-1.5e-38, 2.5e-300))`},
	{id: "negative zero", sql: `SELECT * FROM values('a Float32, b Float64', (-0., -0.))`, noPut: unknown{jsName: "JSON.stringify(-0) is 0"}},
	{id: "BFloat16", sql: `SELECT toBFloat16(arrayJoin([0., 1.5, -2.25, inf, 1e10])) AS a`, unknown: auto},
	{id: "Bool", sql: `SELECT arrayJoin([true, false]) AS a, [true, false] AS b`},
	{id: "String", sql: `SELECT arrayJoin(['', 'a', 'tab\tand\nline\r', 'it\'s "quoted" \\ back', '活码 🀄 é', 'nul\0in', repeat('long', 1000)]) AS a`},
	{id: "String of bytes", sql: `SELECT unhex(arrayJoin(['FF00FE', '80', 'C328', ''])) AS a`, unknown: unknown{jsName: noUTF8}},
	{id: "FixedString", sql: `SELECT toFixedString(arrayJoin(['ab', '', 'abcd', '活']), 4) AS a, toFixedString('0123456789abcdef', 16) AS b`},
	{id: "Date", sql: `SELECT toDate(arrayJoin(['1970-01-01', '2026-02-28', '2105-12-31'])) AS a`},
	{id: "Date of the far end", sql: `SELECT toDate('2149-06-06') AS a`, unknown: unknown{cliName: "18.16 knows no days after 2105"}},
	{id: "Date32", sql: `SELECT toDate32(arrayJoin(['1900-01-01', '1969-12-31', '2026-02-28', '2299-12-31'])) AS a`},
	{id: "DateTime", sql: `SELECT toDateTime(arrayJoin(['1970-01-02 00:00:00', '2026-03-29 01:30:00', '2105-12-31 23:59:59']), 'UTC') AS a`},
	{id: "DateTime of the ends", sql: `SELECT toDateTime(arrayJoin([0, 4294967295]), 'UTC') AS a, toDateTime(a, 'Asia/Tokyo') AS b`, unknown: unknown{cliName: "18.16 knows no days after 2105"}},
	{id: "DateTime of zones", sql: `SELECT toDateTime(arrayJoin([86400, 1774747800, 1793494800]), 'UTC') AS u, toDateTime(u, 'Asia/Shanghai') AS s, toDateTime(u, 'America/New_York') AS n, toTimeZone(u, 'Europe/Berlin') AS b, toDateTime(toUInt32(u)) AS plain`},
	{id: "DateTime64 of scales", sql: `SELECT toDateTime64('2026-07-01 12:30:59.123456789', 0, 'UTC') AS s0, toDateTime64('2026-07-01 12:30:59.123456789', 1, 'UTC') AS s1, toDateTime64('2026-07-01 12:30:59.123456789', 3, 'UTC') AS s3, toDateTime64('2026-07-01 12:30:59.123456789', 6, 'UTC') AS s6, toDateTime64('2026-07-01 12:30:59.123456789', 9, 'UTC') AS s9`},
	{id: "DateTime64 of zones", sql: `SELECT toDateTime64(arrayJoin(['1900-01-01 00:00:00.001', '1969-12-31 23:59:59.999', '2026-03-29 01:30:00.5']), 3, 'UTC') AS u, toDateTime64(u, 6, 'Asia/Kolkata') AS k, toDateTime64(u, 3) AS plain`},
	{id: "Time", sql: `SELECT arrayJoin(['00:00:00', '12:34:56', '-01:02:03', '999:59:59'])::Time AS a, '12:34:56.789'::Time64(3) AS b, '-00:00:01.000001'::Time64(6) AS c, '23:59:59.123456789'::Time64(9) AS d`, unknown: unknown{cliName: noSetting18, chgoName: noAuto}, settings: map[string]string{"enable_time_time64_type": "1"}},
	{id: "UUID", sql: `SELECT toUUID(arrayJoin(['00000000-0000-0000-0000-000000000000', '61f0c404-5cb3-11e7-907b-a6006ad3dba0', 'ffffffff-ffff-ffff-ffff-ffffffffffff'])) AS a, [a] AS b`},
	{id: "IPv4", sql: `SELECT toIPv4(arrayJoin(['0.0.0.0', '127.0.0.1', '255.255.255.255'])) AS a, [a] AS b`},
	{id: "IPv6", sql: `SELECT toIPv6(arrayJoin(['::', '2001:db8::1', '::ffff:10.0.0.1', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'])) AS a, [a] AS b`},
	{id: "Enum8", sql: `SELECT CAST(arrayJoin(['accepted', '活码', 'it\'s, (odd)']), 'Enum8(\'accepted\' = -128, \'活码\' = 0, \'it\'\'s, (odd)\' = 127)') AS a`, unknown: unknown{chgoName: "ch-go does not read a name with an escaped quote"}},
	{id: "Enum16", sql: `SELECT CAST(arrayJoin(['a', 'b']), 'Enum16(\'a\' = -32768, \'b\' = 32767)') AS a`},
	{id: "Decimal32", sql: `SELECT toDecimal32(arrayJoin(['0', '1.5', '-99999.9999', '0.0001']), 4) AS a, toDecimal32(7, 0) AS b`},
	{id: "Decimal64", sql: `SELECT toDecimal64(arrayJoin(['0', '123456789.123456789', '-0.000000001']), 9) AS a`},
	{id: "Decimal128", sql: `SELECT toDecimal128(arrayJoin(['0', '12345678901234567890.123456789012345678', '-0.000000000000000001']), 18) AS a`},
	{id: "Decimal256", sql: `SELECT toDecimal256(arrayJoin(['0', '1234567890123456789012345678901234567890.123456789', '-5.00000000000000000000000000000001']), 32) AS a`},
	{id: "Nullable", sql: `SELECT * FROM values('a Nullable(UInt8), b Nullable(String), c Nullable(Float64), d Nullable(Date), e Nullable(DateTime(\'UTC\')), f Nullable(UUID), g Nullable(Decimal(9, 2))',
		(1, 'x', 1.5, '2026-01-01', '2026-01-01 00:00:00', '61f0c404-5cb3-11e7-907b-a6006ad3dba0', 1.25), (NULL, NULL, NULL, NULL, NULL, NULL, NULL), (0, '', 0, '1970-01-01', '1970-01-01 00:00:00', '00000000-0000-0000-0000-000000000000', 0))`},
	{id: "Nullable of newer types", sql: `SELECT * FROM values('a Nullable(Int256), b Nullable(Bool), c Nullable(DateTime64(3, \'UTC\')), d Nullable(IPv4), e Nullable(IPv6), f Nullable(Date32), g Nullable(Enum8(\'x\' = 1)), h Nullable(FixedString(2))',
		(1, true, '2026-01-01 00:00:00.001', '10.0.0.1', '::1', '1950-01-01', 'x', 'ab'), (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL))`, unknown: auto},
	{id: "LowCardinality", sql: `SELECT toLowCardinality(arrayJoin(['a', 'b', '', 'a', '活码'])) AS a`},
	{id: "LowCardinality of NULLs", sql: `SELECT CAST(arrayJoin(['a', NULL, '', 'a']), 'LowCardinality(Nullable(String))') AS a`, unknown: auto},
	{id: "LowCardinality of others", sql: `SELECT CAST(number % 3, 'LowCardinality(UInt16)') AS a, CAST(toDate('2026-01-01') + number % 2, 'LowCardinality(Date)') AS b, CAST(toFixedString(toString(number % 4), 2), 'LowCardinality(FixedString(2))') AS c FROM numbers(10)`, unknown: unknown{cliName: noSetting18, chgoName: noAuto}, settings: map[string]string{"allow_suspicious_low_cardinality_types": "1"}},
	{id: "LowCardinality of 70 000 words", sql: `SELECT toLowCardinality(toString(number)) AS a FROM numbers(70000)`},
	{id: "Array", sql: `SELECT arrayJoin([[1, 2, 3], [], [255]]) AS a, ['x', '', 'it\'s'] AS b, [toDate('2026-01-01')] AS c, [1.5, nan] AS d`},
	{id: "Array of Array", sql: `SELECT CAST([[1, 2], [], [3]], 'Array(Array(UInt32))') AS a, [[['a'], []], []] AS b`, unknown: auto},
	{id: "Array of Nullable", sql: `SELECT [1, NULL, 3] AS a, ['x', NULL] AS b, CAST(arrayJoin([[], [NULL]]), 'Array(Nullable(String))') AS c`},
	{id: "Array of LowCardinality", sql: `SELECT [toLowCardinality('x'), 'y', 'x'] AS a, CAST(['q', NULL], 'Array(LowCardinality(Nullable(String)))') AS b`, unknown: auto},
	{id: "empty Array of LowCardinality", sql: `SELECT CAST([], 'Array(LowCardinality(String))') AS a, 1 AS b`, noPut: unknown{cliName: "18.16 writes a dictionary where later versions have none"}},
	{id: "Map", sql: `SELECT map('a', 1, 'b', 2)::Map(String, UInt64) AS a, map('k', 'v', 'l', 'it\'s')::Map(String, String) AS b, CAST(map(), 'Map(String, UInt8)') AS c`, unknown: oldAuto, show: `SELECT mapSort(a), mapSort(b), c FROM {t}`},
	{id: "Map of others", sql: `SELECT map('x', [1, 2], 'y', [])::Map(LowCardinality(String), Array(UInt8)) AS a, map(1, map('b', 2))::Map(UInt16, Map(String, Int32)) AS b, map('n', NULL, 'o', 1)::Map(String, Nullable(UInt8)) AS c`, unknown: oldAuto, show: `SELECT mapSort(a), mapSort(b), mapSort(c) FROM {t}`},
	{id: "Tuple", sql: `SELECT ('x', 1, [1, 2]) AS a, tuple(toUInt8(3)) AS b, CAST((NULL, 'y'), 'Tuple(Nullable(UInt8), String)') AS c`, unknown: auto},
	{id: "Tuple with names", sql: "SELECT CAST(('x', number, (1, 'z')), 'Tuple(name String, num UInt64, `in` Tuple(a UInt8, b String))') AS a FROM numbers(2)", unknown: auto},
	{id: "Nested", sql: `SELECT * FROM values('n Nested(id UInt32, word String)', ([(1, 'a'), (2, 'b')]), ([]))`, unknown: unknown{cliName: noSetting18, chgoName: noAuto}, settings: map[string]string{"flatten_nested": "0"}},
	{id: "Array of Tuple", sql: `SELECT [(1, 'a'), (2, 'b')]::Array(Tuple(id UInt32, word String)) AS a`, unknown: oldAuto},
	{id: "Variant", sql: `SELECT arrayJoin([1, 2])::UInt64::Variant(UInt64, String, Array(UInt64)) AS a, 'x'::Variant(UInt64, String) AS b, [1, 2]::Array(UInt64)::Variant(UInt64, String, Array(UInt64)) AS c, NULL::Variant(UInt64, String) AS d`, unknown: oldAuto},
	{id: "Variant by row", sql: `SELECT multiIf(number % 3 = 0, number::Variant(UInt64, String), number % 3 = 1, ('s' || toString(number))::Variant(UInt64, String), NULL::Variant(UInt64, String)) AS a FROM numbers(7)`, unknown: oldAuto},
	{id: "Dynamic", sql: `SELECT multiIf(number % 3 = 0, toInt64(number)::Dynamic, number % 3 = 1, ('s' || toString(number))::Dynamic, NULL::Dynamic) AS a FROM numbers(7)`, unknown: oldAuto},
	{id: "JSON", sql: `SELECT arrayJoin(['{"a": 1, "b": {"c": "x", "d": [1, 2]}}', '{"a": -5, "e": true}', '{}', '{"b": {"c": "it\'s"}, "f": 1.5}'])::JSON AS a`, unknown: oldAuto, settings: map[string]string{"output_format_json_quote_64bit_integers": "0"}},
	{id: "JSON with known paths", sql: `SELECT '{"a": 7, "b": "x", "z": "more"}'::JSON(a UInt32, b LowCardinality(String), max_dynamic_paths = 4) AS a`, unknown: oldAuto},
	{id: "Point", sql: `SELECT (1.5, -2)::Point AS a`, unknown: oldSyntax},
	{id: "Ring", sql: `SELECT [(0, 0), (10, 0), (10, 10)]::Ring AS a, [(0, 0), (1, 1)]::LineString AS b`, unknown: oldAuto},
	{id: "Polygon", sql: `SELECT [[(0, 0), (10, 0), (10, 10)], [(1, 1), (2, 2), (2, 1)]]::Polygon AS a, [[[(0, 0), (1, 0), (1, 1)]]]::MultiPolygon AS b, [[(0, 0), (1, 1)]]::MultiLineString AS c`, unknown: oldAuto},
	{id: "Interval", sql: `SELECT toIntervalSecond(number) AS s, toIntervalDay(3) AS d, toIntervalMonth(-1) AS m, INTERVAL 2 WEEK AS w FROM numbers(2)`, noInsert: notInTables},
	{id: "Nothing", sql: `SELECT NULL AS a, [] AS b`, noInsert: notInTables},
	{id: "SimpleAggregateFunction", sql: `SELECT sumSimpleState(number) AS a, maxSimpleState(toString(number)) AS b, groupArrayArraySimpleState([number]) AS c FROM numbers(3)`, unknown: auto},
	{id: "AggregateFunction", sql: `SELECT uniqState(number) AS u, avgState(number) AS a FROM numbers(10)`, unknown: unknown{goName: noGoType, goHTTPName: noGoType, chgoName: noAuto, jsName: noUTF8}, noPut: unknown{cliName: "the embedded server takes no blocks of aggregate states"}},
	{id: "200 columns", sql: `SELECT ` + columns200() + ` FROM numbers(3)`},
}
