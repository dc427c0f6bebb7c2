package token

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
)

// TestFormatVectors holds every format against schemas/token/formats.json, which another implementation computed from the steps told there.
func TestFormatVectors(t *testing.T) {
	b, err := os.ReadFile("../../schemas/token/formats.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Keyring json.RawMessage `json:"keyring"`
		Sealed  []struct {
			Format   string `json:"format"`
			Key      int    `json:"key"`
			Code     CodeID `json:"code"`
			Variant  int    `json:"variant"`
			Number   uint32 `json:"number"`
			Payload  string `json:"payload"`
			Token    string `json:"token"`
			Tracking string `json:"tracking"`
		} `json:"sealed"`
		Refused []struct {
			Name, Token string
			Reason      Reason
		} `json:"refused"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	ring, err := ParseKeyring(v.Keyring)
	if err != nil {
		t.Fatal(err)
	}
	named, seen := map[string]Format{}, map[Reason]int{}
	for _, f := range formats {
		named[f.String()] = f
	}
	ids := map[ShortID]Picture{}
	resolve := func(id ShortID) (Picture, bool) { p, ok := ids[id]; return p, ok }
	for _, row := range v.Sealed {
		f, p := named[row.Format], Picture{row.Code, row.Variant, row.Number}
		seals := ring.At(ring.get().keys[0].created)
		for _, key := range ring.Keys() {
			if key.ID == row.Key {
				seals = ring.At(key.Seals)
			}
		}
		payload, err := p.pack()
		if err != nil || hex.EncodeToString(payload[:]) != row.Payload {
			t.Errorf("%+v: payload %x, %v, want %s", p, payload, err, row.Payload)
		}
		if got, err := seals.SealAs(f, p); err != nil || got != row.Token || seals.NewestID() != row.Key {
			t.Errorf("%s of %+v with key %d is %s, %v, want %s with key %d", f, p, seals.NewestID(), got, err, row.Token, row.Key)
		}
		if err := ring.At(seals.get().at).ShortIDs(f, p, func(id ShortID) { ids[id] = p }); err != nil {
			t.Fatal(err)
		}
		if got, err := seals.OpenWith(row.Token, resolve); err != nil || got != p {
			t.Errorf("Open(%s) = %+v, %v, want %+v", row.Token, got, err, p)
		}
		if got := ring.Tracking(p); got != row.Tracking {
			t.Errorf("Tracking(%+v) = %s, want %s", p, got, row.Tracking)
		}
	}
	for _, row := range v.Refused {
		got, err := ring.OpenWith(row.Token, resolve)
		if !errors.Is(err, ErrForged) || ReasonOf(err) != row.Reason || got != (Picture{}) {
			t.Errorf("%s: Open = %+v, %v (%s), want reason %s", row.Name, got, err, ReasonOf(err), row.Reason)
		}
		seen[row.Reason]++
	}
	for _, r := range Reasons {
		if seen[r] == 0 {
			t.Errorf("nothing is refused for %s", r)
		}
	}
	if len(v.Sealed) < 12*len(formats) {
		t.Errorf("only %d vectors", len(v.Sealed))
	}
}
