package scanning

import (
	"fmt"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/events"
)

const phone = "Mozilla/5.0 (Linux; Android 14; PJD110) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/116.0 Mobile Safari/537.36 MicroMessenger/8.0.49"

// traffic is the definitions of codes and n scans of them, in messages of so
// many events: one as from a plain producer, more as from a gateway.
func traffic(b *testing.B, codes, n, each int) (mints, scans []events.Message) {
	seq := uint64(0)
	var list []*events.Event
	for i := range codes {
		d := definition(fmt.Sprintf("code%06d", i))
		d.MaxScans, d.Targets[0].Capacity = 0, 0
		list = append(list, minted(d))
	}
	for i := 0; i < len(list); i += 100 {
		seq++
		mints = append(mints, record(b, seq, int(seq), epoch, list[i:min(i+100, len(list))]...))
	}
	for i := 0; i < n; i += each {
		seq++
		at := epoch.Add(time.Duration(i) * time.Millisecond / 10)
		var batch []*events.Event
		for k := i; k < i+each; k++ {
			scan := &events.Scan{
				Variant: 1, Tracking: "K7Q2M9XA", Visitor: fmt.Sprintf("v%020d", k/3), UserAgent: phone, Network: "203.0.113.0/24",
				DeviceModel: "PJD110", OS: "Android 14", App: "WeChat 8.0.49", UTM: &events.UTM{Source: "poster", Campaign: "spring"}, ClickID: fmt.Sprintf("01J%023d", k),
			}
			if each > 1 {
				scan.Answered, scan.Target = "accepted", target(0)
			}
			batch = append(batch, event(events.TypeScan, fmt.Sprintf("01J%023d", k), fmt.Sprintf("code%06d", k*7919%codes), at, scan))
		}
		if each > 1 {
			scans = append(scans, record(b, seq, int(seq), at, batch...))
		} else {
			scans = append(scans, published(b, seq, "scan", at, batch[0]))
		}
	}
	return mints, scans
}

// Deciding scans and writing the commit records, without the broker.
func BenchmarkDecide(b *testing.B) {
	for _, each := range []int{1, 100} {
		b.Run(fmt.Sprintf("%d-a-message", each), func(b *testing.B) {
			const n = 20_000
			mints, scans := traffic(b, 1000, n, each)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				t := NewTransform(0, 1, "w", testIdentity())
				run(b, t, mints)
				b.StartTimer()
				run(b, t, scans)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/event")
		})
	}
}

func run(b *testing.B, t *Transform, list []events.Message) {
	for i := 0; i < len(list); {
		r := t.begin()
		for i < len(list) && r.size < softCommit && t.take(r, list[i]) {
			i++
		}
		if len(r.letters) > 0 {
			b.Fatal(r.letters[0].Detail)
		}
		if _, err := t.end(r).Marshal(); err != nil {
			b.Fatal(err)
		}
	}
}
