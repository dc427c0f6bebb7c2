package chembed_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// confClients are the clients, in the order of the documentation, with how many cases each must run at least.
var confClients = []struct {
	name             string
	ways             string // what differs between its ways
	queries, inserts int
}{
	{goName, "no compression, LZ4, ZSTD", 225, 90},
	{goHTTPName, "no compression, LZ4, gzip", 220, 90},
	{chgoName, "no compression, LZ4", 200, 70},
	{cliName, "LZ4, as it does by itself", 145, 55},
	{jsName, "no compression, gzip", 220, 105},
	{curlName, "no compression, gzip", 230, 110},
}

// tallyOf counts what a client runs, by what the cases say, and why it does not run the others.
func tallyOf(client string, queries []confQuery, inserts []confInsert) (n tally, why map[string]int) {
	why = map[string]int{}
	for _, q := range queries {
		if reason := q.unknown[client]; reason != "" {
			n.unknownQueries++
			why[reason]++
		} else {
			n.queries++
		}
	}
	for _, in := range inserts {
		if reason := in.unknown[client]; reason != "" {
			n.unknownInserts++
			why[reason]++
		} else {
			n.inserts++
		}
	}
	return n, why
}

// TestConformanceCases: there are as many cases as was promised, each client runs most of them, and the documentation says so.
func TestConformanceCases(t *testing.T) {
	t.Parallel()
	queries, inserts := allQueries(), allInserts()
	if len(queries) < 150 || len(inserts) < 40 {
		t.Errorf("%d queries and %d inserts; want 150 and 40", len(queries), len(inserts))
	}
	known := map[string]bool{}
	var table, reasons strings.Builder
	fmt.Fprintf(&table, "| client | ways | queries of %d | inserts of %d |\n|---|---|---|---|\n", len(queries), len(inserts))
	for _, c := range confClients {
		known[c.name] = true
		n, why := tallyOf(c.name, queries, inserts)
		if n.queries < c.queries || n.inserts < c.inserts {
			t.Errorf("%s runs %d queries and %d inserts; want %d and %d at least", c.name, n.queries, n.inserts, c.queries, c.inserts)
		}
		fmt.Fprintf(&table, "| %s | %s | %d | %d |\n", c.name, c.ways, n.queries, n.inserts)
		if len(why) == 0 {
			continue
		}
		fmt.Fprintf(&reasons, "\n**%s** does not run\n", c.name)
		sorted := slices.SortedFunc(maps.Keys(why), func(a, b string) int {
			if why[a] != why[b] {
				return why[b] - why[a]
			}
			return strings.Compare(a, b)
		})
		for _, reason := range sorted {
			fmt.Fprintf(&reasons, "- %d: %s\n", why[reason], reason)
		}
	}
	for _, q := range queries {
		for name := range q.unknown {
			if !known[name] {
				t.Errorf("query %s: there is no client %s", q.id, name)
			}
		}
	}
	for _, in := range inserts {
		for name := range in.unknown {
			if !known[name] {
				t.Errorf("insert %s: there is no client %s", in.id, name)
			}
		}
	}
	doc, err := os.ReadFile("../../docs/clickhouse-clients.md")
	if err != nil {
		t.Fatal(err)
	}
	formats := fmt.Sprintf("in %d output formats", len(outputFormats))
	for _, want := range []string{table.String(), formats, reasons.String()} {
		if !strings.Contains(string(doc), want) {
			t.Errorf("docs/clickhouse-clients.md says otherwise than the cases do. It should have\n%s", want)
		}
	}
}
