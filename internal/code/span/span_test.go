package span

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	for _, row := range []struct {
		text, canonical string
		want            time.Duration
	}{
		{"0s", "0s", 0},
		{"0d", "0s", 0},
		{"1ms", "1ms", time.Millisecond},
		{"90s", "1m30s", 90 * time.Second},
		{"2h", "2h", 2 * time.Hour},
		{"72h", "3d", 72 * time.Hour},
		{"7d", "7d", 168 * time.Hour},
		{"1h30m", "1h30m", 90 * time.Minute},
		{"1d2h3m4s5ms", "1d2h3m4s5ms", 26*time.Hour + 3*time.Minute + 4*time.Second + 5*time.Millisecond},
		{"1m5ms", "1m5ms", time.Minute + 5*time.Millisecond},
		{"007s", "7s", 7 * time.Second},
		{"36500d", "36500d", 36500 * 24 * time.Hour},
	} {
		got, err := Parse(row.text)
		if err != nil || got.Duration() != row.want || got.String() != row.canonical {
			t.Errorf("%q = %v (%s), %v; want %v (%s)", row.text, got.Duration(), got, err, row.want, row.canonical)
		}
	}
	for _, text := range []string{
		"", "5", "s", "-5s", "+5s", "1.5h", "5 s", " 5s", "5s ", "5S", "5w", "5us", "5µs", "1s1s", "1s1h", "1m1h", "1ms1s", "5sec", "s5", "1h-30m",
		"36501d", "36500d1ms", "9223372036854775807d", "99999999999999999999s", "0000000000000001s", "١s", "1h\x00",
	} {
		if got, err := Parse(text); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q = %v, %v; want ErrSyntax", text, got, err)
		}
	}
}

func TestStringNeverLies(t *testing.T) {
	for d, want := range map[Span]string{-1: "0s", Span(-time.Hour): "0s", Span(time.Millisecond - 1): "0s", Span(time.Second + 1): "1s"} {
		if got := d.String(); got != want {
			t.Errorf("%d = %q, want %q", int64(d), got, want)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Span(time.Duration(rapid.Int64Range(0, 100*365*24*3600*1000).Draw(t, "ms")) * time.Millisecond)
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Span
		if err := json.Unmarshal(b, &got); err != nil || got != want || got.String() != want.String() {
			t.Fatalf("%s → %v, %v; want %v", b, got, err, want)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"90s", "1h30m", "7d", "1ms", "0s", "1s1s", "-1s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Parse(text)
		if err != nil {
			return
		}
		if again, err := Parse(d.String()); err != nil || again != d || d < 0 {
			t.Errorf("%q = %v, written %q, read %v, %v", text, d.Duration(), d, again, err)
		}
	})
}
