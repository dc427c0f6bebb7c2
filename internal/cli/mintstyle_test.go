package cli

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/huoma/huoma/internal/cli/client"
)

func TestParseVariant(t *testing.T) {
	for _, row := range []struct {
		text string
		want client.Variant
		err  string
	}{
		{"red", client.Variant{Name: "red"}, ""},
		{"A, fg=#7a1f1f,bg=#fff,shape=dots,badge=VIP,copy=Join us", client.Variant{Name: "A", Foreground: "#7a1f1f", Background: "#fff", Shape: "dots", Badge: "VIP", Copy: "Join us"}, ""},
		{"A,copy=a=b", client.Variant{Name: "A", Copy: "a=b"}, ""},
		{"fg=#fff", client.Variant{}, "begin with its name"},
		{"A,dots", client.Variant{}, "name=value"},
		{"A,size=3", client.Variant{}, "use fg, bg, shape, badge and copy"},
	} {
		got, err := parseVariant(row.text)
		if row.err == "" && (err != nil || got != row.want) || row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)) {
			t.Errorf("%s: %+v, %v, want %+v, %q", row.text, got, err, row.want, row.err)
		}
	}
}

func TestStyleFlags(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "logo.png")
	if err := os.WriteFile(text, []byte("not an image"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		f    styleFlags
		want *client.Style
		err  string
	}{
		{"nothing", styleFlags{}, nil, ""},
		{"some", styleFlags{FG: "#123", Shape: "round", MM: 30, DPI: 600, Quiet: 6, Badge: "3群"}, &client.Style{Foreground: "#123", Shape: "round", MM: 30, DPI: 600, Quiet: 6, Badge: "3群"}, ""},
		{"less than nothing", styleFlags{MM: -1}, nil, "above 0"},
		{"no file", styleFlags{Logo: filepath.Join(dir, "nothing.png")}, nil, "cannot be read"},
		{"no image", styleFlags{Logo: text}, nil, "no PNG or JPEG"},
	} {
		got, err := row.f.style()
		if row.err == "" && (err != nil || !reflect.DeepEqual(got, row.want)) || row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)) {
			t.Errorf("%s: %+v, %v, want %+v, %q", row.name, got, err, row.want, row.err)
		}
	}
}
