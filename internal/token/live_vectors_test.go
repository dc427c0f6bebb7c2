package token

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
)

// TestLiveVectors holds live tokens against schemas/token/live.json, which another implementation computed from the steps told there.
func TestLiveVectors(t *testing.T) {
	b, err := os.ReadFile("../../schemas/token/live.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Keyring json.RawMessage `json:"keyring"`
		Devices []struct {
			Name   string
			Code   CodeID
			Device uint32
		}
		Sealed []struct {
			Key      int
			Code     CodeID
			Variant  int
			Device   uint32
			Minute   Minute
			Payload  string
			Token    string
			Tracking string
		}
		Opened []struct {
			Name  string
			Now   Minute
			Token string
			Says  string
		}
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	ring, err := ParseKeyring(v.Keyring)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range v.Devices {
		if got := ring.Device(row.Code, row.Name); got != row.Device {
			t.Errorf("Device(%s, %q) = %d, want %d", row.Code, row.Name, got, row.Device)
		}
	}
	for _, row := range v.Sealed {
		l := Live{Picture{Code: row.Code, Variant: row.Variant}, row.Device, row.Minute}
		seals := ring
		for _, key := range ring.Keys() {
			if key.ID == row.Key {
				seals = ring.At(key.Seals)
			}
		}
		payload, err := l.packLive()
		if err != nil || hex.EncodeToString(payload[:]) != row.Payload {
			t.Errorf("%+v: payload %x, %v, want %s", l, payload, err, row.Payload)
		}
		if got, err := seals.SealLive(l); err != nil || got != row.Token || seals.NewestID() != row.Key {
			t.Errorf("%+v with key %d is %s, %v, want %s with key %d", l, seals.NewestID(), got, err, row.Token, row.Key)
		}
		if got, err := seals.OpenLive(row.Token, row.Minute); err != nil || got != l {
			t.Errorf("OpenLive(%s) = %+v, %v, want %+v", row.Token, got, err, l)
		}
		if got := ring.LiveTracking(l); got != row.Tracking {
			t.Errorf("LiveTracking(%+v) = %s, want %s", l, got, row.Tracking)
		}
	}
	seen := map[string]int{}
	for _, row := range v.Opened {
		got, err := ring.OpenLive(row.Token, row.Now)
		says := string(ReasonOf(err))
		switch {
		case err == nil:
			says = "open"
		case errors.Is(err, ErrStale):
			says = "stale"
		case !errors.Is(err, ErrForged) || got != (Live{}):
			t.Errorf("%s: %+v, %v", row.Name, got, err)
		}
		if says != row.Says {
			t.Errorf("%s: %s (%v), want %s", row.Name, says, err, row.Says)
		}
		seen[says]++
	}
	for _, says := range []string{"open", "stale", string(ReasonLength), string(ReasonAlphabet), string(ReasonVersion), string(ReasonUnknownKey), string(ReasonSeal), string(ReasonReserved)} {
		if seen[says] == 0 {
			t.Errorf("nothing is %s", says)
		}
	}
	if len(v.Sealed) < 24 {
		t.Errorf("only %d vectors", len(v.Sealed))
	}
}
