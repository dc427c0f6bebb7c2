package chembed

import (
	"log/slog"
	"net/http"
)

type httpHandler struct {
	eng *engine
	id  identity
	log *slog.Logger
}

func (h *httpHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Write([]byte("Ok.\n"))
}
