package chembed_test

import (
	"fmt"
	"net/url"
	"slices"
	"testing"
)

// outputFormats are those whose bytes over HTTP are compared with the engine's own, and what differs each time.
var outputFormats = []struct {
	name  string
	query string // empty for formatRows
	loose string // why only the length is compared
}{
	{name: "TabSeparated"}, {name: "TSVWithNames"}, {name: "TSVWithNamesAndTypes"}, {name: "TSVRaw"},
	{name: "CSV"}, {name: "CSVWithNames"}, {name: "CSVWithNamesAndTypes"},
	{name: "CustomSeparated"}, {name: "CustomSeparatedWithNames"},
	{name: "JSON"}, {name: "JSONStrings"}, {name: "JSONCompact"}, {name: "JSONCompactStrings"},
	{name: "JSONColumns"}, {name: "JSONColumnsWithMetadata"}, {name: "JSONCompactColumns"}, {name: "JSONObjectEachRow"},
	{name: "JSONEachRow"}, {name: "PrettyJSONEachRow"}, {name: "JSONStringsEachRow"}, {name: "JSONLines"},
	{name: "JSONCompactEachRow"}, {name: "JSONCompactEachRowWithNames"}, {name: "JSONCompactEachRowWithNamesAndTypes"},
	{name: "JSONCompactStringsEachRow"}, {name: "JSONCompactStringsEachRowWithNamesAndTypes"}, {name: "BSONEachRow"},
	{name: "Values"}, {name: "Vertical"}, {name: "SQLInsert"}, {name: "XML"}, {name: "Markdown"},
	{name: "Pretty"}, {name: "PrettyNoEscapes"}, {name: "PrettyCompact"}, {name: "PrettyCompactMonoBlock"}, {name: "PrettySpace"},
	{name: "RowBinary"}, {name: "RowBinaryWithNames"}, {name: "RowBinaryWithNamesAndTypes"}, {name: "Native"},
	{name: "Parquet"}, {name: "Arrow"}, {name: "ArrowStream"}, {name: "ORC"}, {name: "MsgPack"},
	{name: "Avro", loose: "a file has a random mark between its blocks"},
	{name: "RawBLOB", query: `SELECT 'line ' || toString(number) || '\n' FROM numbers(100)`},
	{name: "Null"},
}

const formatRows = `SELECT id, site, ts, v, tags, n, toDecimal64(v, 3) AS d, if(id % 2 = 0, 'it''s "' || char(9, 10) || '<&>,' || toString(id), '') AS s FROM hits ORDER BY id LIMIT 300`

// formats asks for the same rows in every format, in one block and in many, and for none, compressed and not.
func (c *conformance) formats(t *testing.T, d direct) {
	client := newCurlClient(t, c.server, formatsDatabase)
	compressed := newCurlClient(t, c.server, formatsDatabase, "--compressed")
	c.fixtures(t, formatsDatabase)
	conn := d.connect()
	defer conn.Close()
	for _, f := range outputFormats {
		query := f.query
		if query == "" {
			query = formatRows
		}
		for _, part := range []struct{ where, blocks string }{{"", "65536"}, {"", "64"}, {"WHERE 0", "65536"}} {
			sql := fmt.Sprintf("SELECT * FROM (%s) %s FORMAT %s SETTINGS output_format_write_statistics = 0, max_block_size = %s", query, part.where, f.name, part.blocks)
			want, err := conn.Query(sql, "Null", nil)
			if err != nil {
				t.Errorf("%s: %v", f.name, err)
				continue
			}
			for _, client := range []*curlClient{client, compressed} {
				got, refused := client.post(t.Context(), url.Values{"database": {formatsDatabase}}, sql)
				switch {
				case refused != nil:
					t.Errorf("%s, %s blocks of %s: %v", f.name, part.where, part.blocks, refused)
				case f.loose != "" && len(got) == len(want):
				case !slices.Equal(got, want):
					t.Errorf("%s, %s blocks of %s\ngot  %d bytes, %s\nwant %d bytes, %s", f.name, part.where, part.blocks, len(got), clipValue(string(got)), len(want), clipValue(string(want)))
				}
			}
		}
	}
}

const formatsDatabase = "conf_db_formats"
