package token

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

const (
	secretA = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	secretB = "/v38+/r5+Pf29fTz8vHw7+7t7Ovq6ejn5uXk4+Lh4N8="
)

func ringJSON(keys ...string) string {
	return `{"version":1,"keys":[` + strings.Join(keys, ",") + `]}`
}

func keyJSON(id int, secret, created string) string {
	return fmt.Sprintf(`{"id":%d,"secret":%q,"created":%q}`, id, secret, created)
}

// ring2 is the file form of version 2.
func ring2(keys ...string) string {
	return `{"version":2,"root":"` + secretB + `","keys":[` + strings.Join(keys, ",") + `]}`
}

// with is a key's JSON with one more field.
func with(key, field, value string) string {
	return fmt.Sprintf("%s,%q:%q}", strings.TrimSuffix(key, "}"), field, value)
}

func mustParse(t testing.TB, s string) *Keyring {
	t.Helper()
	k, err := ParseKeyring([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// macKey is the subkey of the oldest key's tags.
func macKey(t *testing.T, k *Keyring) []byte {
	t.Helper()
	b, err := derive(k.get().keys[0].secret, "huoma/token/v1/mac")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPurposesAreSeparate(t *testing.T) {
	k := mustParse(t, ringJSON(keyJSON(0, secretA, "2026-01-01T00:00:00Z")))
	seen := map[string]string{string(k.get().keys[0].secret): "master", string(macKey(t, k)): "mac"}
	for _, name := range []string{"visitor", "api", "cookie", "tracking", ""} {
		b := k.Purpose(name)
		if was, dup := seen[string(b)]; dup || len(b) != 32 {
			t.Errorf("Purpose(%q): %d bytes, the same as %q: %v", name, len(b), was, dup)
		}
		seen[string(b)] = name
		b[0]++ // the caller's own
	}
	if seen[string(k.Purpose("api"))] != "api" {
		t.Error("a caller's change reached the ring")
	}
}

func TestKeyringRoundTrip(t *testing.T) {
	text := ringJSON(keyJSON(31, secretA, "2026-01-01T00:00:00.25Z"), keyJSON(0, secretB, "2026-03-01T12:30:00+08:00"))
	later := ring2(with(keyJSON(31, secretA, "2026-01-01T00:00:00.25Z"), "retired", "2027-01-01T00:00:00Z"), with(keyJSON(0, secretB, "2026-03-01T12:30:00+08:00"), "seals", "2026-03-01T12:35:00+08:00"))
	for _, k := range []*Keyring{mustParse(t, text), mustParse(t, later), testRing(t, 1)} {
		first, err := k.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseKeyring(first)
		if err != nil {
			t.Fatal(err)
		}
		second, err := back.Marshal()
		if err != nil || !bytes.Equal(first, second) {
			t.Errorf("%v\n%s\n%s", err, first, second)
		}
		p := Picture{Code: 1, Variant: 1}
		if mustSeal(t, k, p) != mustSeal(t, back, p) || k.Tracking(p) != back.Tracking(p) {
			t.Error("the ring read back seals otherwise")
		}
	}
	for _, text := range []string{text, later} {
		var got bytes.Buffer
		b, _ := mustParse(t, text).Marshal()
		if err := json.Compact(&got, b); err != nil || got.String() != text {
			t.Errorf("%v\n got %s\nwant %s", err, &got, text)
		}
	}
}

func TestParseKeyringRefuses(t *testing.T) {
	const day = "2026-01-01T00:00:00Z"
	good := keyJSON(0, secretA, day)
	b64 := func(n int) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, n)) }
	for _, row := range []struct{ name, text, want string }{
		{"empty", "", "it is empty"},
		{"blank", " \n", "it is empty"},
		{"cut off", ringJSON(good)[:60], "not the expected JSON"},
		{"another type", `[]`, "not the expected JSON"},
		{"a bare string", `"` + secretA + `"`, "not the expected JSON"},
		{"trailing bytes", ringJSON(good) + "x", "follows its end"},
		{"two rings", ringJSON(good) + ringJSON(good), "follows its end"},
		{"unknown field", `{"version":1,"key":[]}`, "not the expected JSON"},
		{"unknown key field", ringJSON(`{"id":0,"secret":"` + secretA + `","created":"` + day + `","note":""}`), "not the expected JSON"},
		{"no version", `{"keys":[` + good + `]}`, "version 0"},
		{"version 3", `{"version":3,"keys":[` + good + `]}`, "version 3 is newer than 2"},
		{"version 3 with fields of its own", `{"version":3,"rings":[{"id":"a"}]}`, "version 3 is newer than 2"},
		{"version -1", `{"version":-1,"keys":[` + good + `]}`, "version -1"},
		{"version 1 with a root", `{"version":1,"root":"` + secretB + `","keys":[` + good + `]}`, "version 1 has no root"},
		{"version 1 with a time to seal", ringJSON(with(good, "seals", day)), "version 1 has neither"},
		{"version 1 with a retired key", ringJSON(with(good, "retired", day), keyJSON(1, secretB, day)), "version 1 has neither"},
		{"no root", `{"version":2,"keys":[` + good + `]}`, "root has 0 bytes"},
		{"a short root", `{"version":2,"root":"` + b64(31) + `","keys":[` + good + `]}`, "root has 31 bytes"},
		{"seals before it is made", ring2(with(good, "seals", "2025-12-31T00:00:00Z")), "keys[0] seals before it was made"},
		{"seals no time", ring2(with(good, "seals", "soon")), "keys[0].seals is not"},
		{"retired no time", ring2(with(good, "retired", "never"), keyJSON(1, secretB, day)), "keys[0].retired is not"},
		{"retired before it is made", ring2(with(good, "retired", "2025-12-31T00:00:00Z"), keyJSON(1, secretB, day)), "keys[0] was retired before"},
		{"the newest is retired", ring2(with(good, "retired", "2026-12-31T00:00:00Z")), "keys[0] is the newest and retired"},
		{"an older key seals later", ring2(with(good, "seals", "2026-03-01T00:00:00Z"), keyJSON(1, secretB, day)), "keys[1] seals before keys[0]"},
		{"no keys", ringJSON(), "no key"},
		{"no id", ringJSON(`{"secret":"` + secretA + `","created":"` + day + `"}`), "keys[0].id is missing"},
		{"id 32", ringJSON(keyJSON(32, secretA, day)), "outside 0 to 31"},
		{"id -1", ringJSON(keyJSON(-1, secretA, day)), "outside 0 to 31"},
		{"same id twice", ringJSON(good, keyJSON(0, secretB, day)), "keys[1].id 0 is there twice"},
		{"no secret", ringJSON(keyJSON(0, "", day)), "0 bytes instead of 32"},
		{"secret of 31 bytes", ringJSON(keyJSON(0, b64(31), day)), "31 bytes instead of 32"},
		{"secret of 33 bytes", ringJSON(keyJSON(0, b64(33), day)), "33 bytes instead of 32"},
		{"secret cut in the text", ringJSON(keyJSON(0, secretA[:41], day)), "not base64"},
		{"secret without padding", ringJSON(keyJSON(0, secretA[:43], day)), "not base64"},
		{"secret with spare bits", ringJSON(keyJSON(0, secretA[:42]+"9=", day)), "not base64"},
		{"secret with a line end", ringJSON(keyJSON(0, secretA[:20]+"\n"+secretA[20:], day)), "not base64"},
		{"secret of zeros", ringJSON(keyJSON(0, base64.StdEncoding.EncodeToString(make([]byte, 32)), day)), "all zeros"},
		{"no time", ringJSON(keyJSON(0, secretA, "")), "RFC 3339"},
		{"a date", ringJSON(keyJSON(0, secretA, "2026-01-01")), "RFC 3339"},
		{"newest first", ringJSON(good, keyJSON(1, secretB, "2025-12-31T00:00:00Z")), "keys[1] is older than keys[0]"},
	} {
		k, err := ParseKeyring([]byte(row.text))
		if !errors.Is(err, ErrKeyring) || k != nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
			continue
		}
		if strings.Contains(err.Error(), secretA[:8]) {
			t.Errorf("%s: the error quotes the secret: %v", row.name, err)
		}
	}
}

func TestNewKeyringNeedsEnoughRandomness(t *testing.T) {
	if _, err := NewKeyring(bytes.NewReader(make([]byte, 2*masterSize-1)), time.Time{}); err == nil {
		t.Error("a ring was made of 63 bytes")
	}
}

func TestNothingSecretIsPrinted(t *testing.T) {
	k := mustParse(t, ring2(keyJSON(0, secretA, "2026-01-01T00:00:00Z")))
	h := NewVisitorHasher(k.Purpose("visitor"))
	hidden := map[string][]byte{"master": k.get().keys[0].secret, "root": k.get().root, "mac": macKey(t, k), "tracking": k.Purpose("tracking"), "visitor": k.Purpose("visitor")}
	// The hashes that are kept for the next time have taken these keys in.
	k.Tracking(Picture{Code: 1, Variant: 1})
	h.FromCookie("x")
	type private struct {
		ring    Keyring
		pointer *Keyring
		hasher  VisitorHasher
	}
	for _, value := range []any{k, *k, h, &h, []any{k, h}, private{*k, k, h}, &private{*k, k, h}} {
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
		for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(handler).Info("x", "value", value)
		}
		if b, err := json.Marshal(value); err == nil {
			out.Write(b)
		}
		text := strings.ToLower(out.String())
		for name, secret := range hidden {
			decimal := strings.Trim(fmt.Sprint(secret[:6]), "[]")
			for _, form := range []string{
				hex.EncodeToString(secret[:6]), strings.ToLower(base64.StdEncoding.EncodeToString(secret[:6])), decimal,
				strings.ReplaceAll(fmt.Sprintf("%#v", secret[:4])[7:], "}", ""), fmt.Sprintf("% x", secret[:6]), strings.ToLower(string(secret[:6])),
			} {
				if strings.Contains(text, form) {
					t.Errorf("%T shows %s as %q", value, name, form)
				}
			}
		}
	}
}

func TestVisitorHasher(t *testing.T) {
	key := bytes.Repeat([]byte{1}, 32)
	h := NewVisitorHasher(key)
	want := h.FromOpenID("a")
	key[0]++ // the hasher keeps its own copy
	if h.FromOpenID("a") != want {
		t.Error("the caller's key is shared")
	}
	if h.FromCookie("a") == want || NewVisitorHasher(key).FromOpenID("a") == want {
		t.Error("another kind or key gives the same visitor")
	}
	if h.FromCookie("") != "" || h.FromOpenID("") != "" {
		t.Error("nobody has a visitor hash")
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		v := h.FromCookie(fmt.Sprint(r.Uint64()))
		if len(v) != VisitorLength || strings.Trim(v, "abcdefghijklmnopqrstuvwxyz234567") != "" {
			t.Fatalf("visitor %q", v)
		}
	}
}
