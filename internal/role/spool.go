package role

import (
	"fmt"
	"log/slog"

	"github.com/huoma/huoma/internal/spool"
)

// leastSpool is the least a spool may be allowed: two full flushes.
const leastSpool = 1 << 20

// OpenSpool opens a gateway's spool in dir, and returns nil when dir is empty: the gateway has none then.
// The errors say which flag to change.
func OpenSpool(dir string, bytes int64, log *slog.Logger) (*spool.Spool, error) {
	if dir == "" {
		return nil, nil
	}
	if bytes < leastSpool {
		return nil, fmt.Errorf("--spool-bytes %d is too little: give it %d or more, or turn the spool off with --spool-dir=", bytes, leastSpool)
	}
	return spool.Open(spool.Options{Dir: dir, Bytes: bytes, Log: log})
}
