package gateway

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/token"
)

// known returns the code a request's path names.
func (g *Gateway) known(r *http.Request) (known, error) {
	id, err := token.ParseCodeID(r.PathValue("id"))
	if err != nil {
		return known{}, noSuchCode()
	}
	k, ok, err := g.find(r.Context(), id)
	if err != nil {
		return known{}, g.unavailable(err)
	}
	if !ok {
		return known{}, noSuchCode()
	}
	return k, nil
}

func noSuchCode() *Problem {
	return problem(http.StatusNotFound, "unknown_code", "there is no code with this id: GET /v1/codes lists those there are")
}

// readCode answers GET /v1/codes/{id}.
func (g *Gateway) readCode(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	k, err := g.known(r)
	if err != nil {
		return err
	}
	return g.writeCode(w, http.StatusOK, k)
}

// changeCode answers PATCH /v1/codes/{id}: a JSON merge patch of the mint's
// fields. null resets a field to its default; targets are matched as
// mergeTargets says.
func (g *Gateway) changeCode(w http.ResponseWriter, r *http.Request) error {
	body, _, err := readBody(w, r, g.opts.Limits.Body, "application/json", "application/merge-patch+json")
	if err != nil {
		return err
	}
	q := new(codeRequest)
	if err := decode(body, q); err != nil {
		return err
	}
	reset, err := nulls(body)
	if err != nil {
		return err
	}
	switch {
	case q.Profile != nil || slices.Contains(reset, "profile"):
		return problem(http.StatusBadRequest, "immutable_field", "a code keeps its profile: mint a new code").at("profile")
	case slices.Contains(reset, "targets"):
		return invalid(events.CodeInvalid, "targets", "a code needs at least one target")
	}
	return g.change(w, r, events.TypeCodeChanged, func(def *code.Definition, now time.Time) error {
		p := profileOfCode(def)
		defaults(def, p, append(reset, ""))
		return q.apply(def, g.policy(), p)
	})
}

// revokeCode answers DELETE /v1/codes/{id}. Revoking again changes nothing.
func (g *Gateway) revokeCode(w http.ResponseWriter, r *http.Request) error {
	return g.change(w, r, events.TypeCodeRevoked, func(def *code.Definition, now time.Time) error {
		def.RevokedAt = now
		return nil
	})
}

// change lets edit change a code's definition and answers with the code as it
// then is.
func (g *Gateway) change(w http.ResponseWriter, r *http.Request, typ string, edit func(*code.Definition, time.Time) error) error {
	id, err := token.ParseCodeID(r.PathValue("id"))
	if err != nil {
		return noSuchCode()
	}
	if err := g.edit(r.Context(), id, typ, r.Header.Get("If-Match"), edit); err != nil {
		return err
	}
	k, ok := g.mirror.get(id, g.now())
	if !ok {
		return noSuchCode()
	}
	return g.writeCode(w, http.StatusOK, k)
}

// edit changes a definition by compare-and-set, then tells the log. When the
// caller named no revision it starts again as long as others are faster.
func (g *Gateway) edit(ctx context.Context, id token.CodeID, typ, ifMatch string, edit func(*code.Definition, time.Time) error) error {
	for range 16 {
		was, rev, err := g.load(ctx, id.String())
		if err != nil {
			return g.unavailable(err)
		}
		if was == nil {
			return noSuchCode()
		}
		if !matches(ifMatch, was.Def.Revision) {
			return problem(http.StatusPreconditionFailed, "precondition_failed", "the code is at revision %s now: read it again", etag(was.Def.Revision)).at("If-Match")
		}
		if !was.Def.RevokedAt.IsZero() {
			if typ == events.TypeCodeRevoked {
				return g.take(was)
			}
			return problem(http.StatusConflict, "revoked", "a revoked code cannot be changed: mint a new one")
		}
		def := was.Def
		def.Targets = slices.Clone(def.Targets)
		now := g.now().UTC().Truncate(time.Millisecond)
		if err := edit(&def, now); err != nil {
			return err
		}
		if len(def.Variants) == 0 && len(was.Def.Variants) > 0 && isShort(formatOf(def.Profile)) {
			return invalid(events.CodeInvalid, "variants", "keep one: what is printed on the others' pictures is found by the code having variants")
		}
		def.Revision++
		def.ChangedAt = now
		s := g.newStored(typ, def)
		s.Request = was.Request
		if err := s.check(); err != nil {
			return err
		}
		b, err := s.marshal()
		if err != nil {
			return err
		}
		err = g.ask(ctx, g.opts.Limits.Store, func(ctx context.Context) error {
			_, err := g.opts.Backend.UpdateDefinition(ctx, def.ID, b, rev)
			return err
		})
		if errors.Is(err, events.ErrConflict) {
			continue
		}
		if err != nil {
			return g.unavailable(err)
		}
		if err := g.take(s); err != nil {
			return err
		}
		return g.tell(ctx, s)
	}
	return problem(http.StatusConflict, "conflict", "others change this code at the same time: try again")
}

// matches evaluates an If-Match header against a code's revision.
func matches(header string, revision uint64) bool {
	if header == "" || strings.TrimSpace(header) == "*" {
		return true
	}
	for v := range strings.SplitSeq(header, ",") {
		if strings.TrimSpace(v) == etag(revision) {
			return true
		}
	}
	return false
}
