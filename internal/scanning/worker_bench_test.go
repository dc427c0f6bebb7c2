package scanning_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/natsdev/natstest"
	"github.com/huoma/huoma/internal/risk"
	"github.com/huoma/huoma/internal/scanning"
)

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkWorker(b *testing.B) {
	const n, codes = 40_000, 1000
	srv := natstest.New(b)
	conn := connect(b, srv.URL(), 1)
	s := &story{t: b, conn: conn, n: 1, record: map[int]uint64{}}
	now := time.Now().UTC()
	for i := 0; i < codes; i += 50 {
		var list []*events.Event
		for k := i; k < i+50; k++ {
			id := fmt.Sprintf("code%06d", k)
			list = append(list, &events.Event{ID: "m" + id, Source: "t", Type: events.TypeCodeMinted, Subject: id, Time: now, Data: &events.CodeData{Definition: code.Definition{
				ID: id, Revision: 1, Profile: "wechat-group", Countdown: code.CountdownNone, WarnPercent: 80, Rules: risk.DefaultRules(), MintedAt: now, ChangedAt: now,
				Targets: []code.Target{{N: 0, URL: "https://example.com/0"}},
			}}})
		}
		s.gateway(list...)
	}
	nc, err := nats.Connect(srv.URL())
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	js, _ := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4000))
	for k := range n {
		id := fmt.Sprintf("code%06d", k*7919%codes)
		e := &events.Event{ID: fmt.Sprintf("01J%023d", k), Source: "producer", Type: events.TypeScan, Subject: id, Time: now, Data: &events.Scan{
			Variant: 1, Tracking: "K7Q2M9XA", Visitor: fmt.Sprintf("v%020d", k/3), UserAgent: "Mozilla/5.0 (Linux; Android 14; PJD110) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/116.0 Mobile Safari/537.36 MicroMessenger/8.0.49", Network: "203.0.113.0/24",
			DeviceModel: "PJD110", OS: "Android 14", App: "WeChat 8.0.49", UTM: &events.UTM{Source: "poster", Campaign: "spring"}, ClickID: fmt.Sprintf("01J%023d", k),
		}}
		m, _ := e.Marshal()
		if k%2000 == 1999 {
			<-js.PublishAsyncComplete()
		}
		if _, err := js.PublishMsgAsync(&nats.Msg{Subject: "huoma.in.scan." + id, Data: m, Header: nats.Header{"Nats-Msg-Id": {e.ID}, "Content-Type": {events.ContentType}}}, jetstream.WithStallWait(30*time.Second)); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	st, _ := js.Stream(b.Context(), events.StreamEvents)
	info, _ := st.Info(b.Context())
	last := info.State.LastSeq

	for range 1 {
		cl, err := conn.ClaimPartition(b.Context(), 0)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := cl.Next(b.Context()); !errors.Is(err, events.ErrRewind) {
			b.Fatal(err)
		}
		if err := cl.Rewind(b.Context(), 1); err != nil {
			b.Fatal(err)
		}
		w0, c0 := time.Now(), cpu()
		for seen := uint64(0); seen < last; {
			run, err := cl.Next(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			seen = run[len(run)-1].Seq
			_ = cl.Ack(b.Context(), seen)
		}
		w, c := time.Since(w0), cpu()-c0
		fmt.Printf("bare   %8.0f/s wall %5.2f us cpu %5.2f us\n", n/w.Seconds(), w.Seconds()*1e6/n, c.Seconds()*1e6/n)
		_ = cl.Close()
	}
	f, _ := os.Create("/tmp/worker.prof")
	_ = pprof.StartCPUProfile(f)
	w0, c0 := time.Now(), cpu()
	_, stop := work(b, conn, "w", 1, func(o *scanning.Options) { o.SnapshotEvents, o.SnapshotEvery = 0, 0 })
	for tick := range time.Tick(20 * time.Millisecond) {
		_ = tick
		p, _, err := conn.LastCommit(context.Background(), 0)
		if err != nil {
			continue
		}
		c, err := events.ParseCommit(p)
		if err == nil && c.Reached.Seq >= last {
			break
		}
	}
	w, c := time.Since(w0), cpu()-c0
	pprof.StopCPUProfile()
	fmt.Printf("worker %8.0f/s wall %5.2f us cpu %5.2f us\n", n/w.Seconds(), w.Seconds()*1e6/n, c.Seconds()*1e6/n)
	stop()
	for b.Loop() {
	}
}
