package natsjs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/natsdev/natstest"
)

// testLog sends the log to the test's, until the test ends.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// testContext ends long before the test binary's own limit.
func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func connect(t testing.TB, url string) *Conn {
	t.Helper()
	c, err := Connect(t.Context(), Options{URL: url, Name: t.Name(), Log: testLog(t)})
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

// install starts a server with the streams for n partitions.
func install(t testing.TB, n int) (*natstest.Server, *Conn) {
	t.Helper()
	s := natstest.New(t)
	c := connect(t, s.URL())
	if _, err := c.Ensure(testContext(t), Config{Partitions: n}); err != nil {
		t.Fatalf("ensure: %v", err)
	}
	return s, c
}

// record is the i-th record of a gateway.
func record(partition, i int) events.Record {
	return events.Record{Partition: partition, Payload: fmt.Appendf(nil, "[%d]", i), Producer: "gw", Number: uint64(i)}
}

func appendRecords(t testing.TB, c *Conn, partition, from, to int) {
	t.Helper()
	var list []events.Record
	for i := from; i <= to; i++ {
		list = append(list, record(partition, i))
	}
	if err := c.AppendRecords(testContext(t), list); err != nil {
		t.Fatalf("append records %d to %d: %v", from, to, err)
	}
}

func wantErr(t testing.TB, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("got error %v, want %v", got, want)
	}
}

// eventually waits until cond holds.
func eventually(t testing.TB, within time.Duration, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(within); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}
