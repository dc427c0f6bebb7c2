package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/huoma/huoma/internal/importing"
)

// importBar is a line on a terminal that says how far an import is. On anything else it says nothing.
type importBar struct {
	w     io.Writer // nil: quiet
	total int64     // bytes; 0: not known
	begin time.Time

	mu   sync.Mutex
	open bool
}

func newImportBar(w io.Writer, total int64) *importBar {
	b := &importBar{total: total, begin: time.Now()}
	if isTerminal(w) {
		b.w = w
	}
	return b
}

func (b *importBar) update(p importing.Progress) {
	if b.w == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open = true
	fmt.Fprintf(b.w, "\r\x1b[K%s", importLine(p, b.total, time.Since(b.begin)))
}

// clear takes the line away, so that something else can be written.
func (b *importBar) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open {
		fmt.Fprint(b.w, "\r\x1b[K")
		b.open = false
	}
}

// importLine is "[#####.....] 42 %  399000 imported, …  21000/s  28s left". Reading runs ahead of storing; the share is of lines dealt with.
func importLine(p importing.Progress, total int64, elapsed time.Duration) string {
	const bars = 24
	done := p.Imported + p.Already + p.Skipped + p.Bad
	rate := float64(done) / max(elapsed.Seconds(), 0.001)
	text := fmt.Sprintf("%d imported, %d already there, %d skipped, %d bad  %.0f/s", p.Imported, p.Already, p.Skipped, p.Bad, rate)
	if total <= 0 {
		return text
	}
	share := min(float64(p.Bytes)/float64(total), 1) * min(float64(done)/float64(max(p.Lines, 1)), 1)
	filled := int(share * bars)
	left := ""
	if share > 0 && share < 1 {
		left = "  " + time.Duration(float64(elapsed)*(1-share)/share).Round(time.Second).String() + " left"
	}
	return fmt.Sprintf("[%s%s] %.0f %%  %s%s", strings.Repeat("#", filled), strings.Repeat(".", bars-filled), share*100, text, left)
}
