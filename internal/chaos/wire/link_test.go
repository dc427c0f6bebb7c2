package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/natsdev/natstest"
)

const within = 30 * time.Second

func listen(t *testing.T, o Options) *Link {
	t.Helper()
	k, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// stream is a NATS server with a stream, and a client on a link to it.
func stream(t *testing.T) (*Link, jetstream.JetStream, jetstream.Stream) {
	t.Helper()
	url := natstest.Start(t)
	k := listen(t, Options{Target: url[len("nats://"):], NATS: true})
	nc, err := nats.Connect("nats://"+k.Addr(), nats.ReconnectWait(20*time.Millisecond), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.CreateStream(ctx(t), jetstream.StreamConfig{Name: "HUOMA_EVENTS", Subjects: []string{"huoma.in.>"}})
	if err != nil {
		t.Fatal(err)
	}
	return k, js, s
}

func ctx(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	return ctx
}

func stored(t *testing.T, s jetstream.Stream) uint64 {
	t.Helper()
	info, err := s.Info(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	return info.State.Msgs
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", within, what)
		}
		<-time.After(time.Millisecond)
	}
}

func TestDuplicate(t *testing.T) {
	k, js, s := stream(t)
	k.Set(Faults{Duplicate: true})
	if _, err := js.Publish(ctx(t), "huoma.in.scan.a", []byte("plain")); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx(t), "huoma.in.scan.a", []byte("named"), jetstream.WithMsgID("x")); err != nil {
		t.Fatal(err)
	}
	if n := stored(t, s); n != 3 {
		t.Errorf("%d messages are stored, want the plain one twice and the named one once", n)
	}
	cons, err := s.CreateConsumer(ctx(t), jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	got, err := cons.Fetch(3, jetstream.FetchMaxWait(within))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[uint64]int{}
	for m := range got.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		seen[meta.Sequence.Stream]++
	}
	twice := false
	for _, n := range seen {
		twice = twice || n == 2
	}
	if !twice {
		t.Errorf("delivered %v, want some twice", seen)
	}
	if k.Counts().Duplicated < 3 {
		t.Errorf("counted %+v", k.Counts())
	}
}

func TestLoseAcks(t *testing.T) {
	k, js, s := stream(t)
	k.Set(Faults{LoseAcks: true})
	short, cancel := context.WithCancel(ctx(t))
	failed := make(chan error, 1)
	go func() {
		_, err := js.Publish(short, "huoma.in.scan.a", []byte("1"), jetstream.WithMsgID("x"), jetstream.WithRetryAttempts(0))
		failed <- err
	}()
	until(t, "an acknowledgement is lost", func() bool { return k.Counts().AcksLost == 1 })
	cancel()
	if err := <-failed; err == nil {
		t.Error("the publisher was told")
	}
	k.Set(Faults{})
	ack, err := js.Publish(ctx(t), "huoma.in.scan.a", []byte("1"), jetstream.WithMsgID("x"))
	if err != nil || !ack.Duplicate {
		t.Errorf("said again: %+v, %v, want a duplicate", ack, err)
	}
	if n := stored(t, s); n != 1 {
		t.Errorf("%d messages are stored, want 1", n)
	}
}

func TestLie(t *testing.T) {
	k, js, s := stream(t)
	k.Set(Faults{Lie: "huoma.in."})
	other, err := js.Conn().SubscribeSync("elsewhere") // ids of subscriptions are the client's business
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Unsubscribe() }()
	for range Lies + 1 {
		if _, err := js.Publish(ctx(t), "huoma.in.scan.a", []byte("1")); err != nil {
			t.Fatal(err)
		}
	}
	if n := stored(t, s); n != 1 || k.Counts().Lies != Lies {
		t.Errorf("%d messages are stored after %+v, want the last", n, k.Counts())
	}
}

func TestHold(t *testing.T) {
	for _, row := range []struct {
		name string
		f    Faults
		get  uint64 // stored meanwhile
	}{
		{"queries", Faults{HoldQueries: true}, 0},
		{"answers", Faults{HoldAnswers: true}, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			k, js, _ := stream(t)
			other, err := nats.Connect("nats://" + k.o.Target)
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			beside, err := jetstream.New(other)
			if err != nil {
				t.Fatal(err)
			}
			s, err := beside.Stream(ctx(t), "HUOMA_EVENTS")
			if err != nil {
				t.Fatal(err)
			}
			k.Set(row.f)
			done := make(chan error, 1)
			go func() {
				_, err := js.Publish(ctx(t), "huoma.in.scan.a", []byte("1"))
				done <- err
			}()
			until(t, "something is held", func() bool { return k.Counts().Held > 0 })
			if n := stored(t, s); n != row.get {
				t.Errorf("%d messages are stored while it is held, want %d", n, row.get)
			}
			select {
			case err := <-done:
				t.Errorf("answered while it is held: %v", err)
			default:
			}
			k.Set(Faults{})
			if err := <-done; err != nil {
				t.Error(err)
			}
			if n := stored(t, s); n != 1 {
				t.Errorf("%d messages are stored, want 1", n)
			}
		})
	}
}

// echo is a server that says everything again.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	return l.Addr().String()
}

func say(t *testing.T, c net.Conn, text string) error {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(c, text); err != nil {
		return err
	}
	got, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && got != text+"\n" {
		return fmt.Errorf("the echo of %q is %q", text, got)
	}
	return err
}

func TestCut(t *testing.T) {
	k := listen(t, Options{Target: echo(t)})
	c, err := net.Dial("tcp", k.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := say(t, c, "hello"); err != nil {
		t.Fatal(err)
	}
	k.Set(Faults{Cut: true})
	if err := say(t, c, "anybody"); err == nil {
		t.Error("a cut connection answers")
	}
	if c, err := net.Dial("tcp", k.Addr()); err == nil {
		if err := say(t, c, "anybody"); err == nil {
			t.Error("a new connection is let through")
		}
		c.Close()
	}
	if k.Counts().Cut != 1 {
		t.Errorf("counted %+v", k.Counts())
	}
	k.Set(Faults{})
	again, err := net.Dial("tcp", k.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := say(t, again, "hello again"); err != nil {
		t.Error(err)
	}
}

func TestDelay(t *testing.T) {
	k := listen(t, Options{Target: echo(t)})
	c, err := net.Dial("tcp", k.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	k.Set(Faults{Delay: 100 * time.Millisecond})
	begun := time.Now()
	if err := say(t, c, "hello"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < 200*time.Millisecond {
		t.Errorf("there and back took %s, want at least twice 100ms", took)
	}
}

func TestWatch(t *testing.T) {
	k := listen(t, Options{Target: echo(t)})
	c, err := net.Dial("tcp", k.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var n atomic.Int64
	k.Watch(func(b int) { n.Add(int64(b)) })
	if err := say(t, c, "hello"); err != nil {
		t.Fatal(err)
	}
	if n.Load() != int64(len("hello\n")) {
		t.Errorf("watched %d bytes, want those of the client", n.Load())
	}
}

func TestIsolate(t *testing.T) {
	k := listen(t, Options{Target: echo(t), Route: true})
	dial := func(name string) net.Conn {
		c, err := net.Dial("tcp", k.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = say(t, c, `INFO {"server_id":"x","server_name":"`+name+`"}`)
		return c
	}
	one, two := dial("nats-1"), dial("nats-2")
	k.Isolate("nats-1")
	if err := say(t, one, "hello"); err == nil {
		t.Error("nats-1 is heard")
	}
	if err := say(t, two, "hello"); err != nil {
		t.Errorf("nats-2: %v", err)
	}
	if err := say(t, dial("nats-1"), "hello"); err == nil {
		t.Error("nats-1 is let through again")
	}
	k.Isolate()
	if err := say(t, dial("nats-1"), "hello"); err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("nats-1: %v", err)
	}
}
