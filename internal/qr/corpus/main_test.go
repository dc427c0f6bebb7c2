package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestCorpus builds the program without the race detector, which would take its decoders a quarter of an hour, and has it
// read two thousand pictures, and a damaged sample.
func TestCorpus(t *testing.T) {
	program := filepath.Join(t.TempDir(), "corpus")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var out, errs bytes.Buffer
	cmd := exec.Command(program, "--json", "--pictures", "2000", "--damaged", "40")
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, &errs)
	}
	var r result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if r.Pictures < 2000 || r.Smallest > 140 || r.Largest < 1800 {
		t.Errorf("%d pictures of %d to %d pixels", r.Pictures, r.Smallest, r.Largest)
	}
	for _, f := range r.Failures {
		t.Errorf("%s", f)
	}
	if len(r.Rates) != len(damages) {
		t.Fatalf("%d rates of %d damages", len(r.Rates), len(damages))
	}
	for i, d := range r.Rates {
		for decoder, n := range map[string]int{"zbarimg": d.ZBar, "gozxing": d.ZXing} {
			if 100*n < damages[i].floor*d.Of {
				t.Errorf("%s: %s read %d of %d, want %d %%", d.Name, decoder, n, d.Of, damages[i].floor)
			}
		}
		if d.Wrong > 0 {
			t.Errorf("%s: %d were read as something else", d.Name, d.Wrong)
		}
	}
}

// TestPageIsOfThisProgram: the rates of the page are of these damages, and above the floors that tests hold.
func TestPageIsOfThisProgram(t *testing.T) {
	b, err := os.ReadFile("../../../docs/pictures.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), begin)
	table, _, ok := strings.Cut(rest, end)
	if !ok {
		t.Fatal("the page lacks its marks")
	}
	for _, d := range damages {
		_, row, ok := strings.Cut(table, "| "+d.name+" |")
		if !ok {
			t.Errorf("no rate of %q: run make pictures", d.name)
			continue
		}
		row, _, _ = strings.Cut(row, "\n")
		cells := strings.Split(row, "|")
		for i, decoder := range []string{"zbarimg", "gozxing"} {
			rate, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(cells[1+i]), " %"), 64)
			if err != nil || rate < float64(d.floor) {
				t.Errorf("%s: %s %q, want at least %d %%", d.name, decoder, cells[1+i], d.floor)
			}
		}
	}
	if strings.Contains(table, ": gozxing") || strings.Contains(table, ": zbarimg") {
		t.Error("the page tells of pictures that were not read")
	}
}

func TestUpdatePage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(path, []byte("head\n"+begin+"old\n"+end+"tail\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &result{Seed: 7, Pictures: 3, Rates: []rate{{Name: "rain", Of: 4, ZXing: 1, ZBar: 2, Both: 1, Any: 2}}}
	for range 2 {
		if err := updatePage(path, r); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(b); !strings.HasPrefix(got, "head\n"+begin+"3 pictures") || !strings.HasSuffix(got, end+"tail\n") || strings.Contains(got, "old") || !strings.Contains(got, "| rain | 4 | 50.0 % | 25.0 % | 25.0 % | 50.0 % | 0 |") {
		t.Errorf("the page is\n%s", got)
	}
	if err := os.WriteFile(path, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := updatePage(path, r); err == nil || !strings.Contains(err.Error(), "lacks the lines") {
		t.Errorf("a page without marks: %v", err)
	}
}

// TestWithoutZbarimg fails loudly, and says what to install.
func TestWithoutZbarimg(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if err := run(options{Pictures: 1}, "", false); err == nil || !strings.Contains(err.Error(), "zbar-tools") {
		t.Errorf("got %v", err)
	}
}

// TestSameSeedSamePictures, and another seed others.
func TestSameSeedSamePictures(t *testing.T) {
	a, err := specimens(3, 12)
	if err != nil {
		t.Fatal(err)
	}
	b, err := specimens(3, 12)
	if err != nil {
		t.Fatal(err)
	}
	c, err := specimens(4, 12)
	if err != nil {
		t.Fatal(err)
	}
	same := 0
	for i := range a {
		if !bytes.Equal(a[i].png, b[i].png) {
			t.Errorf("picture %d differs", i)
		}
		if bytes.Equal(a[i].png, c[i].png) {
			same++
		}
	}
	if same > 0 {
		t.Errorf("%d pictures of another seed are the same", same)
	}
}
