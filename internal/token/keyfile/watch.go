package keyfile

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/huoma/huoma/internal/token"
)

// An Outcome says what a look at the file came to. The set is fixed.
type Outcome string

// Outcomes of a look.
const (
	Unchanged Outcome = "unchanged"
	Taken     Outcome = "taken"   // the file holds another ring, which is in force now
	Turned    Outcome = "turned"  // the time has come for a key to seal, or to open no more
	Refused   Outcome = "refused" // the file cannot be used; the ring of before stays in force
)

// Outcomes are all of them.
var Outcomes = []Outcome{Unchanged, Taken, Turned, Refused}

// askedEvery bounds how often [Watcher.Ask] looks.
const askedEvery = time.Second

// A Watcher has the keyring of a file that may change while a program runs. It is safe for concurrent use.
type Watcher struct {
	path string
	now  func() time.Time

	mu       sync.Mutex
	uses     []func(*token.Keyring)
	asked    time.Time // when Ask last looked
	looks    int
	faulty   error // of the last look
	onLook   func(Outcome, error)
	inForce  atomic.Pointer[token.Keyring] // at the time of the last look
	whenNext time.Time                     // when it changes by itself; zero: never
}

// Watch loads the keyring in path, as [Load] does. now is time.Now outside tests.
func Watch(path string, now func() time.Time) (*Watcher, error) {
	k, err := Load(path)
	if err != nil {
		return nil, err
	}
	w := &Watcher{path: path, now: now, onLook: func(Outcome, error) {}}
	w.put(k, now())
	return w, nil
}

// put takes k into force as it is at a time, once everybody who uses it has it. The caller holds the lock, or is alone.
func (w *Watcher) put(k *token.Keyring, at time.Time) {
	k, w.whenNext = k.At(at), k.Next(at)
	for _, use := range w.uses {
		use(k)
	}
	w.inForce.Store(k)
}

// Keyring is the ring in force.
func (w *Watcher) Keyring() *token.Keyring { return w.inForce.Load() }

// Use calls use with the ring in force, and with each one that is about to be. A ring seals nothing before use has returned.
func (w *Watcher) Use(use func(*token.Keyring)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	use(w.inForce.Load())
	w.uses = append(w.uses, use)
}

// OnLook calls f with what every look comes to. f must not look.
func (w *Watcher) OnLook(f func(Outcome, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onLook = f
}

// Look reads the file again. A ring that cannot be used, or may not follow the one in force ([token.Keyring.Follows]), is Refused with the reason.
func (w *Watcher) Look() (Outcome, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.look()
}

func (w *Watcher) look() (outcome Outcome, err error) {
	w.looks++
	at, old := w.now(), w.inForce.Load()
	defer func() { w.faulty = err; w.onLook(outcome, err) }()
	k, err := Load(w.path)
	if err == nil && !k.Same(old) {
		if err = k.Follows(old.At(at)); err == nil {
			w.put(k, at)
			return Taken, nil
		}
	}
	turned := !w.whenNext.IsZero() && !at.Before(w.whenNext)
	if turned {
		w.put(old, at)
	}
	switch {
	case err != nil:
		return Refused, err
	case turned:
		return Turned, nil
	}
	return Unchanged, nil
}

// Fault is why the file was refused at the last look; nil when it is what is in force.
func (w *Watcher) Fault() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.faulty
}

// Ask looks at the file because somebody came with a key that is not in the ring: it may have just arrived. It looks once a second at most, whatever
// is asked, and reports whether the ring has changed.
func (w *Watcher) Ask() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.now()
	if since := at.Sub(w.asked); since >= 0 && since < askedEvery {
		return false
	}
	w.asked = at
	outcome, _ := w.look()
	return outcome == Taken
}

// Run looks whenever tick or hangUp says so, until ctx ends. hangUp may be nil.
func (w *Watcher) Run(ctx context.Context, tick <-chan time.Time, hangUp <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
		case <-hangUp:
		}
		_, _ = w.Look() // told to OnLook
	}
}
