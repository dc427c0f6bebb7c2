package main

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/huoma/huoma/internal/chaos/plan"
)

// An explanation is why a line at the level of errors may be in a log, and
// which faults must have been injected for that; nil: any.
type explanation struct {
	line, why string
	by        []plan.Kind
}

// away are the faults after which a role does not reach NATS, or not in time.
var away = []plan.Kind{
	plan.Kill, plan.Pause, plan.InFlight, plan.Leader, plan.Minority, plan.Majority, plan.DiskFull, plan.DiskSlow, plan.Cut, plan.Delay, plan.Hold, plan.LoseAcks, plan.StaleOwner, plan.RollingStop,
}

// expected are such lines of the roles. Anything else at that level is a
// difference.
var expected = []explanation{
	{`msg="events not stored"`, "NATS could not be reached, or answered too late; whoever waited was told so", away},
	{`msg="forged scans not counted"`, "NATS could not be reached; forged scans are counted and not kept", away},
	{`msg="the definitions cannot be reached"`, "NATS could not be reached; whoever asked was told so", away},
	{`msg="a request failed"`, "NATS could not be reached; whoever asked was told so", away},
	{`msg="partition given up; claiming it again"`, "NATS could not be reached, or another owner had taken over", away},
	{`msg="the ClickHouse engine ended and is started again"`, "it was killed", []plan.Kind{plan.Kill, plan.DiskFull}},
	{`msg=connection `, "a connection was cut", away},
	{`msg=subscription `, "a connection was cut, or a consumer had moved", away},
	{`msg=pull `, "the consumer's server was away", away},
}

// expectedNATS are such lines of nats-server.
var expectedNATS = []explanation{
	{`JetStream failed to store a msg`, "the disk was full", []plan.Kind{plan.DiskFull}},
	{`Error trying to connect to route`, "another server was away", nil},
	{`Error reading from client`, "a connection was cut", nil},
	{`Error flushing`, "a connection was cut", nil},
	{`no space left on device`, "the disk was full", []plan.Kind{plan.DiskFull}},
	{`out of space`, "the disk was full", []plan.Kind{plan.DiskFull}},
	{`out of resources`, "the disk was full", []plan.Kind{plan.DiskFull}},
	{`DISABLED`, "the disk was full", []plan.Kind{plan.DiskFull}},
	{`expected sequence does not match store`, "the disk was full, and the server catches up from the others", []plan.Kind{plan.DiskFull}},
}

var (
	disaster  = regexp.MustCompile(`^panic:|^fatal error:|WARNING: DATA RACE|\[FTL\]|^goroutine \d+ \[running`)
	errorLine = regexp.MustCompile(`level=ERROR|\[ERR\]`)
)

// logs: no log has a line at the level of errors that no fault explains, a
// panic or a data race.
func (k *checker) logs() Check {
	c := Check{Name: "logs have no unexpected errors"}
	files, err := filepath.Glob(filepath.Join(k.in.Dir, "log", "*.log"))
	if err != nil || len(files) == 0 {
		c.Error = "there are no logs"
		return c
	}
	var injected []plan.Kind
	for _, f := range k.plan.Faults {
		if f.Not == "" {
			injected = append(injected, f.Kind)
		}
	}
	for _, name := range files {
		if err := scanLog(name, &c, injected); err != nil {
			c.Error = err.Error()
		}
	}
	return c
}

func scanLog(name string, c *Check, injected []plan.Kind) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 4<<20)
	base := strings.TrimSuffix(filepath.Base(name), ".log")
	for lines.Scan() {
		line := lines.Text()
		switch {
		case disaster.MatchString(line):
		case !errorLine.MatchString(line):
			continue
		default:
			c.Expected++
			c.Found++
			if explained(base, line, injected) {
				continue
			}
			c.Expected--
		}
		c.Extra++
		c.example("%s: %s", base, line[:min(len(line), 400)])
	}
	return lines.Err()
}

// explained reports whether a fault that was injected explains a line.
func explained(process, line string, injected []plan.Kind) bool {
	list := expected
	if strings.HasPrefix(process, "nats-") || strings.Contains(line, "component=nats-server") {
		list = expectedNATS
	}
	return slices.ContainsFunc(list, func(e explanation) bool {
		return strings.Contains(line, e.line) && (e.by == nil || slices.ContainsFunc(injected, func(k plan.Kind) bool { return slices.Contains(e.by, k) }))
	})
}
