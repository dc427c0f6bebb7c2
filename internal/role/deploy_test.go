package role

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// Every flag and variable that the deployment page names is one of its role's.
func TestDeploymentPageNamesRealFlags(t *testing.T) {
	b, err := os.ReadFile("../../deploy/k8s/README.md")
	if err != nil {
		t.Fatal(err)
	}
	flags := map[string]map[string]bool{}
	all := map[string]bool{}
	for role, c := range map[string]Command{"gateway": new(GatewayCommand), "scan-worker": new(ScanWorkerCommand), "analytics-worker": new(AnalyticsCommand)} {
		parser, err := kong.New(c, kong.DefaultEnvars("HUOMA"))
		if err != nil {
			t.Fatal(err)
		}
		flags[role] = map[string]bool{}
		for _, f := range parser.Model.Flags {
			flags[role]["--"+f.Name], all["--"+f.Name] = true, true
			for _, env := range f.Envs {
				all[env] = true
			}
		}
	}
	rows := 0
	for line := range strings.Lines(string(b)) {
		known := all
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			if f, ok := flags[strings.Trim(cells[1], " `")]; ok {
				known = f
				rows++
			}
		}
		for _, name := range regexp.MustCompile(`--[a-z][a-z-]+|HUOMA_[A-Z_]+`).FindAllString(line, -1) {
			if !known[name] {
				t.Errorf("%s is no flag there: %s", name, strings.TrimSpace(line))
			}
		}
	}
	if rows != len(flags) {
		t.Errorf("the table has %d roles, want %d", rows, len(flags))
	}
}
