package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// machine is where and with what a run was made.
type machine struct {
	Cores  int     `json:"cores"`
	Memory float64 `json:"memory_gib"`
	CPU    string  `json:"cpu"`
	System string  `json:"system"`
	Go     string  `json:"go"`
	NATS   string  `json:"nats"`
	Engine string  `json:"clickhouse"`
	Load   float64 `json:"load"` // processes that wanted a core in the minute before, by the system
}

// thisMachine describes it. What a system does not tell stays zero.
func thisMachine() machine {
	m := machine{Cores: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), NATS: server.VERSION, Engine: engineVersion()}
	memory, _ := os.ReadFile("/proc/meminfo")
	var kib float64
	if _, err := fmt.Sscanf(string(memory), "MemTotal: %f kB", &kib); err == nil {
		m.Memory = kib / (1 << 20)
	}
	load, _ := os.ReadFile("/proc/loadavg")
	_, _ = fmt.Sscan(string(load), &m.Load)
	cpu, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(cpu)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	return m
}

// engineVersion is that of the embedded ClickHouse, as tools/chdb asks for it.
func engineVersion() string {
	b, err := os.ReadFile("tools/chdb/package.json")
	if err != nil {
		return ""
	}
	_, rest, _ := bytes.Cut(b, []byte(`"@chdb/`))
	_, rest, _ = bytes.Cut(rest, []byte(`": "`))
	version, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(version)
}

func (m machine) String() string {
	return fmt.Sprintf("%d cores (%s), %.0f GiB, %s, %s, nats-server %s, ClickHouse %s; load before the run %.2f", m.Cores, m.CPU, m.Memory, m.System, m.Go, m.NATS, m.Engine, m.Load)
}

// Markers of the table in a document.
const (
	tableBegins = "<!-- bench: written by make bench BENCH=\"--update …\" -->\n"
	tableEnds   = "<!-- bench ends -->\n"
)

// table is the results as a document has them.
func table(m machine, rows []Row) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s.\n\n| | what | ours | bare | ratio | spread | bound | CPU, µs a unit |\n|---|---|---|---|---|---|---|---|\n", m)
	for i := range rows {
		c := rows[i].cells()
		c[6] = strings.Replace(c[6], "MISSED", "**missed**", 1)
		c[1] = strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(c[1])
		fmt.Fprintf(&b, "| %s |\n", strings.Join(c[:], " | "))
	}
	return b.Bytes()
}

// update writes the table between its markers in a document.
func update(document string, table []byte) error {
	text, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	before, rest, begins := bytes.Cut(text, []byte(tableBegins))
	_, after, ends := bytes.Cut(rest, []byte(tableEnds))
	if !begins || !ends {
		return errors.New(document + " has no place for the table: put the lines " + strings.TrimSpace(tableBegins) + " and " + strings.TrimSpace(tableEnds) + " where it belongs")
	}
	whole := bytes.Join([][]byte{before, []byte(tableBegins), table, []byte(tableEnds), after}, nil)
	return os.WriteFile(document, whole, 0o644)
}

// read reads what --json has printed.
func read(files []string) (where machine, rows map[[3]string]Row, err error) {
	rows = map[[3]string]Row{}
	for i, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return where, nil, err
		}
		defer f.Close()
		for lines := json.NewDecoder(f); lines.More(); {
			var line struct {
				Machine *machine `json:"machine"`
				Row
			}
			if err := lines.Decode(&line); err != nil {
				return where, nil, fmt.Errorf("%s is not what --json prints: %w", name, err)
			}
			switch {
			case line.Machine == nil:
				rows[[3]string{line.Section, line.Name, line.Unit}] = line.Row
			case i == 0:
				where = *line.Machine
			}
		}
	}
	return where, rows, nil
}

// names are the rows that a run of these options makes, in order: section, what and unit.
func (o *options) names() [][3]string {
	var out [][3]string
	add := func(section, name, unit string) {
		for _, s := range o.only {
			if s == section {
				out = append(out, [3]string{section, name, unit})
			}
		}
	}
	for _, workers := range companies {
		for _, n := range crowds {
			add("a", scanName(n, workers), "requests/s")
			add("a", scanName(n, workers)+", p50", "ms")
			add("a", scanName(n, workers)+", p99", "ms")
		}
	}
	add("b", publishName, "events/s")
	add("b", postName, "events/s")
	for _, form := range forms {
		add("b", decideName(form), "events/s")
	}
	add("c", analyticsName, "rows/s")
	add("c", plainName, "rows/s")
	latency := func(name string) {
		for _, p := range percents {
			add("d", fmt.Sprintf("%s, p%d", name, p), "ms")
		}
	}
	for _, when := range whens {
		latency(refusedName(when))
		latency(visibleName(when))
	}
	latency(warnedName)
	for _, name := range []string{mirrorName, stateName, watchedName} {
		add("e", name, "bytes")
	}
	for _, limit := range windowLimits {
		add("e", windowName(limit), "bytes")
	}
	for _, n := range o.manyCodesSizes() {
		add("f", codesScanName(n), "requests/s")
		add("f", codesDecideName(n), "events/s")
	}
	for _, n := range o.logLengths() {
		for _, name := range []string{recoveryName(n), ownerAgainName(n), gatewayStartsName(n)} {
			add("g", name, "s")
		}
	}
	return out
}
