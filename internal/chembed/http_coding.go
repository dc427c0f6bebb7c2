package chembed

import (
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Bounds of what a coded body may make the server hold.
const (
	maxZstdWindow  = 32 << 20
	blockFrameSize = 1 << 20 // of a response in ClickHouse's own compression
)

// responseCodings are the content codings of responses, best first: of those a client accepts, ClickHouse takes the first.
var responseCodings = []string{"zstd", "br", "lz4", "gzip", "deflate"}

// chooseCoding picks a response's coding from an Accept-Encoding header; empty for none.
func chooseCoding(accept string) string {
	var accepted []string
	for part := range strings.SplitSeq(strings.ToLower(accept), ",") {
		name, params, _ := strings.Cut(part, ";")
		if q, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			if v, err := strconv.ParseFloat(strings.TrimSpace(q), 64); err == nil && v == 0 {
				continue
			}
		}
		accepted = append(accepted, strings.TrimSpace(name))
	}
	for _, c := range responseCodings {
		if slices.Contains(accepted, c) {
			return c
		}
	}
	return ""
}

// flushCloser is a compressor. Flush makes everything written so far readable at the other end; Close ends the coded stream.
type flushCloser interface {
	io.WriteCloser
	Flush() error
}

// newCoder compresses to w in one of the responseCodings, at a level from 0 to 9.
func newCoder(w io.Writer, coding string, level int) (flushCloser, error) {
	level = min(max(level, 0), 9)
	switch coding {
	case "gzip":
		return gzip.NewWriterLevel(w, level)
	case "deflate":
		return zlib.NewWriterLevel(w, level)
	case "br":
		return brotli.NewWriterLevel(w, level), nil
	case "zstd":
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	case "lz4":
		z := lz4.NewWriter(w)
		return z, z.Apply(lz4.BlockSizeOption(lz4.Block256Kb), lz4.ConcurrencyOption(1))
	}
	return nil, fmt.Errorf("no content coding %s", coding)
}

// requestCoding is one way in which a request's body may be coded.
type requestCoding struct {
	names []string
	code  errorCode // of a body that is not what it says
	open  func(io.Reader) (io.Reader, error)
}

var requestCodings = []requestCoding{
	{[]string{"gzip", "gz", "x-gzip"}, codeInflateFailed, func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
	{[]string{"deflate"}, codeInflateFailed, func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) }},
	{[]string{"br", "brotli"}, codeBrotliReadFailed, func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil }},
	{[]string{"zstd", "zst"}, codeZstdDecoderFailed, func(r io.Reader) (io.Reader, error) {
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
	}},
	{[]string{"lz4"}, codeLZ4DecoderFailed, func(r io.Reader) (io.Reader, error) {
		z := lz4.NewReader(r)
		return z, z.Apply(lz4.ConcurrencyOption(1))
	}},
	{[]string{"bz2"}, errorCode{594, "BZIP2_STREAM_DECODER_FAILED"}, func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }},
}

// decoded is what body holds when it is in the given Content-Encoding. What it cannot decode is an error that says so; an error of
// body itself stays as it is. It holds no more of the body than the coding's window, however much comes out of it.
func decoded(body io.Reader, encoding string) (io.Reader, error) {
	encoding = strings.ToLower(strings.TrimSpace(encoding))
	if encoding == "" || encoding == "identity" || encoding == "none" || encoding == "auto" {
		return body, nil
	}
	for _, c := range requestCodings {
		if slices.Contains(c.names, encoding) {
			return &decoder{src: &errorKeeper{r: body}, coding: c}, nil
		}
	}
	return nil, codeNotImplemented.errorf("Unknown compression method %s of the body: use gzip, deflate, br, zstd, lz4 or bz2 as Content-Encoding, or none", clip(encoding))
}

// errorKeeper remembers how much was read, and how reading ended.
type errorKeeper struct {
	r   io.Reader
	n   int64
	err error
}

func (k *errorKeeper) Read(p []byte) (int, error) {
	n, err := k.r.Read(p)
	k.n += int64(n)
	if err != nil {
		k.err = err
	}
	return n, err
}

type decoder struct {
	src    *errorKeeper
	coding requestCoding
	out    io.Reader
	err    error
}

func (d *decoder) Read(p []byte) (n int, err error) {
	if d.err != nil {
		return 0, d.err
	}
	if d.out == nil {
		if d.out, d.err = d.coding.open(d.src); d.err != nil {
			if d.err == io.EOF && d.src.err == io.EOF {
				return 0, d.err // an empty body, of whatever coding
			}
			d.err = d.named(d.err)
			return 0, d.err
		}
	}
	n, err = d.out.Read(p)
	if err != nil {
		d.close()
		if err != io.EOF {
			err = d.named(err)
		}
		d.err = err
	}
	return n, err
}

// close gives back what a decoder holds beyond memory.
func (d *decoder) close() {
	if z, ok := d.out.(*zstd.Decoder); ok {
		z.Close()
	}
}

func (d *decoder) named(err error) error {
	if d.src.err != nil && d.src.err != io.EOF {
		return d.src.err
	}
	name := d.coding.names[0]
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || d.src.err == io.EOF:
		return d.coding.code.errorf("the body ends in the middle of its %s coding, or is damaged: %s", name, err)
	case errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return d.coding.code.errorf("the body's zstd window is larger than %d MiB: compress it at a lower level", maxZstdWindow>>20)
	}
	return d.coding.code.errorf("the body is not valid %s, as its Content-Encoding says: %s", name, err)
}

// blockReader reads ClickHouse's own compressed blocks: decompress=1.
type blockReader struct {
	src  *errorKeeper
	r    *compress.Reader
	read int64 // of src, up to the end of the last whole block
	err  error
}

func newBlockReader(r io.Reader) *blockReader {
	src := &errorKeeper{r: r}
	return &blockReader{src: src, r: compress.NewReader(src)}
}

func (b *blockReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p)
	if err == nil {
		b.read = b.src.n // the reader takes blocks whole, and never reads ahead
		return n, nil
	}
	var corrupted *compress.CorruptedDataErr
	switch {
	case b.src.err != nil && b.src.err != io.EOF:
		err = b.src.err
	case errors.Is(err, io.EOF) && b.src.n == b.read:
		err = io.EOF
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		err = codeCannotReadAllData.errorf("the body ends in the middle of a compressed block")
	case errors.As(err, &corrupted):
		err = codeChecksumMismatch.errorf("Checksum doesn't match: corrupted data in a compressed block of the body")
	default:
		err = codeCannotDecompress.errorf("Cannot decompress a block of the body, as decompress=1 asks for: %s", err)
	}
	b.err = err
	return n, err
}

// blockWriter writes ClickHouse's own compressed blocks: compress=1.
type blockWriter struct {
	w    io.Writer
	comp *compress.Writer
	buf  bytes.Buffer
}

// newBlockWriter compresses by a value of the setting network_compression_method.
func newBlockWriter(w io.Writer, method string) (*blockWriter, error) {
	m, err := parseBlockMethod(method)
	if err != nil {
		return nil, err
	}
	return &blockWriter{w: w, comp: compress.NewWriter(compress.LevelZero, m)}, nil
}

func (b *blockWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		k := min(len(p), blockFrameSize-b.buf.Len())
		b.buf.Write(p[:k])
		p = p[k:]
		if b.buf.Len() == blockFrameSize {
			if err := b.Flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// Flush ends the block. There are no empty ones.
func (b *blockWriter) Flush() error {
	if b.buf.Len() == 0 {
		return nil
	}
	if err := b.comp.Compress(b.buf.Bytes()); err != nil {
		return fmt.Errorf("compress a block: %w", err)
	}
	b.buf.Reset()
	_, err := b.w.Write(b.comp.Data)
	return err
}

func (b *blockWriter) Close() error { return b.Flush() }
