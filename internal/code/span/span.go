// Package span reads and writes durations the way the public surface spells
// them: "90s", "2h", "7d", "1h30m".
//
// Units are ms, s, m, h and d (24 hours), whole numbers only, largest first.
// The package is pure and refuses everything else: no sign, no fraction, no
// bare number, no unit twice.
package span

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// Span is a time.Duration whose text form is a contract spelling. Zero is "0s".
type Span time.Duration

// Duration returns s as a time.Duration.
func (s Span) Duration() time.Duration { return time.Duration(s) }

var units = []struct {
	name string
	d    time.Duration
}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}}

// ErrSyntax says how a duration is spelled.
var ErrSyntax = errors.New(`write a duration as whole numbers with units, such as "90s", "2h" or "7d"`)

// Parse reads a duration such as "90s", "2h", "7d" or "1h30m". It returns
// ErrSyntax for anything else, and for more than 100 years.
func Parse(text string) (Span, error) {
	var total time.Duration
	rest, next := text, 0
	if rest == "" {
		return 0, ErrSyntax
	}
	for rest != "" {
		i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if i <= 0 || i > 15 {
			return 0, ErrSyntax
		}
		n, err := strconv.ParseInt(rest[:i], 10, 64)
		if err != nil {
			return 0, ErrSyntax
		}
		j := i
		for j < len(rest) && rest[j] >= 'a' && rest[j] <= 'z' {
			j++
		}
		name := rest[i:j]
		for next < len(units) && units[next].name != name {
			next++
		}
		const most = 100 * 365 * 24 * time.Hour
		if next == len(units) || n > int64(most/units[next].d) {
			return 0, ErrSyntax
		}
		total += time.Duration(n) * units[next].d
		if total > most {
			return 0, ErrSyntax
		}
		next++
		rest = rest[j:]
	}
	return Span(total), nil
}

// String spells s with the largest units first: "7d", "1h30m", "0s". What lies
// below a millisecond is dropped.
func (s Span) String() string {
	d := time.Duration(s)
	if d < time.Millisecond {
		return "0s"
	}
	var b strings.Builder
	for _, u := range units {
		if n := d / u.d; n > 0 {
			b.WriteString(strconv.FormatInt(int64(n), 10))
			b.WriteString(u.name)
			d -= n * u.d
		}
	}
	return b.String()
}

// MarshalText implements encoding.TextMarshaler.
func (s Span) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Span) UnmarshalText(b []byte) error {
	v, err := Parse(string(b))
	if err != nil {
		return err
	}
	*s = v
	return nil
}
