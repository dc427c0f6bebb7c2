package token

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Format 4, 21 bytes, written like format 1 in 34 characters. A screen shows one for a minute; it opens in that minute and the next:
//
//	byte 0       format version (high 3 bits, 4) | key id (low 5 bits)
//	bytes 1–4    in the clear, big endian: minutes since 1970 modulo 2048 (11 bits) | device (21 bits)
//	bytes 5–12   tag: the first 8 bytes of HMAC-SHA256(K_mac, bytes 0–4 || payload)
//	bytes 13–20  AES-256-CTR(K_enc, IV = tag || 8 zero bytes) of the payload
//
// payload is code id (60 bits) | variant − 1 (3 bits) | 0 (1 bit, reserved). K_mac || K_enc are the first 64 bytes of HKDF-SHA256 of the master
// key with the info huoma/token/v4/live/ || minute (8 bytes, all of it) || device (4 bytes), so that each screen has keys of its own each minute.
//
// What is in the clear only says which keys to try: the newest minute that has come and leaves that remainder. A picture of a minute still
// to come meets the keys of 34 hours ago, and is refused like any forgery; so is one older than that.
const (
	liveVersion = 4
	liveClear   = 4
	livePayload = 8
	liveRawSize = 1 + liveClear + tagSize + livePayload

	// LiveLength is the number of characters of a live token.
	LiveLength = 34
	// LiveModulo is how many minutes are told apart: an authentic picture is known to be old for so long.
	LiveModulo = 2048
	// LiveMinutes is how many minutes a picture opens: its own and the next.
	LiveMinutes = 2
	// Devices is how many displaying devices can be told apart.
	Devices = 1 << 21

	// liveKeysMost bounds the derived keys that are kept, by master key.
	liveKeysMost = 1024
)

// A Minute counts minutes since 1970, UTC.
type Minute int64

// MinuteOf is the minute that t lies in.
func MinuteOf(t time.Time) Minute {
	s := t.Unix()
	m := s / 60
	if s%60 < 0 {
		m--
	}
	return Minute(m)
}

// Time is the minute's begin.
func (m Minute) Time() time.Time { return time.Unix(int64(m)*60, 0).UTC() }

// A Live is what a live token says: a picture of a code that one device showed in one minute. Its picture number is 0.
type Live struct {
	Picture
	Device uint32 // below Devices
	Minute Minute
}

// Opens reports whether the picture still opens at a minute.
func (l Live) Opens(now Minute) bool { return now < l.Minute+LiveMinutes }

// ErrStale is what [Keyring.OpenLive] returns for a picture that is ours, and too old.
var ErrStale = errors.New("this picture was shown too long ago: look at the screen again and scan what is there now")

// IsLive reports whether a token has the length and version of a live one. It says nothing of who made it.
func IsLive(token string) bool {
	return len(token) == LiveLength && b32Digit[token[0]]>>2 == liveVersion
}

// Device is the number of a device that shows a code's pictures, by the name its owner gave it. Two names of one code have the same
// number with a chance of one in two million.
func (k *Keyring) Device(code CodeID, name string) uint32 {
	var id [8]byte
	binary.BigEndian.PutUint64(id[:], uint64(code))
	sum := k.get().devices(string(id[:]), name)
	return binary.BigEndian.Uint32(sum[:]) % Devices
}

// LiveTracking is the tracking code of l's pictures: 8 characters that tell code, variant and device, and stay the same from minute to
// minute and from key to key. A picture that cannot be sealed has none: "".
func (k *Keyring) LiveTracking(l Live) string {
	payload, err := l.packLive()
	if err != nil || l.Device >= Devices {
		return ""
	}
	var device [4]byte
	binary.BigEndian.PutUint32(device[:], l.Device)
	return trackingText(k.get().devices("tracking\x00"+string(payload[:]), string(device[:])))
}

// SealLive returns the token of l under the key that seals: see [Keyring.At]. The only errors are a picture that cannot be sealed (see
// [Keyring.SealAs]), one with a number, a device that is not below [Devices], and a minute before 1970.
func (k *Keyring) SealLive(l Live) (string, error) {
	payload, err := l.packLive()
	switch {
	case err != nil:
		return "", err
	case l.Number != 0:
		return "", fmt.Errorf("seal live token: a live picture has no number, and this one has %d", l.Number)
	case l.Device >= Devices:
		return "", fmt.Errorf("seal live token: device %d is not below %d: use a number made by Device", l.Device, Devices)
	case l.Minute < 0:
		return "", fmt.Errorf("seal live token: minute %d is before 1970: set the clock", l.Minute)
	}
	m := k.get().newest()
	keys := m.live.get(l.Minute, l.Device)
	m.live.keep(l.Minute, l.Device, keys)
	raw := keys.seal(liveHeader(m.id, l.Minute, l.Device), &payload)
	var text [LiveLength]byte
	encode(text[:], raw[:])
	return string(text[:]), nil
}

// OpenLive returns what a live token says, at a minute. A picture of that minute or the one before opens; one of ours that is older comes with
// [ErrStale], for as long as [LiveModulo] tells; all else is [ErrForged], see [ReasonOf]: one of a minute still to come too.
// Tags are compared in constant time. Keys are those that open: see [Keyring.At].
func (k *Keyring) OpenLive(token string, now Minute) (Live, error) {
	return openLive(token, &k.get().byID, now)
}

// OpenLiveAt is OpenLive at a time, with the keys that opened then.
func (k *Keyring) OpenLiveAt(token string, at time.Time) (Live, error) {
	keys := k.get().open(at)
	return openLive(token, &keys, MinuteOf(at))
}

// A Reading is what any token of ours says.
type Reading struct {
	Picture
	Tracking string
	Shown    time.Time // the minute that a live picture was shown in, however long ago; zero: a printed one
}

// Read opens any token at a time: a live one with [Keyring.OpenLive], all else with [Keyring.OpenWith]. A live picture that is too old is no
// error here: whoever reads one looks at Shown.
func (k *Keyring) Read(token string, now time.Time, resolve Resolver) (Reading, error) {
	if IsLive(token) {
		return k.readLive(k.OpenLive(token, MinuteOf(now)))
	}
	return k.readPrinted(k.OpenWith(token, resolve))
}

// ReadFor is Read for who knows whose token it is said to be: see [Keyring.OpenFor].
func (k *Keyring) ReadFor(token string, code CodeID, at time.Time) (Reading, error) {
	if IsLive(token) {
		return k.readLive(k.OpenLiveAt(token, at))
	}
	return k.readPrinted(k.OpenFor(token, code, at))
}

func (k *Keyring) readLive(l Live, err error) (Reading, error) {
	if err != nil && err != ErrStale { //nolint:errorlint // it is never wrapped
		return Reading{}, err
	}
	return Reading{l.Picture, k.LiveTracking(l), l.Minute.Time()}, nil
}

func (k *Keyring) readPrinted(p Picture, err error) (Reading, error) {
	if err != nil {
		return Reading{}, err
	}
	return Reading{Picture: p, Tracking: k.Tracking(p)}, nil
}

func openLive(token string, keys *[MaxKeys]*masterKey, now Minute) (Live, error) {
	if len(token) != LiveLength {
		return Live{}, forgedError{ReasonLength}
	}
	var raw [liveRawSize]byte
	if !decode(raw[:], token) {
		return Live{}, forgedError{ReasonAlphabet}
	}
	if raw[0]>>5 != liveVersion {
		return Live{}, forgedError{ReasonVersion}
	}
	m := keys[raw[0]&(MaxKeys-1)]
	if m == nil {
		return Live{}, forgedError{ReasonUnknownKey}
	}
	clear := binary.BigEndian.Uint32(raw[1:])
	l := Live{Device: clear % Devices, Minute: now - (now-Minute(clear/Devices))&(LiveModulo-1)}
	derived := m.live.get(l.Minute, l.Device)
	var tag [tagSize]byte
	copy(tag[:], raw[1+liveClear:])
	var payload [livePayload]byte
	derived.crypt(payload[:], raw[1+liveClear+tagSize:], tag)
	want := derived.tag([1 + liveClear]byte(raw[:]), &payload)
	head := binary.BigEndian.Uint64(payload[:])
	same := subtle.ConstantTimeCompare(tag[:], want[:]) == 1
	switch {
	case !same:
		return Live{}, forgedError{ReasonSeal}
	case head&1 != 0:
		return Live{}, forgedError{ReasonReserved}
	}
	l.Picture = Picture{Code: CodeID(head >> 4), Variant: int(head>>1&(Variants-1)) + 1}
	if !l.Opens(now) {
		return l, ErrStale
	}
	m.live.keep(l.Minute, l.Device, derived) // of genuine pictures alone, so that guesses push nothing out
	return l, nil
}

// packLive writes l's picture as the 8 bytes that are sealed.
func (l Live) packLive() (b [livePayload]byte, err error) {
	whole, err := l.pack()
	copy(b[:], whole[:])
	return b, err
}

func liveHeader(key int, minute Minute, device uint32) (b [1 + liveClear]byte) {
	b[0] = liveVersion<<5 | byte(key)
	binary.BigEndian.PutUint32(b[1:], uint32(minute&(LiveModulo-1))*Devices|device)
	return b
}

// liveKeys are the keys of one device for one minute.
type liveKeys struct {
	mac   [32]byte
	block cipher.Block
}

func (k *liveKeys) tag(header [1 + liveClear]byte, payload *[livePayload]byte) (t [tagSize]byte) {
	h := hmac.New(sha256.New, k.mac[:])
	h.Write(header[:])
	h.Write(payload[:])
	var sum [sha256.Size]byte
	copy(t[:], h.Sum(sum[:0]))
	return t
}

// crypt applies the key stream of tag, the first block of counter mode.
func (k *liveKeys) crypt(dst, src []byte, tag [tagSize]byte) {
	var stream [aes.BlockSize]byte
	copy(stream[:], tag[:])
	k.block.Encrypt(stream[:], stream[:])
	subtle.XORBytes(dst, src, stream[:livePayload])
}

func (k *liveKeys) seal(header [1 + liveClear]byte, payload *[livePayload]byte) (raw [liveRawSize]byte) {
	copy(raw[:], header[:])
	tag := k.tag(header, payload)
	copy(raw[1+liveClear:], tag[:])
	k.crypt(raw[1+liveClear+tagSize:], payload[:], tag)
	return raw
}

// liveDeriver derives the live keys of one master key, and keeps those in use. Safe for concurrent use.
type liveDeriver struct {
	extracted []byte // HKDF-Extract of the master key

	mu   sync.Mutex
	kept map[liveKeyOf]*liveKeys // at most liveKeysMost
}

type liveKeyOf struct {
	minute Minute
	device uint32
}

func newLiveDeriver(master []byte) (*liveDeriver, error) {
	extracted, err := hkdf.Extract(sha256.New, master, nil)
	if err != nil {
		return nil, err
	}
	return &liveDeriver{extracted: extracted, kept: make(map[liveKeyOf]*liveKeys)}, nil
}

// get returns the keys of a device for a minute.
func (d *liveDeriver) get(minute Minute, device uint32) *liveKeys {
	d.mu.Lock()
	k := d.kept[liveKeyOf{minute, device}]
	d.mu.Unlock()
	if k != nil {
		return k
	}
	info := append([]byte("huoma/token/v4/live/"), make([]byte, 12)...)
	binary.BigEndian.PutUint64(info[len(info)-12:], uint64(minute))
	binary.BigEndian.PutUint32(info[len(info)-4:], device)
	b, err := hkdf.Expand(sha256.New, d.extracted, string(info), 64)
	if err != nil {
		// HKDF fails only for an output of more than 255 hashes, and this one is two.
		panic("token: derive live keys: " + err.Error())
	}
	k = &liveKeys{mac: [32]byte(b)}
	if k.block, err = aes.NewCipher(b[32:]); err != nil {
		panic("token: derive live keys: " + err.Error()) // for a key of another size only
	}
	return k
}

// keep keeps keys for the next time. Where there is no room, those of minutes that are over make it, and if there are none, all.
func (d *liveDeriver) keep(minute Minute, device uint32, k *liveKeys) {
	d.mu.Lock()
	defer d.mu.Unlock()
	of := liveKeyOf{minute, device}
	if d.kept[of] == k {
		return
	}
	if len(d.kept) >= liveKeysMost {
		for old := range d.kept {
			if old.minute+LiveMinutes <= minute {
				delete(d.kept, old)
			}
		}
		if len(d.kept) >= liveKeysMost {
			clear(d.kept)
		}
	}
	d.kept[of] = k
}
