package main

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// expected are lines at the level of errors that injected faults explain, with
// the reason. Anything else at that level is a difference.
var expected = []struct{ line, why string }{
	{`msg="events not stored"`, "NATS could not be reached, or answered too late; whoever waited was told so"},
	{`msg="forged scans not counted"`, "NATS could not be reached; forged scans are counted and not kept"},
	{`msg="the definitions cannot be reached"`, "NATS could not be reached; whoever asked was told so"},
	{`msg="a request failed"`, "NATS could not be reached; whoever asked was told so"},
	{`msg="partition given up; claiming it again"`, "NATS could not be reached, or another owner had taken over"},
	{`msg="the ClickHouse engine ended and is started again"`, "it was killed"},
	{`msg=connection `, "a connection was cut"},
	{`msg=subscription `, "a connection was cut, or a consumer had moved"},
	{`msg=pull `, "the consumer's server was away"},
}

// expectedNATS are such lines of nats-server.
var expectedNATS = []struct{ line, why string }{
	{`Error trying to connect to route`, "another server was away"},
	{`Error reading from client`, "a connection was cut"},
	{`no space left on device`, "the disk was full"},
	{`out of space`, "the disk was full"},
	{`out of resources`, "the disk was full"},
	{`DISABLED`, "the disk was full"},
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
	for _, name := range files {
		if err := scanLog(name, &c); err != nil {
			c.Error = err.Error()
		}
	}
	return c
}

func scanLog(name string, c *Check) error {
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
			if explained(base, line) {
				continue
			}
			c.Expected--
		}
		c.Extra++
		c.example("%s: %s", base, line[:min(len(line), 400)])
	}
	return lines.Err()
}

func explained(process, line string) bool {
	list := expected
	if strings.HasPrefix(process, "nats-") {
		list = expectedNATS
	}
	for _, e := range list {
		if strings.Contains(line, e.line) {
			return true
		}
	}
	return false
}
