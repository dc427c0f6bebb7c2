package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// isTerminal reports whether somebody is looking at w, or typing into it.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// printJSON writes v as one line.
func printJSON(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// table writes rows in aligned columns, the first row is the head. Columns are
// measured in runes, wide characters count twice.
func table(w io.Writer, rows [][]string) error {
	var width []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], columns(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-columns(cell)+2))
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func columns(s string) int {
	n := 0
	for _, r := range s {
		if n++; r >= 0x1100 && (r <= 0x115f || r >= 0x2e80 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 || r >= 0xf900 && r <= 0xfaff || r >= 0xfe30 && r <= 0xfe6f || r >= 0xff00 && r <= 0xff60 || r >= 0x20000) {
			n++
		}
	}
	return n
}

// plain takes control characters out of what others wrote, so that it cannot
// move the cursor of a terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

// progress is a line on a terminal that says how far something is. On
// anything else it says nothing. Safe for concurrent use.
type progress struct {
	w     io.Writer // nil: quiet
	what  string
	begin time.Time

	mu   sync.Mutex
	last time.Time
	open bool
}

func newProgress(w io.Writer, what string) *progress {
	p := &progress{what: what, begin: time.Now()}
	if isTerminal(w) {
		p.w = w
	}
	return p
}

// update shows that done of total is done; often is fine, it draws ten times a second.
func (p *progress) update(done, total int) {
	if p.w == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.last) < 100*time.Millisecond && done < total {
		return
	}
	p.last, p.open = now, true
	fmt.Fprintf(p.w, "\r\x1b[K%s", progressLine(p.what, done, total, now.Sub(p.begin)))
}

// done ends the line.
func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.open = false
	}
}

// progressLine is "events  [#####.....]  5000/10000  1250/s  4s left".
func progressLine(what string, done, total int, elapsed time.Duration) string {
	const bars = 24
	filled := 0
	if total > 0 {
		filled = bars * min(done, total) / total
	}
	rate := float64(done) / max(elapsed.Seconds(), 0.001)
	left := ""
	if done > 0 && done < total {
		left = "  " + (time.Duration(float64(total-done) / rate * float64(time.Second))).Round(time.Second).String() + " left"
	}
	return fmt.Sprintf("%s [%s%s] %d/%d  %.0f/s%s", what, strings.Repeat("#", filled), strings.Repeat(".", bars-filled), done, total, rate, left)
}
