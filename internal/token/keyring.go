package token

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
)

const (
	// MaxKeys is how many keys a ring may hold; ids are 0 to MaxKeys − 1.
	MaxKeys = 32

	masterSize     = 32
	keyringVersion = 1
	redacted       = "token.Keyring(redacted)"
)

// ErrKeyring is matched by every error of [ParseKeyring].
var ErrKeyring = errors.New("the keyring is not usable")

// A Keyring holds the master keys of an installation, oldest first. The newest seals, all open; the
// oldest is the root of [Keyring.Purpose], [Keyring.Tracking] and so of visitor hashes: taking
// it out of the ring changes them all. Immutable and safe for concurrent use. Nothing that prints, logs or
// encodes it shows a key, but for [Keyring.Marshal].
// The zero Keyring is of no use.
type Keyring struct {
	// A function, since of a struct's unexported fields fmt prints everything but what a function closes over.
	get func() *ring
}

type ring struct {
	keys     []*masterKey // oldest first
	byID     [MaxKeys]*masterKey
	tracking mac // under a subkey, see Tracking
}

type masterKey struct {
	id      int
	secret  []byte
	created time.Time
	sealer  *sealer
}

// newKeyring makes keys ready; it owns them from here on.
func newKeyring(keys []*masterKey) (*Keyring, error) {
	r := &ring{keys: keys}
	k := &Keyring{get: func() *ring { return r }}
	for _, m := range keys {
		s, err := newSealer(m.id, m.secret)
		if err != nil {
			return nil, fmt.Errorf("derive keys: %w", err)
		}
		m.sealer = s
		r.byID[m.id] = m
	}
	r.tracking = newMAC(k.Purpose("tracking"))
	return k, nil
}

// NewKeyring draws a ring of one key with id 0 from rand, which is crypto/rand.Reader outside tests.
// created is kept for operators, in whole seconds.
func NewKeyring(rand io.Reader, created time.Time) (*Keyring, error) {
	secret := make([]byte, masterSize)
	if _, err := io.ReadFull(rand, secret); err != nil {
		return nil, fmt.Errorf("draw a master key: %w", err)
	}
	return newKeyring([]*masterKey{{secret: secret, created: created.UTC().Truncate(time.Second)}})
}

func (r *ring) newest() *masterKey { return r.keys[len(r.keys)-1] }

// Len returns the number of keys, at least 1.
func (k *Keyring) Len() int { return len(k.get().keys) }

// NewestID returns the id of the key that seals.
func (k *Keyring) NewestID() int { return k.get().newest().id }

// Purpose returns a 32-byte subkey of the oldest key for a use outside this package (visitor
// hashes, API keys, cookies). The same name gives the same subkey for as long as the oldest key stays in
// the ring; different names give unrelated ones, from which the master key cannot be found. The caller owns the bytes.
func (k *Keyring) Purpose(name string) []byte {
	b, err := derive(k.get().keys[0].secret, "huoma/purpose/v1/"+name)
	if err != nil {
		// HKDF fails only for an output of more than 255 hashes, and this one is a single hash.
		panic("token: derive a subkey: " + err.Error())
	}
	return b
}

// keyringFile is the JSON form; schemas/token/vectors.json has examples.
type keyringFile struct {
	Version int       `json:"version"`
	Keys    []keyFile `json:"keys"`
}

// keyFile's id is a pointer so that a missing one is not key 0.
type keyFile struct {
	ID      *int   `json:"id"`
	Secret  string `json:"secret"`
	Created string `json:"created"`
}

// Marshal returns the ring's file form, secrets included, oldest key first:
//
//	{"version":1,"keys":[{"id":0,"secret":"<32 bytes, base64>","created":"<RFC 3339>"}]}
func (k *Keyring) Marshal() ([]byte, error) {
	f := keyringFile{Version: keyringVersion}
	for _, m := range k.get().keys {
		f.Keys = append(f.Keys, keyFile{
			ID:      &m.id,
			Secret:  base64.StdEncoding.EncodeToString(m.secret),
			Created: m.created.Format(time.RFC3339Nano),
		})
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write keyring: %w", err)
	}
	return append(b, '\n'), nil
}

// ParseKeyring reads what [Keyring.Marshal] writes. It is strict: an unknown field, bytes after the end, a
// repeated id, a secret that is not exactly 32 bytes or a key older than the one before it are
// errors which match [ErrKeyring], name the place and never quote a secret.
func ParseKeyring(b []byte) (*Keyring, error) {
	bad := func(format string, args ...any) (*Keyring, error) {
		return nil, fmt.Errorf("%w: %s; restore it from a backup, or printed codes cannot be read", ErrKeyring, fmt.Sprintf(format, args...))
	}
	var f keyringFile
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		// The decoder's own text may quote what it read, so only the place is passed on.
		return bad("it is not the expected JSON (near byte %d of %d)", d.InputOffset(), len(b))
	}
	if _, err := d.Token(); err != io.EOF {
		return bad("something follows its end (byte %d)", d.InputOffset())
	}
	if f.Version != keyringVersion {
		return bad("version %d is not %d, the one this program reads", f.Version, keyringVersion)
	}
	if len(f.Keys) == 0 {
		return bad("it holds no key")
	}
	var seen [MaxKeys]bool
	var keys []*masterKey
	for i, kf := range f.Keys {
		if kf.ID == nil {
			return bad("keys[%d].id is missing", i)
		}
		id := *kf.ID
		if id < 0 || id >= MaxKeys {
			return bad("keys[%d].id %d is outside 0 to %d", i, id, MaxKeys-1)
		}
		if seen[id] {
			return bad("keys[%d].id %d is there twice", i, id)
		}
		seen[id] = true
		// The decoder skips line ends; a secret has none.
		secret, err := base64.StdEncoding.Strict().DecodeString(kf.Secret)
		if err != nil || strings.ContainsAny(kf.Secret, "\r\n") {
			return bad("keys[%d].secret is not base64", i)
		}
		if len(secret) != masterSize {
			return bad("keys[%d].secret has %d bytes instead of %d", i, len(secret), masterSize)
		}
		if bytes.Count(secret, []byte{0}) == masterSize {
			return bad("keys[%d].secret is all zeros", i)
		}
		created, err := time.Parse(time.RFC3339, kf.Created)
		if err != nil {
			return bad("keys[%d].created is not an RFC 3339 time", i)
		}
		if i > 0 && created.Before(keys[i-1].created) {
			return bad("keys[%d] is older than keys[%d], and the oldest comes first", i, i-1)
		}
		keys = append(keys, &masterKey{id: id, secret: secret, created: created})
	}
	return newKeyring(keys)
}

// String says nothing secret.
func (Keyring) String() string { return redacted }

// GoString says nothing secret.
func (Keyring) GoString() string { return redacted }

// Format says nothing secret, whatever the verb.
func (Keyring) Format(s fmt.State, _ rune) { io.WriteString(s, redacted) }

// LogValue says nothing secret.
func (Keyring) LogValue() slog.Value { return slog.StringValue(redacted) }
