package tour

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of flags into the documents")

// The tables of flags in the documents are what the programs say with --help. A table stands between
//
//	<!-- flags: huoma up -->
//	<!-- end of flags -->
//
// and `go test ./internal/tour -run ListEveryFlag -update` writes them anew.
func TestDocumentsListEveryFlag(t *testing.T) {
	tables := regexp.MustCompile(`(?s)<!-- flags: ([a-z -]+) -->\n(.*?)<!-- end of flags -->`)
	bin := programs(t)
	for _, document := range []string{"README.md", "docs/configuration.md", "docs/production.md"} {
		text := read(t, document)
		if !tables.MatchString(text) {
			t.Errorf("%s has no table of flags", document)
		}
		for _, m := range tables.FindAllStringSubmatch(text, -1) {
			want := flagTable(help(t, bin, strings.Fields(m[1])))
			switch {
			case m[2] == want:
			case *update:
				text = strings.Replace(text, m[0], "<!-- flags: "+m[1]+" -->\n"+want+"<!-- end of flags -->", 1)
			default:
				t.Errorf("%s has other flags than %s --help; run go test ./internal/tour -run ListEveryFlag -update, or write\n%s", document, m[1], want)
			}
		}
		if *update {
			if err := os.WriteFile(filepath.Join(root, document), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// help is what a command says of itself where nothing is configured.
func help(t *testing.T, bin string, command []string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, command[0]), append(command[1:], "--help")...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v --help: %v", command, err)
	}
	return string(out)
}

var (
	flagLine = regexp.MustCompile(`^\s+(?:-\w, )?--([a-z0-9-]+)(?:=(?:"[^"]*"|\S+))?(?:\s+(.*))?$`)
	environ  = regexp.MustCompile(`\s*\[\$HUOMA_[A-Z0-9_]+\]\.?$`)
	defaults = regexp.MustCompile(`^(.*?)(?: \(default (.*)\)\.?|\.? Default: (.*?)\.?)$`)
)

// flagTable makes a table of the flags that a help text lists.
func flagTable(help string) string {
	type option struct{ name, text string }
	var flags []option
	listing := false
	for line := range strings.Lines(help) {
		line = strings.TrimRight(line, "\n")
		m := flagLine.FindStringSubmatch(line)
		switch {
		case m != nil:
			flags = append(flags, option{m[1], m[2]})
			listing = true
		case listing && strings.HasPrefix(line, "        "):
			last := &flags[len(flags)-1]
			last.text = strings.TrimSpace(last.text + " " + strings.TrimSpace(line))
		default:
			listing = false
		}
	}
	var b strings.Builder
	b.WriteString("| flag | default | meaning |\n|---|---|---|\n")
	for _, f := range flags {
		if f.name == "help" || f.name == "version" {
			continue
		}
		text, value := environ.ReplaceAllString(f.text, ""), ""
		if m := defaults.FindStringSubmatch(text); m != nil {
			if text = m[1]; m[2] != "" {
				value = "`" + m[2] + "`"
			} else {
				value = m[3]
			}
		}
		b.WriteString("| `--" + f.name + "` | " + value + " | " + strings.TrimSuffix(text, ".") + " |\n")
	}
	return b.String()
}

func TestFlagTable(t *testing.T) {
	help := `Usage: huoma up [flags]

Start everything.

Flags:
  -h, --help                     Show context-sensitive help.
      --version                  Print the version.

      --addr="127.0.0.1:8080"    Address to listen on; port 0 picks a free one (default
                                 127.0.0.1:8080). [$HUOMA_ADDR]
      --public-url=STRING        What links begin with. Default: the gateway's address. [$HUOMA_PUBLIC_URL]
      --allow-private-targets    Let targets lead into private networks. [$HUOMA_ALLOW_PRIVATE_TARGETS]
`
	want := "| flag | default | meaning |\n|---|---|---|\n" +
		"| `--addr` | `127.0.0.1:8080` | Address to listen on; port 0 picks a free one |\n" +
		"| `--public-url` | the gateway's address | What links begin with |\n" +
		"| `--allow-private-targets` |  | Let targets lead into private networks |\n"
	if got := flagTable(help); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
