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
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/events"
)

// process is one of the installation.
type process struct {
	name    string
	pid     int
	metrics string // address of /metrics; empty: it has none
}

// observer reads what there is to read.
type observer struct {
	processes  []process
	nats       *nats.Conn
	js         jetstream.JetStream
	clickhouse string // http://host:port
}

// observe finds the processes of an installation in the folder of its pid files.
func observe(in *installation) (*observer, error) {
	files, err := filepath.Glob(filepath.Join(in.data, "run", "*.pid"))
	if err != nil || len(files) == 0 {
		return nil, errors.Join(errors.New("the installation has no processes"), err)
	}
	o := &observer{clickhouse: in.ClickHouseHTTP}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		lines := strings.Split(strings.TrimSpace(string(b)), "\n") // the process, then its command line
		p := process{name: strings.TrimSuffix(filepath.Base(f), ".pid")}
		if p.pid, err = strconv.Atoi(lines[0]); err != nil {
			return nil, fmt.Errorf("%s is no pid file: %w", f, err)
		}
		for i, word := range lines {
			if word == "--addr" && p.name != "clickhouse" {
				p.metrics = "http://" + lines[i+1] + "/metrics"
			}
		}
		o.processes = append(o.processes, p)
		if p.name == "clickhouse" {
			engine, err := child(p.pid)
			if err != nil {
				return nil, err
			}
			o.processes = append(o.processes, process{name: "engine", pid: engine})
		}
	}
	if o.nats, err = nats.Connect(in.NATS, nats.Name("soak")); err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	if o.js, err = jetstream.New(o.nats); err != nil {
		o.nats.Close()
		return nil, err
	}
	return o, nil
}

func (o *observer) close() { o.nats.Close() }

// child is the one child of a process.
func child(parent int) (int, error) {
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	if err != nil {
		return 0, err
	}
	var all []byte
	for _, name := range lists {
		b, _ := os.ReadFile(name) // a thread may be gone
		all = append(all, b...)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(all)))
	if err != nil {
		return 0, fmt.Errorf("the engine of process %d is not found in /proc, which this needs: children %q", parent, all)
	}
	return pid, nil
}

// read takes all values at about one moment.
func (o *observer) read(ctx context.Context) (map[string]float64, error) {
	v := make(map[string]float64)
	for _, p := range o.processes {
		if err := p.read(ctx, v); err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if err := o.streams(ctx, v); err != nil {
		return nil, fmt.Errorf("streams: %w", err)
	}
	if err := o.parts(ctx, v); err != nil {
		return nil, fmt.Errorf("parts: %w", err)
	}
	return v, nil
}

func (p process) read(ctx context.Context, v map[string]float64) error {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		return fmt.Errorf("it has ended, or this system has no /proc: %w", err)
	}
	found := false
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "RssAnon:" {
			n, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				return err
			}
			v[p.name+" rss"], found = n*kib, true
		}
	}
	if !found {
		return errors.New("/proc says nothing of its memory")
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.pid))
	if err != nil {
		return err
	}
	v[p.name+" fds"] = float64(len(fds))
	if p.metrics == "" {
		return nil
	}
	b, err := get(ctx, p.metrics)
	if err != nil {
		return err
	}
	for scan := bufio.NewScanner(bytes.NewReader(b)); scan.Scan(); {
		name, text, _ := strings.Cut(scan.Text(), " ")
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			continue
		}
		switch name {
		case "go_goroutines":
			v[p.name+" goroutines"] = n
		case "go_memstats_next_gc_bytes":
			v[p.name+" heap"] = n / 2 // GOGC=100: twice what the last collection left alive
		}
	}
	if v[p.name+" goroutines"] == 0 || v[p.name+" heap"] == 0 {
		return errors.New("its /metrics say nothing of goroutines and heap")
	}
	return nil
}

func (o *observer) streams(ctx context.Context, v map[string]float64) error {
	list := o.js.ListStreams(ctx)
	for s := range list.Info() {
		name := s.Config.Name
		v["stream "+name+" messages"] = float64(s.State.Msgs)
		v["stream "+name+" bytes"] = float64(s.State.Bytes)
		v["stream "+name+" consumers"] = float64(s.State.Consumers)
	}
	if err := list.Err(); err != nil {
		return err
	}
	s, err := o.js.Stream(ctx, events.StreamEvents)
	if err != nil {
		return err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(events.SubjectSchedule))
	if err != nil {
		return err
	}
	timers := 0.0
	for _, n := range info.State.Subjects {
		timers += float64(n)
	}
	v["timers messages"] = timers
	return nil
}

func (o *observer) parts(ctx context.Context, v map[string]float64) error {
	rows, err := o.query(ctx, "SELECT table, count() AS n FROM system.parts WHERE active AND database = 'huoma' GROUP BY table")
	if err != nil {
		return err
	}
	for _, r := range rows {
		n, err := r["n"].(json.Number).Float64()
		if err != nil {
			return err
		}
		v[fmt.Sprintf("table %s parts", r["table"])] = n
	}
	return nil
}

// query asks ClickHouse; a row is a map by column.
func (o *observer) query(ctx context.Context, sql string) (rows []map[string]any, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.clickhouse+"/?database=huoma&output_format_json_quote_64bit_integers=0", strings.NewReader(sql+" FORMAT JSONEachRow"))
	if err != nil {
		return nil, err
	}
	b, err := do(req)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	for {
		var row map[string]any
		if err := d.Decode(&row); errors.Is(err, io.EOF) {
			return rows, nil
		} else if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
}

// number asks ClickHouse for one.
func (o *observer) number(ctx context.Context, expression string) (int64, error) {
	rows, err := o.query(ctx, "SELECT toInt64("+expression+") AS n")
	if err != nil || len(rows) != 1 {
		return 0, errors.Join(fmt.Errorf("%s has no answer", expression), err)
	}
	return rows[0]["n"].(json.Number).Int64()
}

func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return do(req)
}

func do(req *http.Request) ([]byte, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.300s", resp.Status, b)
	}
	return b, err
}
