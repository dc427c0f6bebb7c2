package qr

import (
	"bytes"
	"io"
)

// Terminal writes content as a symbol of half-block characters, two modules a character, with no escape
// sequences. The blocks are the light modules, so that it reads as dark on light on a dark terminal; readers which
// also take negatives read it on a light one. Errors are those of [Encode] and of w.
func Terminal(content string, w io.Writer) error {
	s, err := encode(content, 0, false, LevelM)
	if err != nil {
		return err
	}
	s.quiet = QuietZone
	var b bytes.Buffer
	for y := 0; y < s.Width(); y += 2 {
		for x := range s.Width() {
			// The width is odd: the row below the last one is no part of the symbol and stays empty.
			upper, lower := !s.dark(x, y), y+1 < s.Width() && !s.dark(x, y+1)
			switch {
			case upper && lower:
				b.WriteRune('█')
			case upper:
				b.WriteRune('▀')
			case lower:
				b.WriteRune('▄')
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteByte('\n')
	}
	_, err = w.Write(b.Bytes())
	return err
}
