package typeface

import (
	"errors"
	"strings"
	"testing"
)

func TestScriptsThatAreDrawn(t *testing.T) {
	for _, text := range []string{"Group 3", "Größe", "Ωμέγα", "Привет", "活码", "羣組", "ひらがなカタカナ", "第1群（满）", "，。！「」"} {
		glyphs, err := Set(text)
		if err != nil || len(glyphs) != len([]rune(text)) {
			t.Errorf("%s: %d glyphs, %v", text, len(glyphs), err)
			continue
		}
		for i, r := range []rune(text) {
			g := glyphs[i]
			if g.Advance <= 0 || g.Advance > 1.2 || (len(g.Segments) == 0) != (r == ' ') {
				t.Errorf("%q: advance %g, %d segments", r, g.Advance, len(g.Segments))
			}
			for _, s := range g.Segments {
				for _, p := range s.Pts {
					if p[0] < -0.3 || p[0] > 1.3 || p[1] < -1.2 || p[1] > 0.5 {
						t.Errorf("%q has a point at %v, outside its em", r, p)
					}
				}
			}
		}
	}
}

func TestCapHeight(t *testing.T) {
	for name, set := range map[string]func(string) ([]*Glyph, error){"bold": Set, "mono": SetMono} {
		g, err := set("H")
		if err != nil {
			t.Fatal(err)
		}
		top := float32(0)
		for _, s := range g[0].Segments {
			top = min(top, s.Pts[0][1])
		}
		if got := -top; got < CapHeight-0.01 || got > CapHeight+0.01 {
			t.Errorf("%s: H is %.3f em high, want %.2f", name, got, CapHeight)
		}
	}
}

func TestMonoHasOneWidth(t *testing.T) {
	glyphs, err := SetMono("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range glyphs {
		if g.Advance != glyphs[0].Advance {
			t.Errorf("advances %g and %g", g.Advance, glyphs[0].Advance)
		}
	}
	if _, err := SetMono("活"); err == nil {
		t.Error("drawn though the font does not have it")
	}
}

func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		"群😀": "emoji", "그룹": "Korean", "❤": "emoji", "👨‍👩‍👧": "emoji", "مجموعة": "right to left", "קבוצה": "right to left", "हिन्दी": "join", "กลุ่ม": "join",
		"a\nb": "control", "a\u200fb": "control", "e\u0301": "mark", "\U00020000": "none of the embedded fonts", "\ufffe": "none",
	} {
		_, err := Set(text)
		var refusal *Refusal
		if !errors.As(err, &refusal) || !strings.Contains(refusal.Reason, want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
