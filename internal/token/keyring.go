package token

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"
)

const (
	// MaxKeys is how many keys a ring may hold; ids are 0 to MaxKeys − 1.
	MaxKeys = 32

	masterSize = 32
	redacted   = "token.Keyring(redacted)"
)

// forever is the time of a ring that was not asked for another: every key seals that ever will, and what is retired is.
var forever = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// A Keyring holds the master keys of an installation, oldest first, and a root that is older than all of them. The newest key seals, all
// open until they are retired; see [Keyring.At]. Of the root are [Keyring.Purpose], [Keyring.Tracking] and so visitor hashes: keys come
// and go without changing them. Immutable and safe for concurrent use. Nothing that prints, logs or
// encodes it shows a key, but for [Keyring.Marshal].
// The zero Keyring is of no use.
type Keyring struct {
	// A function, since of a struct's unexported fields fmt prints everything but what a function closes over.
	get func() *ring
}

type ring struct {
	version  int // of the file it was read from
	root     []byte
	keys     []*masterKey // oldest first
	byID     [MaxKeys]*masterKey
	sealing  *masterKey
	at       time.Time // byID and sealing are of this time
	tracking mac       // under a subkey, see Tracking
	devices  mac       // under another, see Device and LiveTracking
}

type masterKey struct {
	id      int
	secret  []byte
	created time.Time
	seals   time.Time // from when on it seals
	retired time.Time // from when on it does not open; zero: never

	sealer *sealer
	sm     *smSealer
	short  *shortener
	live   *liveDeriver
}

func newMasterKey(id int, secret []byte, created, seals, retired time.Time) (m *masterKey, err error) {
	m = &masterKey{id: id, secret: secret, created: created, seals: seals, retired: retired}
	if m.sealer, err = newSealer(id, secret); err == nil {
		if m.sm, err = newSMSealer(id, secret); err == nil {
			m.short, err = newShortener(id, secret)
		}
		if err == nil {
			m.live, err = newLiveDeriver(secret)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("derive keys: %w", err)
	}
	return m, nil
}

func (m *masterKey) opens(at time.Time) bool { return m.retired.IsZero() || at.Before(m.retired) }

// newRing makes a ring of keys; it owns what it is given.
func newRing(version int, root []byte, keys []*masterKey) *Keyring {
	r := &ring{version: version, root: root, keys: keys}
	k := &Keyring{get: func() *ring { return r }}
	r.tracking = newMAC(k.Purpose("tracking"))
	r.devices = newMAC(k.Purpose("live-device"))
	return k.At(forever)
}

// At is the ring as it is at a time: of its keys that open then, the newest seals that does so by then, else the oldest. A
// ring that was never asked for a time is at the end of all.
func (k *Keyring) At(now time.Time) *Keyring {
	r := *k.get()
	r.at, r.byID, r.sealing = now, r.open(now), nil
	for _, m := range r.keys {
		if m.opens(now) && (r.sealing == nil || !m.seals.After(now)) {
			r.sealing = m
		}
	}
	return &Keyring{get: func() *ring { return &r }}
}

// open are the keys that open at a time. The newest always does.
func (r *ring) open(at time.Time) (keys [MaxKeys]*masterKey) {
	for _, m := range r.keys {
		if m.opens(at) {
			keys[m.id] = m
		}
	}
	return keys
}

// NewKeyring draws a root and one key with id 0 from rand, which is crypto/rand.Reader outside tests: 64 bytes.
// created is kept for operators, in whole seconds.
func NewKeyring(rand io.Reader, created time.Time) (*Keyring, error) {
	root, err := draw(rand)
	if err != nil {
		return nil, err
	}
	secret, err := draw(rand)
	if err != nil {
		return nil, err
	}
	created = created.UTC().Truncate(time.Second)
	m, err := newMasterKey(0, secret, created, created, time.Time{})
	if err != nil {
		return nil, err
	}
	return newRing(keyringVersion, root, []*masterKey{m}), nil
}

func draw(rand io.Reader) ([]byte, error) {
	secret := make([]byte, masterSize)
	if _, err := io.ReadFull(rand, secret); err != nil {
		return nil, fmt.Errorf("draw a master key: %w", err)
	}
	return secret, nil
}

// newest is the key that seals.
func (r *ring) newest() *masterKey { return r.sealing }

// Len returns the number of keys, retired ones included, at least 1.
func (k *Keyring) Len() int { return len(k.get().keys) }

// NewestID returns the id of the key that seals: see [Keyring.At].
func (k *Keyring) NewestID() int { return k.get().newest().id }

// A Key is what may be told of one.
type Key struct {
	ID      int
	Created time.Time
	Seals   time.Time // from when on it seals
	Retired time.Time // from when on it does not open; zero: it opens for ever
}

// Keys tells of every key, oldest first.
func (k *Keyring) Keys() []Key {
	var out []Key
	for _, m := range k.get().keys {
		out = append(out, Key{m.id, m.created, m.seals, m.retired})
	}
	return out
}

// Opens returns the ids of the keys that open, ascending: see [Keyring.At].
func (k *Keyring) Opens() []int {
	var out []int
	for id, m := range k.get().byID {
		if m != nil {
			out = append(out, id)
		}
	}
	return out
}

// Next is the first time after now at which the ring changes by itself; zero: never.
func (k *Keyring) Next(now time.Time) (next time.Time) {
	for _, m := range k.get().keys {
		for _, t := range []time.Time{m.seals, m.retired} {
			if t.After(now) && (next.IsZero() || t.Before(next)) {
				next = t
			}
		}
	}
	return next
}

// Purpose returns a 32-byte subkey of the root for a use outside this package (visitor
// hashes, API keys, cookies). The same name gives the same subkey for as long as there is the ring,
// whatever becomes of its keys; different names give unrelated ones, from which the root cannot be found. The caller owns the bytes.
func (k *Keyring) Purpose(name string) []byte {
	b, err := derive(k.get().root, "huoma/purpose/v1/"+name)
	if err != nil {
		// HKDF fails only for an output of more than 255 hashes, and this one is a single hash.
		panic("token: derive a subkey: " + err.Error())
	}
	return b
}

// ErrKeys is matched by every error of [Keyring.Rotate], [Keyring.Retire], [Keyring.Forget] and [Keyring.Follows].
var ErrKeys = errors.New("the keys stay as they are")

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrKeys, fmt.Sprintf(format, args...))
}

// Rotate returns the ring with one more key drawn from rand, created now, that opens at once and seals from seals on, in whole
// seconds. k stays as it is.
func (k *Keyring) Rotate(rand io.Reader, now, seals time.Time) (*Keyring, int, error) {
	r := k.get()
	if len(r.keys) >= MaxKeys {
		return nil, 0, refused("the ring has %d keys, and there is room for no more: forget one that was retired long ago", MaxKeys)
	}
	last := r.keys[len(r.keys)-1]
	now, seals = now.UTC().Truncate(time.Second), seals.UTC().Truncate(time.Second)
	switch {
	case now.Before(last.created):
		return nil, 0, refused("key %d was made at %s, which is later than now: set the clock of this machine", last.id, stamp(last.created))
	case seals.Before(now):
		return nil, 0, refused("a new key cannot have sealed in the past: name a later time")
	case seals.Before(last.seals):
		return nil, 0, refused("key %d seals only from %s on: wait for it, or name a later time", last.id, stamp(last.seals))
	}
	secret, err := draw(rand)
	if err != nil {
		return nil, 0, err
	}
	m, err := newMasterKey(r.free(), secret, now, seals, time.Time{})
	if err != nil {
		return nil, 0, err
	}
	return newRing(keyringVersion, r.root, append(slices.Clone(r.keys), m)), m.id, nil
}

// free is the next id after the newest key's that no key has.
func (r *ring) free() int {
	id := r.keys[len(r.keys)-1].id
	for {
		id = (id + 1) % MaxKeys
		if !slices.ContainsFunc(r.keys, func(m *masterKey) bool { return m.id == id }) {
			return id
		}
	}
}

func (r *ring) find(id int) (int, error) {
	for i, m := range r.keys {
		if m.id == id {
			return i, nil
		}
	}
	return 0, refused("there is no key %d: huoma keys list shows them", id)
}

// Retire returns the ring whose key id opens nothing from at on, to the next whole second. It stays in the ring, since what was decided
// before is decided alike when it is read again. The key that is newest, or seals at that time, is refused.
func (k *Keyring) Retire(id int, at time.Time) (*Keyring, error) {
	r := k.get()
	i, err := r.find(id)
	if err != nil {
		return nil, err
	}
	at = WholeSecond(at)
	switch m := r.keys[i]; {
	case i == len(r.keys)-1:
		return nil, refused("key %d is the newest, and new pictures need it: rotate first", id)
	case !m.retired.IsZero():
		return nil, refused("key %d is retired already, from %s on", id, stamp(m.retired))
	case at.Before(m.created):
		return nil, refused("key %d was made at %s: name a later time", id, stamp(m.created))
	}
	if next := k.At(at).get().sealing; next.id == id {
		return nil, refused("key %d still seals at %s: retire it later, once a newer one does", id, stamp(at))
	}
	m := *r.keys[i]
	m.retired = at
	keys := slices.Clone(r.keys)
	keys[i] = &m
	return newRing(keyringVersion, r.root, keys), nil
}

// Forget returns the ring without a key that is retired by now: what it opened cannot be opened again, not even by who reads the log
// from its beginning.
func (k *Keyring) Forget(id int, now time.Time) (*Keyring, error) {
	r := k.get()
	i, err := r.find(id)
	if err != nil {
		return nil, err
	}
	if r.keys[i].opens(now) {
		return nil, refused("key %d still opens pictures: retire it first", id)
	}
	return newRing(keyringVersion, r.root, slices.Delete(slices.Clone(r.keys), i, i+1)), nil
}

// Follows reports why k may not take the place of old in a program that runs, or nil. A ring with another root belongs to another
// installation; one without a key that still opens may be an older copy.
func (k *Keyring) Follows(old *Keyring) error {
	was, is := old.get(), k.get()
	if subtle.ConstantTimeCompare(was.root, is.root) != 1 {
		return refused("its root is another one, with which every visitor would be a new one: it is the keyring of another installation")
	}
	for _, m := range was.byID {
		if m == nil {
			continue
		}
		i, err := is.find(m.id)
		if err != nil {
			return refused("key %d is not in it, and still opens pictures: it may be an older copy; keys leave by huoma keys retire", m.id)
		}
		if subtle.ConstantTimeCompare(m.secret, is.keys[i].secret) != 1 {
			return refused("its key %d is another one: it may be an older copy, or rotated twice", m.id)
		}
	}
	return nil
}

// Same reports whether k and other are the same ring, whatever the time they are at.
func (k *Keyring) Same(other *Keyring) bool {
	a, b := k.get(), other.get()
	return subtle.ConstantTimeCompare(a.root, b.root) == 1 && slices.EqualFunc(a.keys, b.keys, func(m, n *masterKey) bool {
		return m.id == n.id && subtle.ConstantTimeCompare(m.secret, n.secret) == 1 && m.created.Equal(n.created) && m.seals.Equal(n.seals) && m.retired.Equal(n.retired)
	})
}

// WholeSecond is t or the next whole second, in UTC. What was decided before a key was retired must not fall behind it.
func WholeSecond(t time.Time) time.Time {
	if whole := t.UTC().Truncate(time.Second); whole.Before(t) {
		return whole.Add(time.Second)
	}
	return t.UTC()
}

func stamp(t time.Time) string { return t.Format(time.RFC3339) }

// String says nothing secret.
func (Keyring) String() string { return redacted }

// GoString says nothing secret.
func (Keyring) GoString() string { return redacted }

// Format says nothing secret, whatever the verb.
func (Keyring) Format(s fmt.State, _ rune) { io.WriteString(s, redacted) }

// LogValue says nothing secret.
func (Keyring) LogValue() slog.Value { return slog.StringValue(redacted) }
