package gateway

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/token"
)

// mintOne answers POST /v1/codes.
func (g *Gateway) mintOne(w http.ResponseWriter, r *http.Request) error {
	body, _, err := readBody(w, r, g.opts.Limits.Body, "application/json")
	if err != nil {
		return err
	}
	q, err := parseMint(body)
	if err != nil {
		return err
	}
	key, err := idempotencyKey(r)
	if err != nil {
		return err
	}
	id, print, err := g.nextID(key, "", body)
	if err != nil {
		return err
	}
	s, err := g.prepare(q, id, print)
	if err != nil {
		return err
	}
	if s, err = g.create(r.Context(), s); err != nil {
		return err
	}
	if err := g.tellUnheard(r.Context(), s); err != nil {
		return err
	}
	k, ok := g.mirror.get(id, g.now())
	if !ok {
		return fmt.Errorf("code %s was minted and is not in the mirror", s.Def.ID)
	}
	return g.writeCode(w, http.StatusCreated, k)
}

// parseMint reads the body of a mint.
func parseMint(body []byte) (*codeRequest, error) {
	q := new(codeRequest)
	if err := decode(body, q); err != nil {
		return nil, err
	}
	if q.Targets != nil {
		for i, t := range *q.Targets {
			if t.N != nil || t.Closed != nil {
				return nil, invalid(events.CodeUnknownField, fmt.Sprintf("targets[%d]", i), "n and closed are for changing a code: a mint numbers targets in their order")
			}
		}
	}
	return q, nil
}

// idempotencyKey returns the request's, "" for none.
func idempotencyKey(r *http.Request) (string, error) {
	key := r.Header.Get("Idempotency-Key")
	if len(key) > events.MaxName || strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c > '~' }) {
		return "", invalid(events.CodeInvalid, "Idempotency-Key", "use at most %d characters of ASCII", events.MaxName)
	}
	return key, nil
}

// nextID is the id of a new code: with an idempotency key the same one
// whenever it is repeated, together with the request's fingerprint.
func (g *Gateway) nextID(key, part string, body []byte) (id token.CodeID, print string, err error) {
	if key == "" {
		id, err = token.NewCodeID(rand.Reader)
		return id, "", err
	}
	canonical := jsontext.Value(append([]byte(nil), body...))
	if err := canonical.Canonicalize(); err != nil {
		canonical = body // not JSON: a CSV
	}
	m := hmac.New(sha256.New, g.printKey)
	m.Write(canonical)
	if part != "" {
		key += "\x00" + part
	}
	return token.DeriveCodeID(g.idKey, key), hex.EncodeToString(m.Sum(nil)[:16]), nil
}

// prepare checks a mint and makes what is to be stored.
func (g *Gateway) prepare(q *codeRequest, id token.CodeID, print string) (*stored, error) {
	def, err := q.newDefinition(g.policy(), id.String(), g.now())
	if err != nil {
		return nil, err
	}
	s := g.newStored(events.TypeCodeMinted, def)
	s.Request = print
	return s, s.check()
}

// check refuses a definition the log would not take.
func (s *stored) check() error {
	if err := s.Def.Validate(); err != nil {
		if fe, ok := errors.AsType[*code.FieldError](err); ok {
			return invalid(events.CodeInvalid, fe.Field, "%s", fe.Reason)
		}
		return err
	}
	b, err := s.event().Marshal()
	if err != nil {
		return err
	}
	if len(b) > maxDefinition {
		return invalid(events.CodeTooLarge, "targets", "the definition has %d bytes, at most %d are allowed: use https addresses for pictures", len(b), maxDefinition)
	}
	return nil
}

// create stores a new definition. When a repeated request made it before,
// that one is returned.
func (g *Gateway) create(ctx context.Context, s *stored) (*stored, error) {
	b, err := s.marshal()
	if err != nil {
		return nil, err
	}
	err = g.ask(ctx, g.opts.Limits.Store, func(ctx context.Context) error {
		_, err := g.opts.Backend.CreateDefinition(ctx, s.Def.ID, b)
		return err
	})
	if errors.Is(err, events.ErrExists) {
		was, _, err := g.load(ctx, s.Def.ID)
		switch {
		case err != nil:
			return nil, g.unavailable(err)
		case was == nil || s.Request == "":
			return nil, problem(http.StatusConflict, "conflict", "the drawn id is taken: send it again")
		case was.Request != s.Request:
			return nil, problem(http.StatusUnprocessableEntity, "idempotency_key_reused", "the key was used with another body: use a new one").at("Idempotency-Key")
		}
		return was, g.take(was)
	}
	if err != nil {
		return nil, g.unavailable(err)
	}
	return s, g.take(s)
}

// ask calls the bucket of definitions, for no longer than limit, and not at all
// while there is no connection.
func (g *Gateway) ask(ctx context.Context, limit time.Duration, call func(context.Context) error) error {
	if !g.opts.Backend.Connected() {
		return errAway
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return call(ctx)
}

// unavailable is for a failed call to the bucket: logged here, not told.
func (g *Gateway) unavailable(err error) error {
	if errors.Is(err, errAway) {
		return err // the log says so once
	}
	g.log.Error("the definitions cannot be reached", "err", err)
	return fmt.Errorf("%w: %w", errNotStored, err)
}

// nulls returns the fields of a JSON object which are null: a change resets
// those to their defaults.
func nulls(body []byte) ([]string, error) {
	var fields map[string]jsontext.Value
	if err := jsonProblem(json.Unmarshal(body, &fields)); err != nil {
		return nil, err
	}
	var out []string
	for name, v := range fields {
		if v.Kind() == 'n' {
			out = append(out, name)
		}
	}
	return out, nil
}

// profileOfCode is the profile of a code there is already.
func profileOfCode(def *code.Definition) code.Profile {
	p, ok := code.ProfileByName(def.Profile)
	if !ok { // a profile of a later version: nothing is known of it but what the code says
		p = code.Profile{Name: def.Profile, Longest: def.Longest, Countdown: def.Countdown}
	}
	return p
}
