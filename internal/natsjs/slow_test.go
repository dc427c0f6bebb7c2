package natsjs

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/natsdev/natstest"
)

// A subscriber of huoma.alert.> that never reads, while ten thousand alerts flow: publishing goes on, and another subscriber gets every
// one in order. The server drops the stalled one: its buffer is bounded.
func TestAStalledSubscriberHoldsNobodyUp(t *testing.T) {
	const alerts = 10_000
	server := natstest.New(t)
	conn := connect(t, server.URL())
	if _, err := conn.Ensure(testContext(t), Config{Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	stalled, err := net.Dial("tcp", strings.TrimPrefix(server.URL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stalled.Close() })
	if err := stalled.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(stalled, "CONNECT {\"verbose\":false}\r\nSUB huoma.alert.> 1\r\nPING\r\n"); err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	sub, err := nc.SubscribeSync("huoma.alert.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.SetPendingLimits(alerts, -1); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	key := strings.Repeat("k", 8<<10) // in all more than the server holds for one client
	for from := 0; from < alerts; from += 250 {
		var list []*events.Event
		for i := from; i < from+250; i++ {
			list = append(list, &events.Event{
				ID: fmt.Sprintf("a%05d", i), Source: "test", Type: "huoma.alert.risk.v1", Subject: "000000000001", Time: time.Now(),
				Data: &events.Alert{Code: "000000000001", Kind: "risk", Reason: "test", Key: key},
			})
		}
		if err := conn.PublishAlerts(t.Context(), list); err != nil {
			t.Fatal(err)
		}
	}
	for i := range alerts {
		m, err := sub.NextMsg(time.Minute)
		if err != nil {
			t.Fatalf("after %d alerts: %v", i, err)
		}
		if want := fmt.Sprintf("a%05d", i); m.Header.Get(events.HeaderMsgID) != want {
			t.Fatalf("alert %s comes in the place of %s", m.Header.Get(events.HeaderMsgID), want)
		}
	}
	// A server that has closed the connection resets it when something comes.
	for deadline := time.Now().Add(time.Minute); ; <-time.After(20 * time.Millisecond) {
		if _, err := io.WriteString(stalled, "PING\r\n"); err != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the stalled one was not dropped")
		}
	}
}
