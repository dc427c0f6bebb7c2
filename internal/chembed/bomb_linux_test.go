package chembed_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/huoma/huoma/internal/chembed/chtest"
)

// A body that is small and becomes a quarter of a gigabyte is refused where a query is expected, before it has taken that memory. The
// rows of an INSERT may be as many as they like, compressed or not: the engine takes them block by block.
func TestBodiesThatSwell(t *testing.T) {
	const size = 256 << 20
	s := chtest.Start(t)
	bomb := func(piece string) []byte {
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
		if err != nil {
			t.Fatal(err)
		}
		block := bytes.Repeat([]byte(piece), (1<<20)/len(piece))
		for range size >> 20 {
			_, _ = z.Write(block) // to memory
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	memory := func(field string) int64 {
		t.Helper()
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(string(b), field)
		n, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n << 10
	}
	for name, row := range map[string]struct {
		query, piece string
	}{
		"a query":          {"", " "},
		"query parameters": {"SELECT 1 FORMAT TSV", " "},
	} {
		t.Run(name, func(t *testing.T) {
			// From here on the most there was is the most there is.
			if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.PID()), []byte("5"), 0); err != nil {
				t.Fatal(err)
			}
			before := memory("VmRSS:")
			req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+s.HTTPAddr()+"/?"+url.Values{"query": {row.query}}.Encode(), bytes.NewReader(bomb(row.piece)))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Encoding", "gzip")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("status %d, want 413", resp.StatusCode)
			}
			if grew := memory("VmHWM:") - before; grew > size*3/4 {
				t.Errorf("the engine's process grew by up to %d MiB", grew>>20)
			}
		})
	}
}
