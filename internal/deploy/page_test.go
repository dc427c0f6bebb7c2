package deploy

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The page names real flags, variables and objects: in the row of a role's table those of that role, elsewhere any.
func TestPageNamesWhatIsThere(t *testing.T) {
	files := readTree(t)
	docs, err := files.build("overlays/example")
	if err != nil {
		t.Fatal(err)
	}
	o, err := decode(docs)
	if err != nil {
		t.Fatal(err)
	}
	programs := map[string]program{}
	for _, name := range []string{"gateway", "scan-worker", "analytics-worker", "huoma migrate"} {
		programs[name] = help(t, strings.Fields(name))
	}
	knows := func(of []string, name string) bool {
		return slices.ContainsFunc(of, func(p string) bool { return programs[p].flags[name] || programs[p].envs[name] })
	}
	all := []string{"gateway", "scan-worker", "analytics-worker", "huoma migrate"}
	object := regexp.MustCompile(`\b(deployment|job)/([a-z-]+)`)
	secret := regexp.MustCompile(`create secret generic ([a-z-]+) --from-file=([a-z.-]+)$`)
	made, rows := map[string]bool{}, 0
	for line := range strings.Lines(readFile(t, "deploy/k8s/README.md")) {
		line = strings.TrimSpace(line)
		of := all
		if cells := strings.Split(line, "|"); len(cells) > 2 && strings.Contains(line, "--addr") {
			of = []string{strings.Trim(cells[1], " `")}
			rows++
		}
		if m := secret.FindStringSubmatch(line); m != nil {
			made[m[1]+" "+m[2]] = true
		}
		for _, m := range object.FindAllStringSubmatch(line, -1) {
			if m[1] == "deployment" && o.deployments[m[2]] == nil || m[1] == "job" && o.jobs[m[2]] == nil {
				t.Errorf("%s/%s is not there: %s", m[1], m[2], line)
			}
		}
		if strings.Contains(line, "kubectl") {
			continue // its flags are not ours
		}
		for _, name := range regexp.MustCompile(`--[a-z][a-z-]+|HUOMA_[A-Z_]+`).FindAllString(line, -1) {
			if name != "HUOMA_" && !knows(of, name) {
				t.Errorf("%s is no flag or variable there: %s", name, line)
			}
		}
	}
	if rows != 3 {
		t.Errorf("the table of roles has %d rows, want 3", rows)
	}
	for name := range secretsOfPage(t) {
		if !made[name] {
			t.Errorf("no command of the page makes the secret and key %s", name)
		}
	}
}
