package chembed

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/ClickHouse/ch-go/compress"
)

// TestDecoded: every reader's own error is told apart from a body's damage.
func TestDecoded(t *testing.T) {
	gone := errors.New("gone")
	for _, coding := range []string{"gzip", "deflate", "br", "zstd", "lz4", "bz2"} {
		r, err := decoded(iotest.ErrReader(gone), coding)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(r); !errors.Is(err, gone) {
			t.Errorf("%s: got %v, want the reader's own error", coding, err)
		}
	}
	r := newBlockReader(iotest.ErrReader(gone))
	if _, err := io.ReadAll(r); !errors.Is(err, gone) {
		t.Errorf("blocks: got %v", err)
	}
	if b, err := io.ReadAll(newBlockReader(strings.NewReader(""))); err != nil || len(b) > 0 {
		t.Errorf("no blocks: %q, %v", b, err)
	}
}

// TestDecodedBomb: what comes out of a small body is not held.
func TestDecodedBomb(t *testing.T) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	zeros := make([]byte, 1<<20)
	for range 16 {
		w.Write(zeros)
	}
	w.Close()
	r, err := decoded(&b, "gzip")
	if err != nil {
		t.Fatal(err)
	}
	var n int64
	allocated := testing.AllocsPerRun(1, func() {
		k, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, make([]byte, 64<<10))
		if n += k; err != nil {
			t.Error(err)
		}
	})
	if n != 16<<20 || allocated > 1000 {
		t.Errorf("%d bytes, %v allocations", n, allocated)
	}
}

func FuzzDecoded(f *testing.F) {
	for _, seed := range []string{"", "\x1f\x8b\x08", "x\x9c", "\x28\xb5\x2f\xfd", "\x04\x22\x4d\x18", "BZh9"} {
		f.Add([]byte(seed))
	}
	var w = compress.NewWriter(compress.LevelZero, compress.LZ4)
	if err := w.Compress([]byte("some data, some data")); err != nil {
		f.Fatal(err)
	}
	f.Add(w.Data)
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, coding := range []string{"gzip", "deflate", "br", "zstd", "lz4", "bz2", "blocks"} {
			r, err := decoded(bytes.NewReader(body), coding)
			if coding == "blocks" {
				r, err = newBlockReader(bytes.NewReader(body)), nil
			}
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.Copy(io.Discard, io.LimitReader(r, 1<<20))
			var named *engineError
			if err != nil && !errors.As(err, &named) {
				t.Fatalf("%s: %T %v has no code", coding, err, err)
			}
		}
	})
}

func TestTableColumns(t *testing.T) {
	for _, row := range []struct {
		structure, types string
		want             []column
	}{
		{"a UInt8", "", []column{{"a", "UInt8"}}},
		{"a UInt8, `b c` Tuple(x String, y Enum8('p,q' = 1)),\n\"d\" Map(String, Array(UInt8))", "", []column{{"a", "UInt8"}, {"b c", "Tuple(x String, y Enum8('p,q' = 1))"}, {"d", "Map(String, Array(UInt8))"}}},
		{"", "UInt8,Decimal(3, 1)", []column{{"_1", "UInt8"}, {"_2", "Decimal(3, 1)"}}},
		{"a UInt8", "String", []column{{"a", "UInt8"}}},
		{"", "", nil}, {"a", "", nil}, {"a UInt8,", "", nil}, {"a Tuple(", "", nil}, {"a UInt8) ENGINE = Null (", "", nil}, {" ", "", nil}, {"", ",", nil},
	} {
		got, err := tableColumns("t", row.structure, row.types)
		if (err == nil) != (row.want != nil) || row.want != nil && !reflect.DeepEqual(got, row.want) {
			t.Errorf("%q, %q: got %q, %v", row.structure, row.types, got, err)
		}
	}
}

func FuzzTableColumns(f *testing.F) {
	f.Add("a UInt8, `b` Tuple(x String)", "")
	f.Add("", "UInt8,String")
	f.Fuzz(func(t *testing.T, structure, types string) {
		cols, err := tableColumns("t", structure, types)
		for _, c := range cols {
			if c.name == "" || c.typ == "" || err != nil {
				t.Fatalf("%q, %v", cols, err)
			}
		}
	})
}

func TestMarkedException(t *testing.T) {
	if got, want := markedException("boom", "tag"), "\r\n__exception__\r\ntag\r\nboom\n5 tag\r\n__exception__\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := markedException(strings.Repeat("é", 20_000), "tag"); len(got) > 16<<10 || !strings.Contains(got, "é\n") {
		t.Errorf("a long one: %d bytes, …%q", len(got), got[len(got)-60:])
	}
	if a, b := newTag(), newTag(); len(a) != 16 || a == b || strings.Trim(a, "abcdefghijklmnopqrstuvwxyz") != "" {
		t.Errorf("tags %q and %q", a, b)
	}
}

func TestQueryID(t *testing.T) {
	for _, row := range []struct{ given, want string }{{"mine", "mine"}, {"a\r\nX: y", "aX: y"}, {"é\x00", "é"}} {
		if got := queryID(row.given, "other"); got != row.want {
			t.Errorf("%q: got %q, want %q", row.given, got, row.want)
		}
	}
	if got := queryID("", "other"); got != "other" {
		t.Errorf("got %q", got)
	}
	if a, b := queryID("\n"), queryID(strings.Repeat("x", 1<<17)); len(a) != 36 || len(b) != 36 || a == b {
		t.Errorf("made %q, %q", a, b)
	}
}

// TestHold: a file is there only while something is in it, and has no name.
func TestHold(t *testing.T) {
	dir := t.TempDir()
	h := hold{dir: dir, memory: 10}
	for i := range 100 {
		if _, err := fmt.Fprintf(&h, "%d,", i); err != nil {
			t.Fatal(err)
		}
	}
	if h.file == nil {
		t.Fatal("all of it is in memory")
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("a file with a name: %v", left)
	}
	var b bytes.Buffer
	if err := h.copyTo(&b); err != nil || !strings.HasPrefix(b.String(), "0,1,2,") || !strings.HasSuffix(b.String(), ",98,99,") || h.file != nil {
		t.Errorf("got %q, %v", b.String(), err)
	}
	h = hold{dir: filepath.Join(dir, "gone"), memory: 1}
	if _, err := h.Write([]byte("12")); err == nil {
		t.Error("written where there is no directory")
	}
}

// TestWirePatience: a client that does not read is let go, however it is written to.
func TestWirePatience(t *testing.T) {
	for _, byHand := range []bool{false, true} {
		end := make(chan error, 1)
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var out wire = &netWire{w, http.NewResponseController(w), 50 * time.Millisecond}
			if byHand {
				p, err := takeOver(w, 50*time.Millisecond, func() {})
				if err != nil {
					end <- err
					return
				}
				defer p.abort()
				out = p
			}
			out.head(http.StatusOK)
			var err error
			for err == nil {
				_, err = out.Write(make([]byte, 1<<20))
			}
			end <- err
		}))
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		var gone *clientGone
		if err := <-end; !errors.As(err, &gone) || !stalled(err) {
			t.Errorf("by hand %t: got %v", byHand, err)
		}
		conn.Close()
		srv.Close()
	}
}
