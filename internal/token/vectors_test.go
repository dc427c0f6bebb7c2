package token

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"testing"
)

// vectors is schemas/token/vectors.json, which was computed by another implementation of the format.
type vectors struct {
	Keyring json.RawMessage `json:"keyring"`
	Sealed  []struct {
		Key      int    `json:"key"`
		Code     string `json:"code"`
		Variant  int    `json:"variant"`
		Number   uint32 `json:"number"`
		Payload  string `json:"payload"`
		Token    string `json:"token"`
		Tracking string `json:"tracking"`
	} `json:"sealed"`
	Refused []struct {
		Name   string `json:"name"`
		Token  string `json:"token"`
		Reason Reason `json:"reason"`
	} `json:"refused"`
	Purposes []struct {
		Name   string `json:"name"`
		Subkey string `json:"subkey"`
	} `json:"purposes"`
	CodeIDs []struct {
		Value string `json:"value"`
		Text  string `json:"text"`
	} `json:"code_ids"`
	Derived struct {
		Purpose string `json:"purpose"`
		IDs     []struct {
			Key  string `json:"idempotency_key"`
			Code string `json:"code"`
		} `json:"ids"`
	} `json:"derived_code_ids"`
	Visitors struct {
		Purpose string `json:"purpose"`
		Hashes  []struct {
			Kind    string `json:"kind"`
			Value   string `json:"value"`
			Visitor string `json:"visitor"`
		} `json:"hashes"`
	} `json:"visitors"`
}

func loadVectors(t testing.TB) vectors {
	t.Helper()
	b, err := os.ReadFile("../../schemas/token/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Sealed) < 5 || len(v.Refused) < 15 {
		t.Fatalf("only %d sealed and %d refused vectors", len(v.Sealed), len(v.Refused))
	}
	return v
}

// only returns a ring of k's oldest key and the one with this id, so that this one seals.
func only(t testing.TB, k *Keyring, id int) *Keyring {
	t.Helper()
	keys := []*masterKey{k.get().keys[0]}
	if id != k.get().keys[0].id {
		keys = append(keys, k.get().byID[id])
	}
	return newRing(k.get().version, k.get().root, keys)
}

func TestVectors(t *testing.T) {
	v := loadVectors(t)
	ring, err := ParseKeyring(v.Keyring)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range v.Sealed {
		id, err := ParseCodeID(row.Code)
		if err != nil {
			t.Fatal(err)
		}
		p := Picture{Code: id, Variant: row.Variant, Number: row.Number}
		if payload, err := p.pack(); err != nil || hex.EncodeToString(payload[:]) != row.Payload {
			t.Errorf("%+v: payload %x, %v, want %s", p, payload, err, row.Payload)
		}
		if got, err := only(t, ring, row.Key).Seal(p); err != nil || got != row.Token {
			t.Errorf("Seal(%+v) with key %d = %s, %v, want %s", p, row.Key, got, err, row.Token)
		}
		if got, err := ring.Open(row.Token); err != nil || got != p {
			t.Errorf("Open(%s) = %+v, %v, want %+v", row.Token, got, err, p)
		}
		if got := ring.Tracking(p); got != row.Tracking {
			t.Errorf("Tracking(%+v) = %s, want %s", p, got, row.Tracking)
		}
	}
	for _, row := range v.Refused {
		got, err := ring.Open(row.Token)
		if !errors.Is(err, ErrForged) || ReasonOf(err) != row.Reason || got != (Picture{}) {
			t.Errorf("%s: Open = %+v, %v (%s), want reason %s", row.Name, got, err, ReasonOf(err), row.Reason)
		}
	}
	for _, row := range v.Purposes {
		if got := hex.EncodeToString(ring.Purpose(row.Name)); got != row.Subkey {
			t.Errorf("Purpose(%q) = %s, want %s", row.Name, got, row.Subkey)
		}
	}
	for _, row := range v.CodeIDs {
		n, err := strconv.ParseUint(row.Value, 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		if got := FormatCodeID(n); got != row.Text {
			t.Errorf("FormatCodeID(%#x) = %s, want %s", n, got, row.Text)
		}
		if got, err := ParseCodeID(row.Text); err != nil || uint64(got) != n {
			t.Errorf("ParseCodeID(%s) = %#x, %v, want %#x", row.Text, uint64(got), err, n)
		}
	}
	for _, row := range v.Derived.IDs {
		if got := DeriveCodeID(ring.Purpose(v.Derived.Purpose), row.Key).String(); got != row.Code {
			t.Errorf("DeriveCodeID(%q) = %s, want %s", row.Key, got, row.Code)
		}
	}
	h := NewVisitorHasher(ring.Purpose(v.Visitors.Purpose))
	for _, row := range v.Visitors.Hashes {
		hash := map[string]func(string) string{"openid": h.FromOpenID, "cookie": h.FromCookie}[row.Kind]
		if got := hash(row.Value); got != row.Visitor || len(got) != VisitorLength {
			t.Errorf("visitor of %s %q = %s, want %s", row.Kind, row.Value, got, row.Visitor)
		}
	}
}
