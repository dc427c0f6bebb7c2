package gateway

import (
	"errors"
	"net/http"
	"strings"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/token"
)

// maxTokens is how many tokens one request may ask about.
const maxTokens = 1000

type tokensRequest struct {
	Tokens []string `json:"tokens"`
}

type tokensAnswer struct {
	Tokens []openedToken `json:"tokens"`
}

// openedToken is whose picture a token is. Without a code it is not one of ours.
type openedToken struct {
	Code     string `json:"code,omitzero"`
	Variant  int    `json:"variant,omitzero"`
	Tracking string `json:"tracking,omitzero"`
	ShownAt  string `json:"shown_at,omitzero"` // of a live picture
}

// openTokens answers POST /v1/tokens: which codes tokens belong to, in their order. It is for those who have scans to tell that did not
// come through a gateway of ours, such as the lines of a web server's log. Nothing is counted.
func (g *Gateway) openTokens(w http.ResponseWriter, r *http.Request) error {
	body, _, err := readBody(w, r, g.opts.Limits.Body, "application/json")
	if err != nil {
		return err
	}
	var q tokensRequest
	if err := decode(body, &q); err != nil {
		return err
	}
	switch {
	case len(q.Tokens) == 0:
		return invalid(events.CodeMissingField, "tokens", "name the tokens to look at")
	case len(q.Tokens) > maxTokens:
		return invalid(events.CodeTooMany, "tokens", "there are %d tokens; at most %d are looked at at once", len(q.Tokens), maxTokens)
	}
	out := tokensAnswer{Tokens: make([]openedToken, len(q.Tokens))}
	now := g.now()
	for i, text := range q.Tokens {
		p, err := g.openToken(strings.ToUpper(text), now)
		if errors.Is(err, token.ErrForged) {
			continue
		}
		if err != nil {
			return err
		}
		def, err := g.definition(r.Context(), p.Code)
		if err != nil {
			return g.unavailable(err)
		}
		if def != nil {
			out.Tokens[i] = openedToken{p.Code.String(), p.Variant, p.Tracking, shownAt(p)}
		}
	}
	return writeJSON(w, http.StatusOK, out)
}
