package main

import (
	"fmt"
	"os"
	"strings"
)

// The rates stand between these lines of the page.
const (
	begin = "<!-- corpus: begin -->\n"
	end   = "<!-- corpus: end -->\n"
)

// text is the table of the page.
func (r *result) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d pictures of %d to %d pixels, seed %d. Undamaged: %d were read by both decoders, each as exactly its URL, in the version and at the level asked for.\n\n",
		r.Pictures, r.Smallest, r.Largest, r.Seed, r.Pictures-len(r.Failures))
	b.WriteString("| damage | pictures | zbarimg | gozxing | both | at least one | as something else |\n|---|---|---|---|---|---|---|\n")
	for _, d := range r.Rates {
		per := func(n int) string { return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(d.Of)) }
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %s | %d |\n", d.Name, d.Of, per(d.ZBar), per(d.ZXing), per(d.Both), per(d.Any), d.Wrong)
	}
	for _, f := range r.Failures {
		b.WriteString("\n" + f + "\n")
	}
	return b.String()
}

// updatePage writes the rates into a page that has the marks.
func updatePage(path string, r *result) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(page), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s lacks the lines %q and %q between which the rates stand", path, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return os.WriteFile(path, []byte(head+begin+r.text()+end+tail), 0o644)
}
