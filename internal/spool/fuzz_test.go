package spool

import (
	"bytes"
	"fmt"
	"testing"
)

// FuzzScan damages one stretch of a run of frames in any way: every frame
// before it and every one after it is found, whatever is found is one that was
// written, and pieces and frames together are all there is.
func FuzzScan(f *testing.F) {
	f.Add(uint8(5), uint16(40), uint16(3), []byte("xyz"))
	f.Add(uint8(3), uint16(0), uint16(16), []byte{})
	f.Add(uint8(9), uint16(90), uint16(200), []byte("HSPf\x10\x00\x00\x00"))
	f.Add(uint8(1), uint16(70), uint16(0), []byte{0})
	f.Fuzz(func(t *testing.T, count uint8, from, length uint16, put []byte) {
		var b []byte
		var err error
		ends := []int{0}
		written := map[string]bool{}
		for n := range int(count % 12) {
			r := record(n + 1)
			r.Payload = bytes.Repeat(r.Payload, n%3+1)
			if b, err = appendFrame(b, r); err != nil {
				t.Fatal(err)
			}
			ends = append(ends, len(b))
			written[fmt.Sprint(r)] = true
		}
		lo := min(int(from), len(b))
		hi := min(lo+int(length), len(b))
		left := append(append(bytes.Clone(b[:lo]), put...), b[hi:]...)

		frames, bad := scan(left, 0)
		found := map[string]bool{}
		off, i, j := 0, 0, 0
		for off < len(left) { // they tile it
			switch {
			case i < len(frames) && frames[i].off == off:
				if text := fmt.Sprint(frames[i].record); !written[text] {
					t.Fatalf("a frame that nobody wrote: %s", text)
				} else {
					found[text] = true
				}
				off, i = frames[i].end, i+1
			case j < len(bad) && bad[j].off == off:
				if bad[j].torn && bad[j].end != len(left) {
					t.Fatalf("torn in the middle: %+v", bad[j])
				}
				off, j = bad[j].end, j+1
			default:
				t.Fatalf("nothing covers %d: %v %v", off, frames, bad)
			}
		}
		for n := range len(ends) - 1 {
			r := record(n + 1)
			r.Payload = bytes.Repeat(r.Payload, n%3+1)
			if whole := ends[n+1] <= lo || ends[n] >= hi; whole && !found[fmt.Sprint(r)] {
				t.Fatalf("frame %d of %d..%d is lost, damage is at %d..%d", n+1, ends[n], ends[n+1], lo, hi)
			}
		}
	})
}

// FuzzReadFrame: what is read as a frame is, byte for byte, what its record is
// written as.
func FuzzReadFrame(f *testing.F) {
	b, err := appendFrame(nil, record(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		r, size, _, ok := readFrame(b)
		if !ok {
			return
		}
		again, err := appendFrame(nil, r)
		if err != nil || !bytes.Equal(again, b[:size]) {
			t.Fatalf("%x is not what its record is written as: %x, %v", b[:size], again, err)
		}
	})
}
