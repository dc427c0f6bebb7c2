package qr

import "sync"

// A layout says what each module of a symbol is for: a function pattern, or a bit of a codeword, and of which block.
// It depends on version and level alone.
type layout struct {
	version  int
	level    Level
	n        int     // modules of a side
	function []bool  // by row: finder, separator, timing, alignment, format and version information
	codeword []int16 // by row: index of the codeword in the order of placement, -1 where there is none
	block    []uint8 // by codeword: its block
}

type layoutKey struct {
	version int
	level   Level
}

var layouts sync.Map // layoutKey to *layout

func layoutOf(version int, level Level) *layout {
	key := layoutKey{version, level}
	if l, ok := layouts.Load(key); ok {
		return l.(*layout)
	}
	l := newLayout(version, level)
	layouts.Store(key, l)
	return l
}

func newLayout(version int, level Level) *layout {
	n := 17 + 4*version
	l := &layout{version: version, level: level, n: n, function: make([]bool, n*n), codeword: make([]int16, n*n)}
	l.reserve()
	bits := l.place()
	l.interleave(bits / 8)
	return l
}

// reserve marks the function patterns (ISO/IEC 18004:2015, 6.3 and 7.9, 7.10).
func (l *layout) reserve() {
	n := l.n
	area := func(x, y, w, h int) {
		for j := max(y, 0); j < min(y+h, n); j++ {
			for i := max(x, 0); i < min(x+w, n); i++ {
				l.function[j*n+i] = true
			}
		}
	}
	area(0, 0, 9, 9) // finder, separator, format
	area(n-8, 0, 8, 9)
	area(0, n-8, 9, 8)
	area(6, 0, 1, n) // timing
	area(0, 6, n, 1)
	centres := alignment(l.version)
	for i, y := range centres {
		for j, x := range centres {
			last := len(centres) - 1
			if i == 0 && j == 0 || i == 0 && j == last || i == last && j == 0 {
				continue // a finder is there
			}
			area(x-2, y-2, 5, 5)
		}
	}
	if l.version >= 7 {
		area(n-11, 0, 3, 6)
		area(0, n-11, 6, 3)
	}
}

// alignment are the coordinates of the centres of the alignment patterns, on both axes (ISO/IEC 18004:2015, annex E).
func alignment(version int) []int {
	if version == 1 {
		return nil
	}
	count := version/7 + 2
	step := (version*8 + count*3 + 5) / (count*4 - 4) * 2
	out := make([]int, count)
	for i, at := count-1, 10+4*version; i > 0; i, at = i-1, at-step {
		out[i] = at
	}
	out[0] = 6
	return out
}

// place numbers the bits as they are laid: in columns of two modules from the right, up and down by turns
// (ISO/IEC 18004:2015, 7.7.3). It returns how many there are.
func (l *layout) place() int {
	for i := range l.codeword {
		l.codeword[i] = -1
	}
	bit := 0
	up := true
	for right := l.n - 1; right > 0; right -= 2 {
		if right == 6 {
			right-- // the timing pattern has the column for itself
		}
		for step := range l.n {
			y := step
			if up {
				y = l.n - 1 - step
			}
			for x := right; x >= right-1; x-- {
				if !l.function[y*l.n+x] {
					l.codeword[y*l.n+x] = int16(bit / 8)
					bit++
				}
			}
		}
		up = !up
	}
	for i, c := range l.codeword {
		if int(c) >= bit/8 {
			l.codeword[i] = -1 // remainder bits
		}
	}
	return bit
}

// interleave says which block each codeword belongs to (ISO/IEC 18004:2015, 7.6): the first data codeword of each
// block, the second of each and so on, longer blocks last; then the error correction codewords likewise.
func (l *layout) interleave(codewords int) {
	blocks := int(eccBlocks[l.level][l.version])
	data := codewords - blocks*int(eccPerBlock[l.level][l.version])
	short := blocks - data%blocks // the other blocks have one data codeword more
	l.block = make([]uint8, codewords)
	for i := range l.block {
		switch {
		case i < data/blocks*blocks:
			l.block[i] = uint8(i % blocks)
		case i < data:
			l.block[i] = uint8(short + i - data/blocks*blocks)
		default:
			l.block[i] = uint8((i - data) % blocks)
		}
	}
}
