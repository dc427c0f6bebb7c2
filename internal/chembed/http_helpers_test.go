package chembed_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/huoma/huoma/internal/chembed"
)

// get sends a GET whose answer the caller reads and closes.
func get(t testing.TB, s *chembed.Server, url string, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+s.HTTPAddr()+url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// broken sends a GET whose answer is broken off, and returns what came of it.
func broken(t testing.TB, s *chembed.Server, url string) (*http.Response, string) {
	t.Helper()
	resp := get(t, s, url, "Accept-Encoding", "identity")
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil {
		t.Errorf("%s: the transfer ends well", url)
	}
	return resp, string(b)
}

// rawHTTP sends bytes on a connection of its own, and returns all that comes until the server closes it, or pauses for two seconds.
func rawHTTP(t testing.TB, s *chembed.Server, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", s.HTTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	buf := make([]byte, 64<<10)
	for {
		conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		n, err := conn.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			return b.String()
		}
	}
}

// decode undoes a response's codings, as far as the bytes go.
func decode(t testing.TB, coding string, blocks bool, b []byte) []byte {
	t.Helper()
	var r io.Reader = bytes.NewReader(b)
	var err error
	switch coding {
	case "gzip":
		r, err = gzip.NewReader(r)
	case "deflate":
		r, err = zlib.NewReader(r)
	case "br":
		r = brotli.NewReader(r)
	case "zstd":
		r, err = zstd.NewReader(r)
	case "lz4":
		r = lz4.NewReader(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	if blocks {
		r = compress.NewReader(r)
	}
	var out bytes.Buffer
	_, _ = io.Copy(&out, r) // up to where it was broken off
	return out.Bytes()
}

// encode is s in a request's coding.
func encode(t testing.TB, coding, s string) string {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	case "br":
		w = brotli.NewWriter(&b)
	case "zstd":
		w, err = zstd.NewWriter(&b)
	case "lz4":
		w = lz4.NewWriter(&b)
	case "":
		return s
	}
	if err == nil {
		_, err = io.WriteString(w, s)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// blocks is s in ClickHouse's own compression, in blocks of a size.
func blocks(t testing.TB, method compress.Method, s string, size int) string {
	t.Helper()
	w := compress.NewWriter(compress.LevelZero, method)
	var b strings.Builder
	for len(s) > 0 {
		n := min(size, len(s))
		if err := w.Compress([]byte(s[:n])); err != nil {
			t.Fatal(err)
		}
		b.Write(w.Data)
		s = s[n:]
	}
	return b.String()
}

// noHeldFiles fails if a result that was held back has left a file.
func noHeldFiles(t testing.TB, dir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "http-result-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left in the data directory: %v, %v", left, err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
}
