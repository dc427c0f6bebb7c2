package role

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/scanning"
	"github.com/huoma/huoma/internal/token"
)

func TestPictureOfAToken(t *testing.T) {
	k, err := token.NewKeyring(bytes.NewReader(bytes.Repeat([]byte{7}, 256)), time.Unix(1_700_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	id, err := token.ParseCodeID("7zz0kq3m5d8a")
	if err != nil {
		t.Fatal(err)
	}
	p := token.Picture{Code: id, Variant: 3}
	text, err := k.Seal(p)
	if err != nil {
		t.Fatal(err)
	}
	open := identity(k).Picture
	want := scanning.Picture{Code: id.String(), Variant: 3, Tracking: k.Tracking(p)}
	for _, spelt := range []string{text, strings.ToLower(text)} {
		if got, ok := open(spelt); !ok || got != want {
			t.Errorf("Picture(%q) = %+v, %v, want %+v", spelt, got, ok, want)
		}
	}
	for _, foreign := range []string{"", "guessed", text[:33], text[1:] + text[:1]} {
		if _, ok := open(foreign); ok {
			t.Errorf("Picture(%q) was taken", foreign)
		}
	}
}
