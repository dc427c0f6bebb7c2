package natsjs

import (
	"errors"
	"fmt"
	"testing"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/natsdev/natstest"
)

func synced(b *testing.B) *Conn {
	c := connect(b, natstest.New(b, natstest.WithSync()).URL())
	if _, err := c.Ensure(testContext(b), Config{}); err != nil {
		b.Fatal(err)
	}
	return c
}

// One record a flush, every write synced.
func BenchmarkAppendRecord(b *testing.B) {
	c := synced(b)
	payload := make([]byte, 64<<10)
	b.SetBytes(int64(len(payload)))
	for n := uint64(1); b.Loop(); n++ {
		if err := c.AppendRecords(b.Context(), []events.Record{{Payload: payload, Producer: "gw", Number: n}}); err != nil {
			b.Fatal(err)
		}
	}
}

// One commit a step, every write synced.
func BenchmarkAppendCommit(b *testing.B) {
	c := synced(b)
	payload := make([]byte, 4<<10)
	var last uint64
	var err error
	for b.Loop() {
		if last, err = c.AppendCommit(b.Context(), 0, last, payload); err != nil {
			b.Fatal(err)
		}
	}
}

// Reading a partition through a claim, acknowledging every run.
func BenchmarkClaim(b *testing.B) {
	_, c := install(b, 1)
	for i := range 20 {
		for k := range 1000 {
			if _, err := c.js.PublishAsync(events.StoredSubject(0, events.KindGateway), fmt.Appendf(make([]byte, 0, 512), "%500d", i*1000+k)); err != nil {
				b.Fatal(err)
			}
		}
		<-c.js.PublishAsyncComplete()
	}
	cl, err := c.ClaimPartition(b.Context(), 0)
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	if _, err := cl.Next(b.Context()); !errors.Is(err, events.ErrRewind) {
		b.Fatal(err)
	}
	b.SetBytes(500 * 20000)
	for b.Loop() { // 20 000 messages
		if err := cl.Rewind(b.Context(), 1); err != nil {
			b.Fatal(err)
		}
		for n := 0; n < 20000; {
			run, err := cl.Next(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			n += len(run)
			if err := cl.Ack(b.Context(), run[len(run)-1].Seq); err != nil {
				b.Fatal(err)
			}
		}
	}
}
