package token

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Versions of the keyring's file form. In version 1 the oldest key's secret is the root, and no key is prepared or retired.
const (
	keyringVersion = 2
	firstVersion   = 1
)

// ErrKeyring is matched by every error of [ParseKeyring].
var ErrKeyring = errors.New("the keyring is not usable")

// keyringFile is the JSON form; schemas/token has examples.
type keyringFile struct {
	Version int       `json:"version"`
	Root    string    `json:"root,omitempty"`
	Keys    []keyFile `json:"keys"`
}

// keyFile's id is a pointer so that a missing one is not key 0.
type keyFile struct {
	ID      *int   `json:"id"`
	Secret  string `json:"secret"`
	Created string `json:"created"`
	Seals   string `json:"seals,omitempty"`
	Retired string `json:"retired,omitempty"`
}

// Marshal returns the ring's file form, secrets included, oldest key first. A ring that was read from version 1 and not changed is
// written like that, all others as
//
//	{"version":2,"root":"<32 bytes, base64>","keys":[
//	  {"id":0,"secret":"<32 bytes, base64>","created":"<RFC 3339>","seals":"<RFC 3339>","retired":"<RFC 3339>"}]}
//
// where seals is left out if it is created, and retired if it is never.
func (k *Keyring) Marshal() ([]byte, error) {
	r := k.get()
	f := keyringFile{Version: r.version}
	if r.version > firstVersion {
		f.Root = base64.StdEncoding.EncodeToString(r.root)
	}
	for _, m := range r.keys {
		kf := keyFile{ID: &m.id, Secret: base64.StdEncoding.EncodeToString(m.secret), Created: m.created.Format(time.RFC3339Nano)}
		if !m.seals.Equal(m.created) {
			kf.Seals = m.seals.Format(time.RFC3339Nano)
		}
		if !m.retired.IsZero() {
			kf.Retired = m.retired.Format(time.RFC3339Nano)
		}
		f.Keys = append(f.Keys, kf)
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write keyring: %w", err)
	}
	return append(b, '\n'), nil
}

const fromBackup = "restore it from a backup, or printed codes cannot be read"

// ParseKeyring reads what [Keyring.Marshal] writes, of both versions. It is strict: an unknown field, bytes after the end, a
// repeated id, a secret that is not exactly 32 bytes or a key older than the one before it are
// errors which match [ErrKeyring], name the place and never quote a secret.
func ParseKeyring(b []byte) (*Keyring, error) {
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, badRing("it is empty", fromBackup)
	}
	var f keyringFile
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(&f)
	if f.Version > keyringVersion { // which may have fields that this program does not know
		return nil, badRing(fmt.Sprintf("its version %d is newer than %d, the newest this program reads", f.Version, keyringVersion), "upgrade this program, or restore the keyring of before the upgrade")
	}
	if err != nil {
		// The decoder's own text may quote what it read, so only the place is passed on.
		return nil, badRing(fmt.Sprintf("it is not the expected JSON (near byte %d of %d)", d.InputOffset(), len(b)), fromBackup)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, badRing(fmt.Sprintf("something follows its end (byte %d)", d.InputOffset()), fromBackup)
	}
	k, reason := f.ring()
	if reason != "" {
		return nil, badRing(reason, fromBackup)
	}
	return k, nil
}

func badRing(reason, remedy string) error {
	return fmt.Errorf("%w: %s; %s", ErrKeyring, reason, remedy)
}

// ring makes the ring, or says what is wrong.
func (f *keyringFile) ring() (k *Keyring, reason string) {
	switch {
	case f.Version < firstVersion:
		return nil, fmt.Sprintf("version %d is not %d or %d", f.Version, firstVersion, keyringVersion)
	case len(f.Keys) == 0:
		return nil, "it holds no key"
	case f.Version == firstVersion && f.Root != "":
		return nil, "version 1 has no root"
	}
	var root []byte
	if f.Version > firstVersion {
		if root, reason = secretOf("root", f.Root); reason != "" {
			return nil, reason
		}
	}
	var seen [MaxKeys]bool
	var keys []*masterKey
	for i := range f.Keys {
		m, reason := f.Keys[i].key(fmt.Sprintf("keys[%d]", i), f.Version)
		if reason != "" {
			return nil, reason
		}
		if seen[m.id] {
			return nil, fmt.Sprintf("keys[%d].id %d is there twice", i, m.id)
		}
		seen[m.id] = true
		if i > 0 {
			switch last := keys[i-1]; {
			case m.created.Before(last.created):
				return nil, fmt.Sprintf("keys[%d] is older than keys[%d], and the oldest comes first", i, i-1)
			case m.seals.Before(last.seals):
				return nil, fmt.Sprintf("keys[%d] seals before keys[%d], and the newest seals last", i, i-1)
			}
		}
		if i == len(f.Keys)-1 && !m.retired.IsZero() {
			return nil, fmt.Sprintf("keys[%d] is the newest and retired: nothing could seal", i)
		}
		keys = append(keys, m)
	}
	if f.Version == firstVersion {
		root = keys[0].secret
	}
	return newRing(f.Version, root, keys), ""
}

// key reads one key. at is its place.
func (kf *keyFile) key(at string, version int) (m *masterKey, reason string) {
	switch {
	case kf.ID == nil:
		return nil, at + ".id is missing"
	case *kf.ID < 0 || *kf.ID >= MaxKeys:
		return nil, fmt.Sprintf("%s.id %d is outside 0 to %d", at, *kf.ID, MaxKeys-1)
	case version == firstVersion && kf.Seals+kf.Retired != "":
		return nil, at + ": version 1 has neither seals nor retired"
	}
	secret, reason := secretOf(at+".secret", kf.Secret)
	if reason != "" {
		return nil, reason
	}
	created, err := time.Parse(time.RFC3339, kf.Created)
	if err != nil {
		return nil, at + ".created is not an RFC 3339 time"
	}
	seals := created
	if kf.Seals != "" {
		if seals, err = time.Parse(time.RFC3339, kf.Seals); err != nil {
			return nil, at + ".seals is not an RFC 3339 time"
		}
	}
	var retired time.Time
	if kf.Retired != "" {
		if retired, err = time.Parse(time.RFC3339, kf.Retired); err != nil || retired.IsZero() {
			return nil, at + ".retired is not an RFC 3339 time"
		}
	}
	switch {
	case seals.Before(created):
		return nil, at + " seals before it was made"
	case !retired.IsZero() && retired.Before(created):
		return nil, at + " was retired before it was made"
	}
	if m, err = newMasterKey(*kf.ID, secret, created, seals, retired); err != nil {
		return nil, at + ": no keys can be derived"
	}
	return m, ""
}

func secretOf(at, text string) (secret []byte, reason string) {
	// The decoder skips line ends; a secret has none.
	secret, err := base64.StdEncoding.Strict().DecodeString(text)
	switch {
	case err != nil || strings.ContainsAny(text, "\r\n"):
		return nil, at + " is not base64"
	case len(secret) != masterSize:
		return nil, fmt.Sprintf("%s has %d bytes instead of %d", at, len(secret), masterSize)
	case bytes.Count(secret, []byte{0}) == masterSize:
		return nil, at + " is all zeros"
	}
	return secret, ""
}
