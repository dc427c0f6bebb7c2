package tour

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/huoma/huoma/internal/events"
)

const root = "../.."

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// documents are the ones held to the truth here.
func documents(t *testing.T) []string {
	t.Helper()
	records, err := filepath.Glob(filepath.Join(root, "docs", "adr", "*.md"))
	if err != nil || len(records) == 0 {
		t.Fatalf("no decision records: %v", err)
	}
	names := []string{"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/benchmark.md", "docs/chaos.md", "docs/configuration.md", "docs/durability.md", "docs/import.md", "docs/keys.md", "docs/limits.md", "docs/live.md", "docs/pictures.md", "docs/production.md", "docs/broker-away.md", "docs/bulk.md", "docs/verify.md", "docs/watermark.md"}
	for _, r := range records {
		names = append(names, "docs/adr/"+filepath.Base(r))
	}
	return names
}

var (
	quoted = regexp.MustCompile("`([^`\n]+)`")
	link   = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)\s]*)?\)`)
	// repositoryPath is a quoted word that names a file or folder of this repository.
	repositoryPath = regexp.MustCompile(`^(cmd|internal|schemas|docs|deploy|tools|web)(/[A-Za-z0-9_.-]+)*/?$|^\.ci/run$`)
)

func TestDocumentsNameWhatIsThere(t *testing.T) {
	for _, name := range documents(t) {
		text := read(t, name)
		for _, m := range quoted.FindAllStringSubmatch(text, -1) {
			if !repositoryPath.MatchString(m[1]) || strings.Contains(m[1], "NNNNN") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s names %s, which is not there", name, m[1])
			}
		}
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			}
		}
	}
}

func TestDocumentsNameRealTargets(t *testing.T) {
	makefile := read(t, "Makefile")
	target := regexp.MustCompile("`make ([a-z-]+)")
	for _, name := range documents(t) {
		for _, m := range target.FindAllStringSubmatch(read(t, name), -1) {
			if !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s names make %s, which is no target", name, m[1])
			}
		}
	}
}

// The tables of streams and subjects are those of package events.
func TestArchitectureNamesEveryStreamAndSubject(t *testing.T) {
	rows := make(map[string]string)
	for line := range strings.Lines(read(t, "ARCHITECTURE.md")) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for _, m := range quoted.FindAllStringSubmatch(cells[1], -1) {
			rows[m[1]] = cells[2] + "|" + cells[3]
		}
	}
	for stream, subjects := range map[string][]string{
		events.StreamEvents:    {events.SubjectIn, events.SubjectEvents, events.SubjectSchedule},
		events.StreamDecisions: {events.CommitFilter},
		events.StreamAlerts:    {generic(events.AlertSubject("*", "*"), ">")},
		events.StreamImports:   {events.SubjectImports},
		events.StreamDLQ:       {strings.Replace(events.DLQSubject(0), "0", "*", 1)},
		events.BucketCodes:     nil,
		events.BucketState:     nil,
		events.BucketTraces:    nil,
	} {
		row, ok := rows[stream]
		if !ok {
			t.Errorf("ARCHITECTURE.md has no row for %s", stream)
			continue
		}
		var got []string
		for _, m := range quoted.FindAllStringSubmatch(strings.Split(row, "|")[0], -1) {
			got = append(got, m[1])
		}
		if !slices.Equal(got, subjects) {
			t.Errorf("ARCHITECTURE.md gives %s the subjects %q, want %q", stream, got, subjects)
		}
	}
	partition := func(s string) string { return strings.Replace(s, "0", "<p>", 1) }
	for _, subject := range []string{
		events.InSubject(events.InKind(events.TypeScan), "<code>"), events.InSubject(events.InKind(events.TypeMemberJoined), "<code>"),
		events.InSubject(events.InKind(events.TypeConversion), "<code>"), partition(events.StoredSubject(0, events.KindGateway)),
		partition(events.ScheduleSubject(0, "<code>")), partition(events.CommitSubject(0)), events.AlertSubject("<kind>", "<code>"),
		events.DecisionSubject("<kind>", "<code>"), partition(events.DLQSubject(0)),
	} {
		if _, ok := rows[subject]; !ok {
			t.Errorf("ARCHITECTURE.md has no row for the subject %s", subject)
		}
	}
	if text := read(t, "ARCHITECTURE.md"); !strings.Contains(text, "`"+partition(events.StoredSubject(0, events.KindTimer))+"`") {
		t.Error("ARCHITECTURE.md does not say where timers fire to")
	}
}

// generic turns huoma.alert.*.* into huoma.alert.>.
func generic(subject, tail string) string {
	parts := strings.Split(subject, ".")
	return strings.Join(append(parts[:2], tail), ".")
}

func TestDecisionRecords(t *testing.T) {
	number := 0
	for _, name := range documents(t) {
		if !strings.HasPrefix(name, "docs/adr/") {
			continue
		}
		number++
		text := read(t, name)
		base := filepath.Base(name)
		if want := fmt.Sprintf("%04d-", number); !strings.HasPrefix(base, want) {
			t.Errorf("%s: the next record begins with %s", name, want)
		}
		if want := fmt.Sprintf("# %d. ", number); !strings.HasPrefix(text, want) {
			t.Errorf("%s: the title does not begin with %q", name, want)
		}
		at := -1
		for _, part := range []string{"\n## Context\n", "\n## Decision\n", "\n## Status\n", "\n## Consequences\n"} {
			next := strings.Index(text, part)
			if next < 0 || next < at {
				t.Errorf("%s: the part %q is missing or out of order", name, strings.TrimSpace(part))
			}
			at = next
		}
	}
}
