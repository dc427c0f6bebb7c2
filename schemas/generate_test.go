package schemas_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/code/span"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/risk"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func jsonOf(v any) ([]byte, error) { return json.Marshal(v) }

func text(t *rapid.T, name string) string {
	return rapid.StringMatching(`[a-zA-Z0-9 群码é<>&"'\\/.:{}-]{0,24}`).Draw(t, name)
}

func someText(t *rapid.T, name string) string { return text(t, name) + "x" }

func maybe[T any](t *rapid.T, name string, v T) (out T) {
	if rapid.Bool().Draw(t, "has "+name) {
		return v
	}
	return out
}

func instant(t *rapid.T, name string) time.Time {
	return time.Unix(rapid.Int64Range(0, 4e9).Draw(t, name), rapid.SampledFrom([]int64{0, 1, 250e6, 999_999_999, 120_000}).Draw(t, "ns")).UTC()
}

func duration(t *rapid.T, name string, least, most time.Duration) span.Span {
	return span.Span(time.Duration(rapid.Int64Range(least.Milliseconds(), most.Milliseconds()).Draw(t, name)) * time.Millisecond)
}

func numbered(t *rapid.T, name string) *int {
	n := rapid.SampledFrom([]int{0, 1, 7, events.MaxTarget}).Draw(t, name)
	return &n
}

func drawRule(t *rapid.T, id string) risk.Rule {
	return risk.Rule{
		ID: id, Scope: rapid.SampledFrom([]risk.Scope{risk.ScopeVisitor, risk.ScopeCode, risk.ScopeNetwork}).Draw(t, "scope"),
		Limit: rapid.IntRange(1, risk.MaxLimit).Draw(t, "limit"), Window: duration(t, "window", risk.MinWindow, risk.MaxWindow),
		Action: rapid.SampledFrom([]risk.Action{risk.ActionLock, risk.ActionFlag, risk.ActionDryRun}).Draw(t, "action"), For: duration(t, "for", time.Second, risk.MaxFor),
	}
}

func drawDefinition(t *rapid.T, typ string) code.Definition {
	d := code.Definition{
		ID: "k3v9x0c2m5n8", Revision: rapid.Uint64Range(1, 1<<62).Draw(t, "revision"), Name: text(t, "name"), Profile: someText(t, "profile"), Tenant: text(t, "tenant"),
		Campaign: text(t, "campaign"), Source: text(t, "source"), Medium: text(t, "medium"), Term: text(t, "term"), Content: text(t, "content"), Owner: text(t, "owner"),
		Verified:  rapid.Bool().Draw(t, "verified"),
		Countdown: rapid.SampledFrom([]code.Countdown{code.CountdownSliding, code.CountdownFixed, code.CountdownNone}).Draw(t, "countdown"),
		Validity:  duration(t, "validity", 0, 1e6*time.Hour/2), Longest: duration(t, "longest", 0, 1000*time.Hour), RenewalEvery: duration(t, "renewal", 0, 72*time.Hour),
		MaxScans: rapid.Int64Range(0, 1<<50).Draw(t, "max_scans"), WarnPercent: rapid.IntRange(0, 100).Draw(t, "warn"), Dedupe: duration(t, "dedupe", 0, time.Hour),
		Style: code.Style{
			Foreground: text(t, "fg"), Background: text(t, "bg"), Size: rapid.IntRange(0, 4096).Draw(t, "size"), MM: rapid.Float64Range(0, 1000).Draw(t, "mm"),
			DPI: rapid.IntRange(0, 2400).Draw(t, "dpi"), Quiet: rapid.IntRange(0, 32).Draw(t, "quiet"), Shape: text(t, "shape"), Plate: text(t, "plate"),
			Badge: text(t, "badge"), Copy: text(t, "copy"), Logo: text(t, "logo"),
		},
		MintedAt: instant(t, "minted"), ChangedAt: instant(t, "changed"),
	}
	for i := range rapid.IntRange(1, 4).Draw(t, "targets") {
		target := code.Target{N: i, Capacity: rapid.Int64Range(0, code.MaxCapacity).Draw(t, "capacity"), Closed: rapid.Bool().Draw(t, "closed")}
		if rapid.Bool().Draw(t, "picture") {
			target.Picture = "https://example.org/" + text(t, "picture")
		} else {
			target.URL = "https://example.org/" + text(t, "url")
		}
		d.Targets = append(d.Targets, target)
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "rules") {
		d.Rules = append(d.Rules, drawRule(t, fmt.Sprint("r", i)))
	}
	for i := range rapid.IntRange(0, code.MaxVariants).Draw(t, "variants") {
		d.Variants = append(d.Variants, code.Variant{N: i + 1, Name: text(t, "name"), Foreground: text(t, "fg"), Background: text(t, "bg"), Shape: text(t, "shape"), Badge: text(t, "badge"), Copy: text(t, "copy")})
	}
	if typ == events.TypeCodeRenewed || rapid.Bool().Draw(t, "renewed") {
		d.RenewedAt = instant(t, "renewed")
	}
	if typ == events.TypeCodeRevoked || rapid.Bool().Draw(t, "revoked") {
		d.RevokedAt = instant(t, "revoked")
	}
	return d
}

func drawCause(t *rapid.T) []string {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string { return text(t, "id") }), 0, 3).Draw(t, "cause")
}

func drawAlert(t *rapid.T, kind code.AlertKind) *events.Alert {
	a := &events.Alert{Code: "k3v9x0c2m5n8", Kind: string(kind), Cause: drawCause(t)}
	at := instant(t, "until")
	switch kind {
	case code.AlertCapacity:
		members := rapid.Int64Range(0, 1<<40).Draw(t, "members")
		a.Reason, a.Target, a.Members, a.Capacity, a.Threshold = "threshold", numbered(t, "target"), &members, rapid.Int64Range(1, 1<<40).Draw(t, "capacity"), rapid.IntRange(1, 100).Draw(t, "threshold")
		a.MembersFrom = rapid.SampledFrom([]string{code.FromMembers, code.FromScans}).Draw(t, "from")
		a.Percent, a.PerHour, a.EtaFull = rapid.Float64Range(0.001, 1e9).Draw(t, "percent"), maybe(t, "rate", 0.1), "unknown"
		if rapid.Bool().Draw(t, "eta") {
			a.EtaFull = events.FormatTime(at)
		}
	case code.AlertRisk:
		r := drawRule(t, someText(t, "rule"))
		a.Reason, a.Rule, a.Scope, a.Key, a.Until = rapid.SampledFrom([]string{"lock", "flag"}).Draw(t, "reason"), r.ID, string(r.Scope), text(t, "key"), &at
		a.Limit, a.Window = r.Limit, r.Window
	case code.AlertRenewal:
		a.Reason, a.DueAt = rapid.SampledFrom([]string{"due-soon", "overdue"}).Draw(t, "reason"), &at
	case code.AlertExpiry:
		a.Reason, a.DueAt = rapid.SampledFrom([]string{code.ReasonValidity, code.ReasonRenewal}).Draw(t, "reason"), &at
	}
	return a
}

func drawDecision(t *rapid.T) *events.Decision {
	d := &events.Decision{Code: "k3v9x0c2m5n8", Reason: someText(t, "reason"), Cause: drawCause(t)}
	d.Kind = string(rapid.SampledFrom([]code.Kind{code.KindLock, code.KindUnlock, code.KindFlag, code.KindDryRun, code.KindRotate, code.KindFull, code.KindCap,
		code.KindExpire, code.KindRenew, code.KindRevoke, code.KindReopen}).Draw(t, "kind"))
	switch code.Kind(d.Kind) {
	case code.KindLock, code.KindFlag, code.KindDryRun:
		at := instant(t, "until")
		d.Rule, d.Scope, d.Key, d.Until = someText(t, "rule"), string(risk.ScopeVisitor), text(t, "key"), &at
	case code.KindUnlock:
		d.Rule, d.Scope, d.Key = someText(t, "rule"), string(risk.ScopeCode), text(t, "key")
	case code.KindRotate:
		d.Target, d.From = numbered(t, "target"), numbered(t, "from")
	default:
		d.Target = maybe(t, "target", numbered(t, "target"))
	}
	return d
}

func drawData(t *rapid.T, typ string) events.Data {
	switch typ {
	case events.TypeScan:
		s := &events.Scan{
			Token: text(t, "token"), Variant: rapid.IntRange(0, events.MaxVariant).Draw(t, "variant"), Tracking: text(t, "tracking"), Visitor: text(t, "visitor"),
			OpenID: text(t, "openid"), UserAgent: text(t, "agent"), Network: text(t, "network"), Country: text(t, "country"), Province: text(t, "province"),
			City: text(t, "city"), DeviceModel: text(t, "device"), OS: text(t, "os"), App: text(t, "app"), RefererHost: text(t, "referrer"),
			Target: maybe(t, "target", numbered(t, "target")), ClickID: text(t, "click"),
		}
		s.Answered = string(rapid.SampledFrom(append(slices.Clone(code.Verdicts), "")).Draw(t, "answered"))
		s.AnsweredRule = text(t, "rule")
		if rapid.Bool().Draw(t, "live") {
			s.ShownAt = events.FormatMinute(instant(t, "shown"))
		}
		s.UTM = maybe(t, "utm", &events.UTM{Source: text(t, "source"), Medium: text(t, "medium"), Campaign: text(t, "campaign"), Term: text(t, "term"), Content: text(t, "content")})
		return s
	case events.TypeForged:
		return &events.Forged{Network: text(t, "network"), Count: rapid.Int64Range(1, 1<<40).Draw(t, "count")}
	case events.TypeMemberJoined, events.TypeMemberLeft:
		return &events.Member{Target: numbered(t, "target"), Visitor: text(t, "visitor"), OpenID: text(t, "openid"), ClickID: text(t, "click")}
	case events.TypeMemberSnapshot:
		n := rapid.Int64Range(0, events.MaxCount).Draw(t, "count")
		return &events.MemberSnapshot{Target: numbered(t, "target"), Count: &n}
	case events.TypeConversion:
		c := &events.Conversion{Visitor: text(t, "visitor"), OpenID: text(t, "openid"), ClickID: someText(t, "click"), Name: someText(t, "name")}
		if rapid.Bool().Draw(t, "by openid") {
			c.ClickID, c.OpenID = "", someText(t, "openid")
		}
		if rapid.Bool().Draw(t, "value") {
			c.Value, c.Currency = events.Decimal(rapid.StringMatching(`-?(0|[1-9][0-9]{0,13})(\.[0-9]{1,4})?`).Draw(t, "value")), rapid.StringMatching(`[A-Z]{3}`).Draw(t, "currency")
		}
		return c
	case events.TypeCodeMinted, events.TypeCodeChanged, events.TypeCodeRenewed, events.TypeCodeRevoked:
		return &events.CodeData{Definition: drawDefinition(t, typ)}
	case events.TypeAlertCapacity:
		return drawAlert(t, code.AlertCapacity)
	case events.TypeAlertRisk:
		return drawAlert(t, code.AlertRisk)
	case events.TypeAlertRenewal:
		return drawAlert(t, code.AlertRenewal)
	case events.TypeAlertExpiry:
		return drawAlert(t, code.AlertExpiry)
	case events.TypeDecision:
		return drawDecision(t)
	}
	t.Fatalf("no generator for %s", typ)
	return nil
}

func drawEvent(t *rapid.T, typ string) *events.Event {
	e := &events.Event{
		ID: someText(t, "id"), Source: someText(t, "source"), Type: typ, Subject: rapid.StringMatching(`[A-Za-z0-9_-]{1,64}`).Draw(t, "subject"), Time: instant(t, "time"),
		Tenant: text(t, "tenant"), Historical: rapid.Bool().Draw(t, "historical"), DataSchema: text(t, "dataschema"), Data: drawData(t, typ),
	}
	for i, v := range rapid.SliceOfN(rapid.SampledFrom([]string{`"x"`, `""`, `true`, `false`, `0`, `-2147483648`, `2147483647`}), 0, 3).Draw(t, "extensions") {
		e.Extensions = append(e.Extensions, events.Extension{Name: fmt.Sprint("ext", i), Value: []byte(v)})
	}
	return e
}

// TestWhatTheProgramWritesIsValid: any event the program can write is one its
// schema and the program itself take.
func TestWhatTheProgramWritesIsValid(t *testing.T) {
	c := compiler(t)
	for _, typ := range constants(t) {
		sch := compile(t, c, schemaOf(typ))
		t.Run(typ, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				raw, err := drawEvent(t, typ).Marshal()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := events.Parse(raw); err != nil {
					t.Fatalf("%s\n%v", raw, err)
				}
				if err := sch.Validate(value(t, raw)); err != nil {
					t.Fatalf("%s\n%v", raw, err)
				}
			})
		})
	}
}

// TestCommitRecordsAreValid lives a code through random days and holds the
// records of it to their schema.
func TestCommitRecordsAreValid(t *testing.T) {
	sch := compile(t, compiler(t), "commit.json")
	rapid.Check(t, func(t *rapid.T) { commitIsValid(t, sch) })
}

func commitIsValid(t *rapid.T, sch *jsonschema.Schema) {
	state := code.New(drawDefinition(t, events.TypeCodeMinted))
	now := instant(t, "now")
	for i := range rapid.IntRange(0, 20).Draw(t, "scans") {
		now = now.Add(time.Duration(rapid.IntRange(0, 3600).Draw(t, "wait")) * time.Second)
		in := code.Input{ID: fmt.Sprint("e", i), Scan: &code.Scan{Visitor: text(t, "visitor"), Province: text(t, "province")}}
		if rapid.Bool().Draw(t, "join") {
			in = code.Input{ID: in.ID, Member: &code.Member{Kind: code.Joined}}
		}
		state.Apply(in, now)
	}
	r := &events.Commit{
		Version: events.CommitVersion, Partition: rapid.IntRange(0, 63).Draw(t, "partition"), Step: rapid.Uint64Range(1, 1<<60).Draw(t, "step"), Owner: "w", Time: now,
		Reached: events.Place{Seq: rapid.Uint64Range(0, 1<<60).Draw(t, "seq"), More: rapid.Bool().Draw(t, "more")}, Codes: []code.View{state.View()},
		Dead: maybe(t, "dead", []events.Dead{{Seq: 1, Reason: events.CodeUnknownCode}}), Totals: events.Totals{Scans: rapid.Int64Range(0, 1<<60).Draw(t, "total")},
	}
	for _, typ := range []string{events.TypeScan, events.TypeForged, events.TypeMemberJoined, events.TypeMemberLeft, events.TypeMemberSnapshot, events.TypeConversion, events.TypeCodeMinted} {
		if rapid.IntRange(0, 3).Draw(t, "item") > 0 {
			continue
		}
		item := events.Item{Seq: 1, At: now, Event: drawEvent(t, typ)}
		if typ == events.TypeScan {
			item.Verdict, item.Rule, item.Target = rapid.SampledFrom(code.Verdicts).Draw(t, "verdict"), text(t, "rule"), maybe(t, "target", numbered(t, "target"))
		}
		r.Items = append(r.Items, item)
	}
	if rapid.Bool().Draw(t, "decided") {
		r.Decisions, r.Alerts = []*events.Event{drawEvent(t, events.TypeDecision)}, []*events.Event{drawEvent(t, events.TypeAlertCapacity), drawEvent(t, events.TypeAlertExpiry)}
	}
	raw, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := events.ParseCommit(raw); err != nil {
		t.Fatalf("%s\n%v", raw, err)
	}
	if err := sch.Validate(value(t, raw)); err != nil {
		t.Fatalf("%s\n%v", raw, err)
	}
}
