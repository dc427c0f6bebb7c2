package gateway

import (
	"fmt"
	"net/http"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/token"
)

// shownAt is how an event says which minute a live picture is of; empty for a printed one.
func shownAt(p token.Reading) string {
	if p.Shown.IsZero() {
		return ""
	}
	return events.FormatMinute(p.Shown)
}

// stale is what a scan of a live picture that is too old is answered instead of a, in the scan worker's own order: robots are robots, and what
// is over for the code is over whatever the picture.
func (a verdict) stale(shown time.Time) verdict {
	switch a.verdict {
	case code.Preview, code.Bot, code.Revoked, code.Expired:
		return a
	}
	return verdict{verdict: code.Expired, rule: code.RuleLiveWindow, def: a.def, shown: shown, state: a.state, behaviour: code.Accepted}
}

// codeLive is the code of the problem that a picture is too old.
const codeLive = "live_window"

// refuseStale says of which minute the picture was, and where there is a newer one.
func (g *Gateway) refuseStale(w http.ResponseWriter, r *http.Request, shown, now time.Time) error {
	minute, ago := shown.UTC().Format("15:04"), int(now.Sub(shown)/time.Minute)
	if wantsJSON(r) {
		w.Header().Set("Vary", "Accept, Accept-Language")
		return problem(http.StatusGone, codeLive, "this picture was for %s UTC, %d minutes ago, and a screen's picture leads on for two: look at the screen again and scan what is there now", minute, ago)
	}
	lang := language(r.Header.Get("Accept-Language"))
	text := words[lang][codeLive]
	return g.page(w, http.StatusGone, page{Lang: lang, Title: text[0], Text: fmt.Sprintf(text[1], minute, ago)})
}
