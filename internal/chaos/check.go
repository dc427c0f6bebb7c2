package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/chaos/plan"
	"github.com/huoma/huoma/internal/chaos/procs"
	"github.com/huoma/huoma/internal/chaos/traffic"
)

// Check is one comparison of what has to be with what is.
type Check struct {
	Name      string   `json:"check"`
	Expected  int64    `json:"expected"`
	Found     int64    `json:"found"`
	Missing   int64    `json:"missing"`
	Extra     int64    `json:"extra"`
	Different int64    `json:"different"`
	Examples  []string `json:"examples,omitempty"`
	Error     string   `json:"error,omitempty"` // it could not be made
}

// OK reports whether nothing differs.
func (c Check) OK() bool { return c.Missing == 0 && c.Extra == 0 && c.Different == 0 && c.Error == "" }

// example keeps the first few.
func (c *Check) example(format string, args ...any) {
	if len(c.Examples) < 8 {
		c.Examples = append(c.Examples, fmt.Sprintf(format, args...))
	}
}

// checker holds an installation to a ledger.
type checker struct {
	in     *procs.Installation
	ledger *traffic.Ledger
	probe  *probe
	bin    string
	plan   plan.Plan
}

// all makes every check. One that cannot be made is one that fails.
func (k *checker) all(ctx context.Context) []Check {
	dead, deadCheck := k.deadLetters(ctx)
	list := []Check{k.lanes(ctx, dead), k.scans(ctx), k.forged(ctx), deadCheck, k.codes(ctx)}
	list = append(list, k.doubled(ctx)...)
	list = append(list, k.reconcile(ctx), k.logs(), k.ends())
	return append(list, k.oracle(ctx)...)
}

// rows asks ClickHouse and calls f with the words of each line.
func (k *checker) rows(ctx context.Context, sql string, f func(words []string)) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, k.in.ClickHouseHTTP+"/?database=huoma", strings.NewReader(sql+" FORMAT TSV"))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("ClickHouse says %d: %s", resp.StatusCode, bytes.TrimSpace(b))
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		f(strings.Split(lines.Text(), "\t"))
	}
	return lines.Err()
}

// eventTables hold what producers publish.
var eventTables = []string{"scans", "members", "conversions"}

// lanes: every event acknowledged to a producer exists once, as a row, or as
// a dead letter where a clock had jumped.
func (k *checker) lanes(ctx context.Context, dead map[string]string) Check {
	c := Check{Name: "events acknowledged to producers exist once"}
	found := map[string][]uint8{}
	acked := map[string][]bool{}
	k.ledger.Lanes(func(name string, list []bool) {
		acked[name] = list
		found[name] = make([]uint8, len(list))
	})
	for _, table := range eventTables {
		err := k.rows(ctx, "SELECT event_id FROM "+table+" WHERE event_id LIKE 'chaos-%'", func(w []string) {
			name, n, ok := traffic.ParseID(w[0])
			if !ok || n >= len(found[name]) {
				return // sent and never acknowledged
			}
			c.Found++
			if found[name][n]++; found[name][n] == 2 {
				c.Extra++
				c.example("%s is there twice", w[0])
			}
		})
		if err != nil {
			c.Error = err.Error()
			return c
		}
	}
	for name, list := range acked {
		for n, ok := range list {
			if !ok {
				continue
			}
			c.Expected++
			if found[name][n] > 0 {
				continue
			}
			id := "chaos-" + name + "-" + fmt.Sprint(n)
			if why := dead[id]; why == "too_old" || why == "too_new" {
				c.Found++
				continue
			}
			c.Missing++
			c.example("%s is missing (dead letter: %q)", id, dead[id])
		}
	}
	return c
}

// scans: every scan a gateway has answered exists once, with the answer. What
// went unanswered may exist.
func (k *checker) scans(ctx context.Context) Check {
	c := Check{Name: "scans answered by gateways exist once, as answered"}
	acked, unsure, _ := k.ledger.Scans()
	c.Expected = int64(len(acked))
	seen := make(map[string]bool, len(acked))
	others := 0
	err := k.rows(ctx, "SELECT event_id, answered FROM scans WHERE answered != ''", func(w []string) {
		verdict, ok := acked[w[0]]
		switch {
		case !ok:
			others++
		case seen[w[0]]:
			c.Extra++
			c.example("%s is there twice", w[0])
		case verdict != w[1]:
			c.Different++
			c.example("%s was answered %s and is stored as %s", w[0], verdict, w[1])
		}
		if ok {
			seen[w[0]] = true
		}
	})
	if err != nil {
		c.Error = err.Error()
		return c
	}
	c.Found = int64(len(seen))
	for id := range acked {
		if !seen[id] {
			c.Missing++
			c.example("%s is missing", id)
		}
	}
	if others > unsure {
		c.Extra += int64(others - unsure)
		c.example("%d scans more than were answered, and only %d had no answer", others, unsure)
	}
	return c
}

// forged: counts of forged scans are kept in a gateway for a minute, so those
// of a killed one are fewer; they are never more than were sent.
func (k *checker) forged(ctx context.Context) Check {
	c := Check{Name: "forged scans are not more than were sent"}
	_, _, sent := k.ledger.Scans()
	c.Expected = int64(sent)
	err := k.rows(ctx, "SELECT sum(count) FROM forged", func(w []string) { _, _ = fmt.Sscan(w[0], &c.Found) })
	if err != nil {
		c.Error = err.Error()
	}
	c.Extra = max(0, c.Found-c.Expected)
	return c
}

var idOf = regexp.MustCompile(`"id":"([^"]+)"`)
var markOf = regexp.MustCompile(`mark-[a-z0-9]+-[0-9]+\.`)

// deadLetters: every malformed message whose publication was acknowledged is a
// dead letter, and none is more often than it was published. It returns the reasons by event id.
func (k *checker) deadLetters(ctx context.Context) (map[string]string, Check) {
	c := Check{Name: "malformed messages are dead letters"}
	reasons := map[string]string{}
	found := map[string]int{}
	err := k.stored(ctx, "HUOMA_DLQ", func(m jetstream.Msg) {
		if id := idOf.FindSubmatch(m.Data()); id != nil {
			reasons[string(id[1])] = m.Headers().Get("Huoma-Reason")
		}
		if mark := markOf.Find(m.Data()); mark != nil {
			found[string(mark)]++
		}
	})
	if err != nil {
		c.Error = err.Error()
		return reasons, c
	}
	for mark, sent := range k.ledger.Malformed() {
		if sent.Acked > 0 {
			c.Expected++
		}
		n := found[mark]
		if n > 0 {
			c.Found++
		}
		switch {
		case n == 0 && sent.Acked > 0:
			c.Missing++
			c.example("%s is no dead letter", mark)
		case n > 2*sent.Attempts: // each may have been delivered twice
			c.Extra++
			c.example("%s is %d dead letters and was published %d times", mark, n, sent.Attempts)
		}
	}
	return reasons, c
}

// stored calls f with every message of a stream. It goes on trying while the
// stream does not answer, for two minutes.
func (k *checker) stored(ctx context.Context, stream string, f func(jetstream.Msg)) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	next := uint64(1)
	for {
		err := k.read(ctx, stream, &next, f)
		if err == nil || ctx.Err() != nil {
			return err
		}
		wait(ctx, time.Second)
	}
}

// read reads a stream from a sequence on to its end.
func (k *checker) read(ctx context.Context, stream string, next *uint64, f func(jetstream.Msg)) error {
	s, err := k.probe.js.Stream(ctx, stream)
	if err != nil {
		return fmt.Errorf("stream %s: %w", stream, err)
	}
	state := s.CachedInfo().State
	if state.Msgs == 0 || *next > state.LastSeq {
		return nil
	}
	cons, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: *next})
	if err != nil {
		return fmt.Errorf("read stream %s: %w", stream, err)
	}
	for {
		m, err := cons.Next(jetstream.FetchMaxWait(5 * time.Second))
		if err != nil {
			return fmt.Errorf("read stream %s from %d: %w", stream, *next, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read stream %s: %w", stream, err)
		}
		f(m)
		if *next = meta.Sequence.Stream + 1; meta.Sequence.Stream >= state.LastSeq {
			return nil
		}
	}
}

// codes: what was acknowledged to the operator holds at every gateway and in
// the warehouse.
func (k *checker) codes(ctx context.Context) Check {
	c := Check{Name: "mints, changes and revocations hold"}
	list := k.ledger.Codes()
	c.Expected = int64(len(list))
	type row struct{ name, status string }
	warehouse := map[string]row{}
	err := k.rows(ctx, "SELECT code_id, name, status FROM codes", func(w []string) {
		if _, twice := warehouse[w[0]]; twice {
			c.Extra++
			c.example("code %s is there twice", w[0])
		}
		warehouse[w[0]] = row{w[1], w[2]}
	})
	if err != nil {
		c.Error = err.Error()
		return c
	}
	for _, code := range list {
		places := map[string]row{}
		if r, ok := warehouse[code.ID]; ok {
			places["the warehouse"] = r
			c.Found++
		} else {
			c.Missing++
			c.example("code %s is not in the warehouse", code.ID)
		}
		for _, g := range k.in.Gateways {
			var r struct{ Name, Status string }
			if err := k.get(ctx, g+"/v1/codes/"+code.ID, &r); err != nil {
				c.Missing++
				c.example("code %s at %s: %v", code.ID, g, err)
				continue
			}
			places[g] = row{r.Name, r.Status}
		}
		for place, r := range places {
			// A change without an answer may have happened, also after a later one.
			ok := false
			for i, name := range code.Names {
				ok = ok || name == r.name && (i >= code.Named || code.Late[name])
			}
			if !ok {
				c.Different++
				c.example("code %s is called %q at %s, want %q", code.ID, r.name, place, code.Names[code.Named])
			}
			if code.Revoke == 2 && r.status != "revoked" || code.Revoke == 0 && r.status == "revoked" {
				c.Different++
				c.example("code %s is %s at %s, and its revocation was asked for and acknowledged: %d of 2", code.ID, r.status, place, code.Revoke)
			}
		}
	}
	return c
}

func (k *checker) get(ctx context.Context, url string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+k.in.APIKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it says %d", resp.StatusCode)
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// doubled: no table has a row twice.
func (k *checker) doubled(ctx context.Context) (list []Check) {
	for _, table := range []string{"scans", "members", "conversions", "alerts", "decisions"} {
		c := Check{Name: "rows of " + table + " are there once"}
		err := k.rows(ctx, "SELECT uniqExact(event_id), count(), uniqExact((partition, stream_seq, idx)) FROM "+table, func(w []string) {
			var ids, rows, places int64
			_, _ = fmt.Sscan(strings.Join(w, " "), &ids, &rows, &places)
			c.Expected, c.Found, c.Extra = min(ids, places), rows, rows-min(ids, places)
		})
		if err != nil {
			c.Error = err.Error()
		}
		if c.Extra > 0 {
			_ = k.rows(ctx, "SELECT event_id, count() AS n FROM "+table+" GROUP BY event_id HAVING n > 1 LIMIT 5", func(w []string) { c.example("%s: %s rows", w[0], w[1]) })
		}
		list = append(list, c)
	}
	return list
}

// reconcile: the warehouse has what the log has decided.
func (k *checker) reconcile(ctx context.Context) Check {
	c := Check{Name: "reconcile"}
	err := k.rows(ctx, "SELECT sum(decided), sum(rows), sum(missing), sum(doubled), sum(unknown), sum(gaps) FROM reconcile", func(w []string) {
		_, _ = fmt.Sscan(strings.Join(w, " "), &c.Expected, &c.Found, &c.Missing, &c.Extra, &c.Different, new(int64))
		var gaps int64
		_, _ = fmt.Sscan(w[5], &gaps)
		if gaps != 0 {
			c.Missing += gaps
			c.example("%d steps are missing", gaps)
		}
	})
	if err != nil {
		c.Error = err.Error()
	}
	return c
}

// ends: no process ended that was not told to, but where a fault explains it.
func (k *checker) ends() Check {
	c := Check{Name: "no process ended by itself"}
	for _, p := range k.in.Processes {
		for _, e := range p.Ends() {
			c.Found++
			c.Extra++
			c.example("%s at %s: %s: %s", p.Name, e.At.Format(time.TimeOnly), e.State, e.Words)
		}
	}
	return c
}

// oracle runs `huoma verify`, which decides the log again by its own means and
// compares everything.
func (k *checker) oracle(ctx context.Context) (list []Check) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(k.bin, "huoma"), "verify", "--json", "--nats-url", k.in.NATS, "--clickhouse-url", k.in.ClickHouse,
		"--gateway", k.in.Gateways[0], "--api-key", k.in.APIKey, "--keyring", k.in.Keyring, "--wait", "120s")
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	whole := false
	for line := range strings.Lines(out.String()) {
		var c struct {
			Check
			Events      int64             `json:"events"`
			Differences int64             `json:"differences"`
			Examples    []json.RawMessage `json:"examples"`
		}
		if jerr := json.Unmarshal([]byte(line), &c); jerr != nil || c.Name == "" {
			continue
		}
		if c.Name == "all" {
			whole = true
			c.Expected, c.Found, c.Different = c.Events, c.Events, c.Differences
		}
		c.Check.Name = "oracle: " + c.Name
		for _, x := range c.Examples {
			c.Check.example("%s", x)
		}
		list = append(list, c.Check)
	}
	var exit *exec.ExitError
	if !whole || err != nil && !errors.As(err, &exit) {
		list = append(list, Check{Name: "oracle", Error: fmt.Sprintf("huoma verify did not come to its end (%v): %s", err, lastWords(complaints.String()))})
	}
	return list
}

func lastWords(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return s[max(0, len(s)-400):]
}
