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
	now := time.Unix(1_800_000_000, 0)
	open := identity(still{k}).Picture
	want := scanning.Picture{Code: id.String(), Variant: 3, Tracking: k.Tracking(p)}
	for _, spelt := range []string{text, strings.ToLower(text)} {
		if got, refused := open(spelt, id.String(), now); refused != "" || got != want {
			t.Errorf("Picture(%q) = %+v, %s, want %+v", spelt, got, refused, want)
		}
	}
	for _, foreign := range []string{"", "guessed", text[:33], text[1:] + text[:1]} {
		if _, refused := open(foreign, id.String(), now); refused == "" {
			t.Errorf("Picture(%q) was taken", foreign)
		}
	}
}
