package cli

import (
	"bytes"
	"encoding/json"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/huoma/huoma/internal/cli/client"
	"github.com/huoma/huoma/internal/qr/watermark/harm"
	"github.com/huoma/huoma/internal/token/keyfile"
)

// found is what huoma trace --json prints.
type found struct {
	client.Trace
	Confidence float64 `json:"confidence"`
	Content    string  `json:"content"`
}

func parseFound(t testing.TB, r result) (f found) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.out), &f); err != nil {
		t.Fatalf("%q: %v", r.out, err)
	}
	return f
}

// A press shop's picture turns up in a forum, recompressed.
func TestTraceAPicture(t *testing.T) {
	in := install(t)
	dir := t.TempDir()
	in.on(t, "mint", "https://example.com/g", "--owner", "alice", "--name", "spring", "--out", dir, "--device", "press shop", "--size", "600").ok(t)
	names, err := filepath.Glob(dir + "/*.png")
	if err != nil || len(names) != 1 {
		t.Fatalf("%v, %v", names, err)
	}
	original, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(original))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, harm.Turn(img, 2), &jpeg.Options{Quality: 70}); err != nil {
		t.Fatal(err)
	}
	leaked := filepath.Join(dir, "leaked.jpg")
	if err := os.WriteFile(leaked, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}

	var f found
	eventually(t, "the names are kept", func() bool {
		f = parseFound(t, in.on(t, "trace", leaked, "--json"))
		return len(f.Claims) == 1 && f.Claims[0].First != ""
	})
	if !f.Found || f.Claims[0].Issuer != "alice" || f.Claims[0].Device != "press shop" || f.Code == "" || f.Name != "spring" || f.Confidence < 1-1e-11 || f.Confidence > 1 {
		t.Errorf("%+v", f)
	}
	text := in.on(t, "trace", leaked).ok(t)
	for _, want := range []string{f.Trace.Trace, "alice", "press shop, first asked for a picture at 20", f.Code + " spring, variant 1, print 0", "a chance below 9e-13"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if piped := runApp(t, &App{}, b.String(), "trace", "-", "--gateway", in.gateway, "--api-key", testKey).ok(t); piped != text {
		t.Errorf("from standard input:\n%s", piped)
	}

	// With the keyring the mark is read here.
	here := parseFound(t, in.on(t, "trace", leaked, "--keyring", in.keyring, "--json"))
	if !here.Found || here.Trace.Trace != f.Trace.Trace || len(here.Claims) != 1 || here.Claims[0] != f.Claims[0] || here.Code != f.Code || here.Registry != "read" {
		t.Errorf("with the keyring: %+v", here)
	}
	alone := run(t, "trace", leaked, "--keyring", in.keyring, "--gateway", "http://127.0.0.1:1", "--json")
	if got := parseFound(t, alone); alone.code != exitOK || got.Trace.Trace != f.Trace.Trace || len(got.Claims) != 0 || got.Registry != "away" || !strings.Contains(alone.stderr, "no gateway answers") {
		t.Errorf("without a gateway: %+v, %s", got, alone.stderr)
	}
	test := func(issuer, device string) result {
		return run(t, "trace", leaked, "--keyring", in.keyring, "--gateway", "http://127.0.0.1:1", "--issuer", issuer, "--device", device)
	}
	if r := test("alice", "press shop"); r.code != exitOK || r.stderr != "" || !strings.Contains(r.out, "press shop") {
		t.Errorf("the right guess: %+v", r)
	}
	if r := test("bob", "press shop"); r.code != exitOK || !strings.Contains(r.stderr, "is not that issuer's") || strings.Contains(r.out, "bob") {
		t.Errorf("a wrong guess: %+v", r)
	}
	other := filepath.Join(dir, "other.json")
	if _, err := keyfile.Create(other); err != nil {
		t.Fatal(err)
	}
	if r := in.on(t, "trace", leaked, "--keyring", other); r.code != exitNoMark || r.out != "" {
		t.Errorf("with another installation's keyring: %+v", r)
	}
}

func TestTraceSaysWhyNot(t *testing.T) {
	in := install(t)
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	in.on(t, "mint", "https://example.com/g", "--profile", "wechat-group", "--out", dir, "--size", "512").ok(t)
	plainPictures, err := filepath.Glob(dir + "/*.png")
	if err != nil || len(plainPictures) != 1 {
		t.Fatalf("%v, %v", plainPictures, err)
	}
	whole, err := os.ReadFile(plainPictures[0])
	if err != nil {
		t.Fatal(err)
	}
	grey := image.NewGray(image.Rect(0, 0, 200, 200))
	for i := range grey.Pix {
		grey.Pix[i] = color.Gray{uint8(i)}.Y
	}
	var b bytes.Buffer
	if err := png.Encode(&b, grey); err != nil {
		t.Fatal(err)
	}
	bomb := bytes.Clone(whole)
	copy(bomb[16:], []byte{0, 1, 0x86, 0xa0, 0, 1, 0x86, 0xa0}) // 100 000 × 100 000; the checksum is wrong too
	for _, row := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"no file named", []string{"trace"}, exitUsage, "picture"},
		{"no such file", []string{"trace", dir + "/nothing.png"}, exitError, "name a PNG or JPEG file"},
		{"a folder", []string{"trace", dir}, exitError, "name a PNG or JPEG file"},
		{"a text", []string{"trace", write("text.png", []byte("hello"))}, exitNoPicture, "neither a PNG nor a JPEG"},
		{"half a picture", []string{"trace", write("half.png", whole[:len(whole)/2])}, exitNoPicture, "damaged"},
		{"a bomb", []string{"trace", write("bomb.png", bomb)}, exitNoPicture, ""},
		{"no symbol", []string{"trace", write("grey.png", b.Bytes())}, exitNoSymbol, "no QR symbol"},
		{"no mark", []string{"trace", plainPictures[0]}, exitNoMark, "no watermark of this installation"},
		{"no mark, in JSON", []string{"trace", plainPictures[0], "--json"}, exitNoMark, "no watermark of this installation"},
		{"no mark, with the keyring", []string{"trace", plainPictures[0], "--keyring", in.keyring}, exitNoMark, "no watermark of this installation"},
		{"no keyring", []string{"trace", plainPictures[0], "--keyring", dir + "/none.json"}, exitError, "--keyring"},
		{"a guess without the keyring", []string{"trace", plainPictures[0], "--issuer", "a"}, exitUsage, "need --keyring"},
	} {
		r := in.on(t, row.args...)
		if r.code != row.code || !strings.Contains(r.stderr, row.says) || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%s: exit status %d, want %d: %q", row.name, r.code, row.code, r.stderr)
		}
		if strings.HasSuffix(row.name, "JSON") {
			if f := parseFound(t, r); f.Found || f.Reason != "no-evidence" || f.Confidence != 0 || f.Code == "" {
				t.Errorf("%s: %+v", row.name, f)
			}
		} else if r.out != "" {
			t.Errorf("%s: printed %q", row.name, r.out)
		}
	}
	if r := run(t, "trace", plainPictures[0], "--gateway", "http://127.0.0.1:1"); r.code != exitError || !strings.Contains(r.stderr, "no gateway answers") {
		t.Errorf("no gateway: %+v", r)
	}
	if r := run(t, "trace", plainPictures[0], "--gateway", in.gateway, "--api-key", "wrong-key-of-somebody"); r.code != exitError || !strings.Contains(r.stderr, "API key") {
		t.Errorf("a wrong key: %+v", r)
	}
}
