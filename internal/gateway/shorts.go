package gateway

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/token"
)

// formatOf is the format that a profile's pictures carry. A profile of a later version has the first.
func formatOf(profile string) token.Format {
	if p, ok := code.ProfileByName(profile); ok {
		return p.Token
	}
	return token.FormatAES
}

// isShort reports whether a format's tokens are found in the index.
func isShort(f token.Format) bool { return f == token.FormatShort || f == token.FormatScene }

// shortIndex knows whose picture a short id is: of every code in the mirror, under every key that opens. It is filled as
// definitions come, and made again as keys do. Two pictures may have one id by chance, among a million with a chance of one in nine thousand: the
// code with the smaller id has it then, at every gateway.
type shortIndex struct {
	log *slog.Logger
	mu  sync.RWMutex
	k   *token.Keyring
	ids map[token.ShortID]uint64 // code id << 3 | variant − 1
}

func newShortIndex(k *token.Keyring, log *slog.Logger) *shortIndex {
	return &shortIndex{log: log, k: k, ids: make(map[token.ShortID]uint64)}
}

// indexed are the variants a code's pictures may have: all of them once it has any, as it may have had others.
func indexed(def *code.Definition) int {
	if len(def.Variants) > 0 {
		return token.Variants
	}
	return 1
}

// add takes a code's pictures in.
func (x *shortIndex) add(id token.CodeID, def *code.Definition) {
	f := formatOf(def.Profile)
	if x == nil || !isShort(f) {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for variant := range indexed(def) {
		p := token.Picture{Code: id, Variant: variant + 1}
		_ = x.k.ShortIDs(f, p, func(s token.ShortID) { x.put(s, p) }) // a code's id has 60 bits
	}
}

// put is called with the lock held.
func (x *shortIndex) put(s token.ShortID, p token.Picture) {
	v := uint64(p.Code)<<3 | uint64(p.Variant-1)
	if was, there := x.ids[s]; there && was != v {
		x.log.Warn("two pictures have one short id, and one of them leads to the other's code: print that code's picture again after a rotation of keys",
			"code", token.CodeID(was>>3).String(), "other", p.Code.String())
		v = min(v, was)
	}
	x.ids[s] = v
}

// resolve is a token.Resolver.
func (x *shortIndex) resolve(s token.ShortID) (token.Picture, bool) {
	x.mu.RLock()
	v, ok := x.ids[s]
	x.mu.RUnlock()
	return token.Picture{Code: token.CodeID(v >> 3), Variant: int(v&(token.Variants-1)) + 1}, ok
}

// rekey makes the index that of another ring. Definitions that come meanwhile are taken in for the new one.
func (x *shortIndex) rekey(k *token.Keyring, each func(func(token.CodeID, *code.Definition))) {
	x.mu.Lock()
	old, keys := x.k.Opens(), k.Opens()
	x.k = k
	x.mu.Unlock()
	fresh := slices.DeleteFunc(slices.Clone(keys), func(id int) bool { return slices.Contains(old, id) })
	if len(fresh) > 0 {
		each(func(id token.CodeID, def *code.Definition) {
			f := formatOf(def.Profile)
			if !isShort(f) {
				return
			}
			x.mu.Lock()
			defer x.mu.Unlock()
			for variant := range indexed(def) {
				p := token.Picture{Code: id, Variant: variant + 1}
				for _, key := range fresh {
					if s, ok := k.ShortIDOf(f, p, key); ok {
						x.put(s, p)
					}
				}
			}
		})
	}
	if slices.ContainsFunc(old, func(id int) bool { return !slices.Contains(keys, id) }) {
		x.mu.Lock()
		defer x.mu.Unlock()
		for s := range x.ids {
			if !slices.Contains(keys, s.Key()) {
				delete(x.ids, s)
			}
		}
	}
}

// UseKeyring puts another ring in force, once every short id of its keys is known. It has the root of the one before, so that
// visitors, renewal links and tracking codes stay. It may be called at any time.
func (g *Gateway) UseKeyring(k *token.Keyring) {
	g.mirror.shorts.rekey(k, func(fn func(token.CodeID, *code.Definition)) {
		g.mirror.each(func(id token.CodeID, def *code.Definition, _ *packed, _ uint64) { fn(id, def) })
	})
	g.ring.Store(k)
}

// keyring is the ring in force.
func (g *Gateway) keyring() *token.Keyring { return g.ring.Load() }

// openToken reads any token of ours, a live one that is too old too.
func (g *Gateway) openToken(text string, now time.Time) (token.Reading, error) {
	return g.keyring().Read(text, now, g.mirror.shorts.resolve)
}
