package chembed

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// httpFacts are what the HTTP interface asks the engine once.
type httpFacts struct {
	formats  map[string]httpFormat // by name in lower case
	defaults map[string]string     // of httpSettings
	suffixed map[string]bool       // settings whose names end like what describes a form's table
}

// httpFormat is an output format as ClickHouse writes its name, and the media type of its documents.
type httpFormat struct{ name, contentType string }

// httpSettings are settings that this package acts on, as SQL.
const httpSettings = "'enable_http_compression', 'http_zlib_compression_level', 'http_response_buffer_size', 'http_wait_end_of_query', " +
	"'send_progress_in_http_headers', 'http_headers_progress_interval_ms', 'add_http_cors_header', 'cancel_http_readonly_queries_on_client_close', " +
	"'http_receive_timeout', 'http_send_timeout', 'network_compression_method', 'extremes', 'output_format_json_array_of_rows', " +
	"'output_format_binary_encode_types_in_binary_format', 'limit', 'offset', 'rows_before_aggregation'"

func askFacts(c *engineConn) (httpFacts, error) {
	f := httpFacts{formats: map[string]httpFormat{}, suffixed: map[string]bool{}}
	ask := func(sql string) (map[string]string, error) {
		out, _, err := c.query(sql, "JSONCompactEachRow")
		if err != nil {
			return nil, fmt.Errorf("ask the engine what it can do: %w", err)
		}
		return parsePairs(out)
	}
	formats, err := ask("SELECT name, content_type FROM system.formats WHERE is_output")
	if err != nil {
		return f, err
	}
	for name, media := range formats {
		f.formats[strings.ToLower(name)] = httpFormat{name, media}
	}
	if f.defaults, err = ask("SELECT name, value FROM system.settings WHERE name IN (" + httpSettings + ")"); err != nil {
		return f, err
	}
	suffixed, err := ask("SELECT name, '' FROM system.settings WHERE endsWith(name, '_format') OR endsWith(name, '_types') OR endsWith(name, '_structure')")
	for name := range suffixed {
		f.suffixed[name] = true
	}
	return f, err
}

// parsePairs reads rows of two strings in JSONCompactEachRow.
func parsePairs(out []byte) (map[string]string, error) {
	pairs := map[string]string{}
	for line := range bytes.Lines(out) {
		var row [2]string
		if err := json.Unmarshal(line, &row); err != nil {
			return nil, fmt.Errorf("read what the engine answers: %w", err)
		}
		pairs[row[0]] = row[1]
	}
	return pairs, nil
}

// format is a format's canonical name and media type. The engine says itself what it does not know.
func (f httpFacts) format(name string) httpFormat {
	if known, ok := f.formats[strings.ToLower(name)]; ok {
		return known
	}
	return httpFormat{name, "text/plain; charset=UTF-8"}
}
