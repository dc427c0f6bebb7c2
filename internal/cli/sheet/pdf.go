package sheet

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"strconv"
)

// file writes the objects of a PDF one after the other. Its error stays.
type file struct {
	w       io.Writer
	at      int64
	offsets []int64 // by object number less one; 0: not written yet
	err     error
}

func (f *file) write(b []byte) {
	if f.err != nil {
		return
	}
	n, err := f.w.Write(b)
	f.at += int64(n)
	f.err = err
}

func (f *file) printf(format string, args ...any) { f.write(fmt.Appendf(nil, format, args...)) }

// reserve takes the number of an object that is written later.
func (f *file) reserve() int {
	f.offsets = append(f.offsets, 0)
	return len(f.offsets)
}

// object writes an object under a reserved number.
func (f *file) object(n int, body string) {
	f.offsets[n-1] = f.at
	f.printf("%d 0 obj\n%s\nendobj\n", n, body)
}

// stream writes an object with data. dict are its entries but for the length.
func (f *file) stream(n int, dict string, data []byte) {
	f.offsets[n-1] = f.at
	f.printf("%d 0 obj\n<<%s/Length %d>>\nstream\n", n, dict, len(data))
	f.write(data)
	f.printf("\nendstream\nendobj\n")
}

// compressed is stream with data to be compressed.
func (f *file) compressed(n int, dict string, data []byte) {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write(data) // into memory: neither can fail
	_ = z.Close()
	f.stream(n, dict+"/Filter/FlateDecode", b.Bytes())
}

// end writes the table of objects and the trailer.
func (f *file) end(root, info int) error {
	start := f.at
	f.printf("xref\n0 %d\n0000000000 65535 f \n", len(f.offsets)+1)
	for n, at := range f.offsets {
		if at == 0 && f.err == nil {
			return fmt.Errorf("sheet: object %d was never written", n+1)
		}
		f.printf("%010d 00000 n \n", at)
	}
	f.printf("trailer\n<</Size %d/Root %d 0 R/Info %d 0 R>>\nstartxref\n%d\n%%%%EOF\n", len(f.offsets)+1, root, info, start)
	return f.err
}

const perMM = 72 / 25.4

// num writes a number with at most three digits behind the point, 0.0001 mm of paper.
func num(b []byte, v float64) []byte {
	b = strconv.AppendFloat(b, v, 'f', 3, 64)
	for b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	if b[len(b)-1] == '.' {
		b = b[:len(b)-1]
	}
	return b
}

// ops writes numbers and an operator.
func ops(b []byte, op string, args ...float64) []byte {
	for _, v := range args {
		b = append(num(b, v), ' ')
	}
	return append(append(b, op...), '\n')
}
