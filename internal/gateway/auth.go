package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// authorize checks the API key. Hashes are compared, in constant time, so that
// neither the key's length nor its beginning can be told from the time taken.
func (g *Gateway) authorize(r *http.Request) error {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	hash := sha256.Sum256([]byte(strings.TrimSpace(key)))
	right := subtle.ConstantTimeCompare(hash[:], g.keyHash[:]) == 1
	if !right || !strings.EqualFold(scheme, "Bearer") {
		g.metrics.auth.Inc()
		p := problem(http.StatusUnauthorized, "unauthorized", "send the header Authorization: Bearer <key>, with the API key of this installation")
		p.challenge = true
		return p
	}
	return nil
}
