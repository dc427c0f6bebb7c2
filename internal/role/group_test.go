package role

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestGroupStopsInOrderAndKeepsEveryError(t *testing.T) { synctest.Test(t, stopsInOrder) }

func stopsInOrder(t *testing.T) {
	var mu sync.Mutex
	var order []string
	stopped := func(name string) { mu.Lock(); order = append(order, name); mu.Unlock() }
	broken, late := errors.New("broken"), errors.New("late")

	var g Group
	for i, name := range []string{"first", "second", "third"} {
		g.Add(name, func(ctx context.Context) error {
			<-ctx.Done()
			<-time.After(time.Duration(3-i) * time.Second) // the later ones are quicker
			stopped(name)
			if name == "second" {
				return late
			}
			return ctx.Err()
		})
	}
	g.Add("failing", func(context.Context) error { return broken })

	err := g.Run(t.Context())
	if !errors.Is(err, broken) || !errors.Is(err, late) || !strings.Contains(err.Error(), "second: late") {
		t.Errorf("error = %v, want both, named", err)
	}
	if want := []string{"first", "second", "third"}; !reflect.DeepEqual(order, want) {
		t.Errorf("stopped %v, want %v", order, want)
	}
}

func TestGroupStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var g Group
	g.Add("one", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	g.Add("canceller", func(ctx context.Context) error { cancel(); <-ctx.Done(); return nil })
	if err := g.Run(ctx); err != nil {
		t.Errorf("error = %v, want none", err)
	}
}
