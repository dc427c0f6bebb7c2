package role

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/huoma/huoma/internal/token"
	"github.com/huoma/huoma/internal/token/keyfile"
)

// keysEvery is how often the keyring's file is looked at.
const keysEvery = 5 * time.Second

// Keys is the keyring of a process, followed while its file changes.
type Keys struct {
	*keyfile.Watcher
	log *slog.Logger
}

// FollowKeys loads the keyring in path. What becomes of it is logged, and counted in registry.
func FollowKeys(path string, registry prometheus.Registerer, log *slog.Logger) (*Keys, error) {
	if path == "" {
		return nil, errors.New("a keyring is needed: set --keyring to the file that every gateway and scan worker of this installation shares")
	}
	w, err := keyfile.Watch(path, time.Now)
	if err != nil {
		return nil, err
	}
	k := &Keys{w, log}
	looks := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "huoma_keyring_looks_total", Help: "Looks at the keyring's file, by what they came to."}, []string{"outcome"})
	for _, o := range keyfile.Outcomes {
		looks.WithLabelValues(string(o))
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "huoma_keyring_" + name, Help: help}, f)
	}
	for _, c := range []prometheus.Collector{
		looks,
		gauge("refused", "1 while the keyring's file cannot be used, and the keyring of before is in force.", func() float64 {
			if w.Fault() != nil {
				return 1
			}
			return 0
		}),
		gauge("sealing_key", "Number of the key that seals.", func() float64 { return float64(w.Keyring().NewestID()) }),
		gauge("newest_key", "Number of the newest key there is.", func() float64 { return float64(newest(w.Keyring()).ID) }),
		gauge("open_keys", "Keys that open pictures.", func() float64 { return float64(len(w.Keyring().Opens())) }),
	} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	w.OnLook(k.tell(looks))
	return k, nil
}

func newest(k *token.Keyring) token.Key {
	keys := k.Keys()
	return keys[len(keys)-1]
}

// tell counts looks and logs what they come to: a file that is refused at once, then once a minute.
func (k *Keys) tell(looks *prometheus.CounterVec) func(keyfile.Outcome, error) {
	const again = int(time.Minute / keysEvery)
	refusals, last := 0, ""
	return func(o keyfile.Outcome, err error) {
		looks.WithLabelValues(string(o)).Inc()
		if err == nil {
			if refusals > 0 {
				k.log.Info("the keyring's file can be used again")
			}
			refusals, last = 0, ""
			if o != keyfile.Unchanged {
				ring := k.Keyring()
				k.log.Info("the keyring has changed", "how", string(o), "sealing_key", ring.NewestID(), "newest_key", newest(ring).ID, "open_keys", len(ring.Opens()))
			}
			return
		}
		if text := err.Error(); text != last || refusals%again == 0 {
			last = text
			k.log.Error("the keyring's file cannot be used, and the keyring of before stays in force: put the file right before the next start", "err", err)
		}
		refusals++
	}
}

// Follow looks at the file every 5 seconds, and at once on SIGHUP if hangUp says so, until stop is called, which waits for the last look.
func (k *Keys) Follow(hangUp bool) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	tick := time.NewTicker(keysEvery)
	var asked chan os.Signal
	if hangUp {
		asked = make(chan os.Signal, 1)
		signal.Notify(asked, syscall.SIGHUP)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.Run(ctx, tick.C, asked)
	}()
	return func() {
		cancel()
		<-done
		tick.Stop()
		if hangUp {
			signal.Stop(asked)
		}
	}
}
