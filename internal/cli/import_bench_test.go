package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/importing/importtest"
)

// BenchmarkImport imports a log of b.N lines, with gateway, scan worker, NATS, analytics worker and ClickHouse on the same machine:
//
//	go test ./internal/cli -run '^$' -bench Import -benchtime 1000000x
//
// The clock runs until every event is acknowledged, as the command's does.
func BenchmarkImport(b *testing.B) {
	in := install(b)
	web := in.warehouse(b)
	_, tokens := in.mints(b, 50)
	path := filepath.Join(b.TempDir(), "access.log")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	truth, err := importtest.Log{Seed: 1, Lines: b.N, Tokens: tokens, Start: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC), Span: 30 * 24 * time.Hour}.Write(f)
	if err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	if s := summary(b, in.importing(b, "--format", "combined", "--json", path)); s.Imported != truth.Scans {
		b.Fatalf("%+v, want %d", s, truth.Scans)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
	deadline := time.Now().Add(5 * time.Minute)
	for sql(b, web, "SELECT count() FROM scans") != fmt.Sprint(truth.Scans) {
		if time.Now().After(deadline) {
			b.Fatal("not all of it is in the warehouse after 5 min")
		}
		<-time.After(100 * time.Millisecond)
	}
	if got := sql(b, web, "SELECT sum(missing), sum(doubled) FROM reconcile"); got != "0\t0" {
		b.Errorf("reconcile: %s", got)
	}
}
