package chstore

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/chembed/chtest"
	"github.com/huoma/huoma/internal/chstore/chgen"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/powercut"
)

// asAServer are the settings that a ClickHouse server has of its own accord.
const asAServer = "fsync_after_insert = 0, fsync_part_directory = 0, min_rows_to_fsync_after_merge = 0, min_compressed_bytes_to_fsync_after_merge = 0"

// A batch is in the warehouse when Insert has returned, also when the power goes then; with a server's own settings it is not.
func TestPowerCut(t *testing.T) {
	for _, synced := range []bool{true, false} {
		t.Run(fmt.Sprintf("synced %v", synced), func(t *testing.T) {
			disk := powercut.New(t, powercut.Journaled)
			ch := chtest.StartDir(t, filepath.Join(disk.Dir, "clickhouse"))
			s, err := Open(t.Context(), Options{URL: "clickhouse://" + ch.Addr() + "/huoma", Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			if err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !synced {
				for _, table := range append([]string{"codes_log", "scans_hourly", "members_hourly", "conversions_hourly", "forged_hourly"}, ttlTables...) {
					exec(t, s, "ALTER TABLE "+table+" MODIFY SETTING "+asAServer)
				}
			}
			g := chgen.New(11, 3)
			steps, lost := uint64(0), int64(0)
			var last events.Batch
			for round := range 4 {
				for i := range 3 + round {
					last = g.Batch(fmt.Sprintf("%d.%d", round, i), 3, 40, steps)
					last.At = time.Now().UTC().Truncate(time.Millisecond)
					put1(t, s, last)
					steps += 3
				}
				if round == 2 {
					exec(t, s, "OPTIMIZE TABLE scans FINAL") // and the merged part is what stands
				}
				pid := ch.PID()
				off := func() { _ = syscall.Kill(pid, syscall.SIGKILL) }
				if round%2 == 0 {
					disk.Cut(off)
				} else {
					disk.CutTorn(uint64(round), off)
				}
				answers(t, s)
				// The worker had not closed its manifest yet: it inserts the last batch again, as another process would.
				again := last
				again.Replayed = true
				if synced {
					put1(t, s, again)
				}
				lost = number(t, s, "SELECT sum(missing) + sum(gaps) FROM reconcile")
				if !synced {
					if want := int64(steps); lost == 0 && number(t, s, "SELECT uniqExact(step) FROM commits") < want {
						lost = want - number(t, s, "SELECT uniqExact(step) FROM commits")
					}
					break
				}
				reconciled(t, s, "(0,0,0)")
				if n := number(t, s, "SELECT uniqExact(step) FROM commits"); n != int64(steps) {
					t.Fatalf("round %d: %d of %d steps are there", round, n, steps)
				}
				rollups(t, s)
			}
			t.Logf("%d steps answered, lost: %d", steps, lost)
			if !synced && lost == 0 {
				t.Error("nothing is lost without syncing: the disk does not cut")
			}
		})
	}
}

// answers waits until the engine, whose process was killed, answers again.
func answers(t testing.TB, s *Store) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(50 * time.Millisecond) {
		err := s.Ping(t.Context())
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func number(t testing.TB, s *Store, sql string) (n int64) {
	t.Helper()
	if err := s.conn.QueryRow(t.Context(), "SELECT ifNull(toInt64(("+sql+")), 0)").Scan(&n); err != nil {
		if strings.Contains(err.Error(), "UNKNOWN") || strings.Contains(err.Error(), "doesn't exist") {
			return 0 // tables and all
		}
		t.Fatal(err)
	}
	return n
}
