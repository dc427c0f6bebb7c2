package tour

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The tables of flags in the README are what the programs say with --help. A table stands between
//
//	<!-- flags: huoma up -->
//	<!-- end of flags -->
func TestReadmeListsEveryFlag(t *testing.T) {
	text := read(t, "README.md")
	tables := regexp.MustCompile(`(?s)<!-- flags: ([a-z -]+) -->\n(.*?)<!-- end of flags -->`).FindAllStringSubmatch(text, -1)
	if len(tables) == 0 {
		t.Fatal("README.md has no table of flags")
	}
	bin := programs(t)
	for _, m := range tables {
		command := strings.Fields(m[1])
		cmd := exec.Command(filepath.Join(bin, command[0]), append(command[1:], "--help")...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
		cmd.Dir = t.TempDir()
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%s --help: %v", m[1], err)
			continue
		}
		want := flagTable(strings.ReplaceAll(string(out), cmd.Dir, "."))
		if strings.TrimSpace(m[2]) != strings.TrimSpace(want) {
			t.Errorf("README.md has other flags than %s --help; it should say\n%s", m[1], want)
		}
	}
}

var (
	flagLine = regexp.MustCompile(`^\s+(?:-\w, )?--([a-z0-9-]+)(?:=(?:"[^"]*"|\S+))?(?:\s+(.*))?$`)
	environ  = regexp.MustCompile(`\s*\[\$HUOMA_[A-Z0-9_]+\]\.?$`)
	defaults = regexp.MustCompile(`^(.*?)(?: \(default (.*)\)\.?|\.? Default: (.*?)\.?)$`)
)

// flagTable makes a table of the flags that a help text lists.
func flagTable(help string) string {
	type flag struct{ name, text string }
	var flags []flag
	listing := false
	for line := range strings.Lines(help) {
		line = strings.TrimRight(line, "\n")
		m := flagLine.FindStringSubmatch(line)
		switch {
		case m != nil:
			flags = append(flags, flag{m[1], m[2]})
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
