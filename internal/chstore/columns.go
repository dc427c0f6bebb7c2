package chstore

import (
	"cmp"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
)

// placed are the shared columns, for a row type that has a place.
func placed[R any](of func(*R) *place) []column[R] {
	return []column[R]{
		col("event_id", func(r *R) string { return of(r).eventID }),
		col("ts", func(r *R) time.Time { return of(r).ts }),
		col("ingested_at", func(r *R) time.Time { return of(r).ingested }),
		col("tenant", func(r *R) string { return of(r).tenant }),
		col("code_id", func(r *R) string { return of(r).code }),
		col("partition", func(r *R) uint16 { return of(r).partition }),
		col("stream_seq", func(r *R) uint64 { return of(r).seq }),
		col("idx", func(r *R) uint32 { return of(r).idx }),
	}
}

var scansTable = table[scanRow]{"scans", append(placed(func(r *scanRow) *place { return &r.place }),
	col("variant", func(r *scanRow) uint8 { return uint8(r.scan.Variant) }),
	col("tracking", func(r *scanRow) string { return r.scan.Tracking }),
	col("visitor", func(r *scanRow) string { return r.scan.Visitor }),
	col("verdict", func(r *scanRow) string { return r.verdict }),
	col("rule", func(r *scanRow) string { return r.rule }),
	col("answered", func(r *scanRow) string { return r.scan.Answered }),
	col("target", func(r *scanRow) int32 { return r.target }),
	col("utm_source", func(r *scanRow) string { return r.utm.Source }),
	col("utm_medium", func(r *scanRow) string { return r.utm.Medium }),
	col("utm_campaign", func(r *scanRow) string { return r.utm.Campaign }),
	col("utm_term", func(r *scanRow) string { return r.utm.Term }),
	col("utm_content", func(r *scanRow) string { return r.utm.Content }),
	col("country", func(r *scanRow) string { return r.scan.Country }),
	col("province", func(r *scanRow) string { return r.scan.Province }),
	col("city", func(r *scanRow) string { return r.scan.City }),
	col("device_model", func(r *scanRow) string { return r.scan.DeviceModel }),
	col("os", func(r *scanRow) string { return r.scan.OS }),
	col("app", func(r *scanRow) string { return r.scan.App }),
	col("referrer_host", func(r *scanRow) string { return r.scan.RefererHost }),
	col("network", func(r *scanRow) string { return r.scan.Network }),
	col("click_id", func(r *scanRow) string { return r.scan.ClickID }),
)}

var membersTable = table[memberRow]{"members", append(placed(func(r *memberRow) *place { return &r.place }),
	col("kind", func(r *memberRow) string { return r.kind }),
	col("target", func(r *memberRow) int32 { return r.target }),
	col("visitor", func(r *memberRow) string { return r.visitor }),
	col("click_id", func(r *memberRow) string { return r.click }),
	col("count", func(r *memberRow) int64 { return r.count }),
)}

var conversionsTable = table[conversionRow]{"conversions", append(placed(func(r *conversionRow) *place { return &r.place }),
	col("name", func(r *conversionRow) string { return r.data.Name }),
	col("value", func(r *conversionRow) string { return cmp.Or(string(r.data.Value), "0") }),
	col("currency", func(r *conversionRow) string { return r.data.Currency }),
	col("click_id", func(r *conversionRow) string { return r.data.ClickID }),
	col("visitor", func(r *conversionRow) string { return r.data.Visitor }),
)}

// forged scans name no code.
var forgedTable = table[forgedRow]{"forged", append(without("code_id", placed(func(r *forgedRow) *place { return &r.place })),
	col("network", func(r *forgedRow) string { return r.data.Network }),
	col("count", func(r *forgedRow) uint64 { return uint64(r.data.Count) }),
)}

func noticeTable(name string) table[noticeRow] {
	return table[noticeRow]{name, append(placed(func(r *noticeRow) *place { return &r.place }),
		col("type", func(r *noticeRow) string { return r.typ }),
		col("kind", func(r *noticeRow) string { return r.kind }),
		col("target", func(r *noticeRow) int32 { return r.target }),
		col("rule", func(r *noticeRow) string { return r.rule }),
		col("cause", func(r *noticeRow) []string { return r.cause }),
		col("detail", func(r *noticeRow) string { return r.detail }),
	)}
}

var (
	alertsTable    = noticeTable("alerts")
	decisionsTable = noticeTable("decisions")
)

var codesTable = table[codeRow]{"codes_log", append(placed(func(r *codeRow) *place { return &r.place }),
	col("revision", func(r *codeRow) uint64 { return r.view.Revision }),
	col("name", func(r *codeRow) string { return r.view.Name }),
	col("profile", func(r *codeRow) string { return r.view.Profile }),
	col("campaign", func(r *codeRow) string { return r.view.Campaign }),
	col("source", func(r *codeRow) string { return r.view.Source }),
	col("medium", func(r *codeRow) string { return r.view.Medium }),
	col("owner", func(r *codeRow) string { return r.view.Owner }),
	col("status", func(r *codeRow) string { return string(r.view.Status) }),
	col("reason", func(r *codeRow) string { return r.view.Reason }),
	col("minted_at", func(r *codeRow) time.Time { return r.view.MintedAt }),
	col("expires_at", func(r *codeRow) *time.Time { return orNull(r.view.ExpiresAt) }),
	col("renewal_due_at", func(r *codeRow) *time.Time { return orNull(r.view.RenewalDueAt) }),
	col("renewed_at", func(r *codeRow) *time.Time { return orNull(r.view.RenewedAt) }),
	col("revoked_at", func(r *codeRow) *time.Time { return orNull(r.view.RevokedAt) }),
	col("max_scans", func(r *codeRow) uint64 { return count(r.view.MaxScans) }),
	col("current", func(r *codeRow) int32 { return int32(r.view.Current) }),
	col("consumed", func(r *codeRow) uint64 { return count(r.view.Consumed) }),
	col("counts", func(r *codeRow) map[string]uint64 {
		m := make(map[string]uint64)
		for v, n := range r.view.Counts.All() {
			m[string(v)] = count(n)
		}
		return m
	}),
	col("unique", func(r *codeRow) uint64 { return count(r.view.Unique) }),
	targetCol("n", func(t *code.TargetView) int32 { return int32(t.N) }),
	targetCol("members", func(t *code.TargetView) int64 { return t.Members }),
	targetCol("members_from", func(t *code.TargetView) string { return t.MembersFrom }),
	targetCol("capacity", func(t *code.TargetView) int64 { return t.Capacity }),
	targetCol("scans", func(t *code.TargetView) int64 { return t.Scans }),
	targetCol("per_hour", func(t *code.TargetView) float64 { return t.PerHour }),
	targetCol("eta_full", func(t *code.TargetView) *time.Time { return orNull(t.EtaFull) }),
)}

func targetCol[T any](name string, of func(*code.TargetView) T) column[codeRow] {
	return col("targets."+name, func(r *codeRow) []T {
		out := make([]T, len(r.view.Targets))
		for i := range r.view.Targets {
			out[i] = of(&r.view.Targets[i])
		}
		return out
	})
}

var commitsTable = table[commitRow]{"commits", []column[commitRow]{
	col("partition", func(r *commitRow) uint16 { return uint16(r.c.Partition) }),
	col("step", func(r *commitRow) uint64 { return r.c.Step }),
	col("commit_seq", func(r *commitRow) uint64 { return r.seq }),
	col("ts", func(r *commitRow) time.Time { return r.c.Time }),
	col("ingested_at", func(r *commitRow) time.Time { return r.ingested }),
	col("owner", func(r *commitRow) string { return r.c.Owner }),
	col("reached_seq", func(r *commitRow) uint64 { return r.c.Reached.Seq }),
	col("reached_idx", func(r *commitRow) uint32 { return uint32(r.c.Reached.Idx) }),
	col("reached_more", func(r *commitRow) bool { return r.c.Reached.More }),
	stepCol("scans", 0), stepCol("members", 1), stepCol("conversions", 2), stepCol("codes", 3), stepCol("forged", 4),
	stepCol("decisions", 5), stepCol("alerts", 6), stepCol("dead", 7),
	totalCol("scans", func(t *events.Totals) int64 { return t.Scans }),
	totalCol("members", func(t *events.Totals) int64 { return t.Members }),
	totalCol("conversions", func(t *events.Totals) int64 { return t.Conversions }),
	totalCol("codes", func(t *events.Totals) int64 { return t.Codes }),
	totalCol("forged", func(t *events.Totals) int64 { return t.Forged }),
	totalCol("decisions", func(t *events.Totals) int64 { return t.Decisions }),
	totalCol("alerts", func(t *events.Totals) int64 { return t.Alerts }),
	totalCol("repeated", func(t *events.Totals) int64 { return t.Repeated }),
	totalCol("dead", func(t *events.Totals) int64 { return t.Dead }),
}}

func stepCol(name string, i int) column[commitRow] {
	return col("step_"+name, func(r *commitRow) uint32 { return r.n[i] })
}

func totalCol(name string, of func(*events.Totals) int64) column[commitRow] {
	return col("total_"+name, func(r *commitRow) uint64 { return count(of(&r.c.Totals)) })
}

func without[R any](name string, list []column[R]) []column[R] {
	var out []column[R]
	for _, c := range list {
		if c.name != name {
			out = append(out, c)
		}
	}
	return out
}

// orNull is NULL for the zero time.
func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// count is n as the unsigned number a count is.
func count(n int64) uint64 { return uint64(max(n, 0)) }
