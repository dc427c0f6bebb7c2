package cli

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	_ "image/png" // pictures are read
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"github.com/huoma/huoma/internal/cli/client"
)

// decodes returns what a picture says.
func decodes(t testing.TB, png []byte) string {
	t.Helper()
	img, _, err := image.Decode(bytes.NewReader(png))
	if err != nil {
		t.Fatal(err)
	}
	bitmap, err := gozxing.NewBinaryBitmapFromImage(img)
	if err != nil {
		t.Fatal(err)
	}
	got, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true})
	if err != nil {
		t.Fatal(err)
	}
	return got.GetText()
}

// manyCodes writes a CSV of n codes and returns its path.
func manyCodes(t testing.TB, n int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("url,campaign\n")
	for i := range n {
		fmt.Fprintf(&b, "https://example.com/g/%d,春季\n", i)
	}
	return writeFile(t, t.TempDir(), "many.csv", b.String())
}

// listed is every code the gateway has, by id.
func (in installation) listed(t testing.TB) map[string]client.Code {
	t.Helper()
	cl, err := client.New(in.gateway, testKey)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]client.Code)
	if err := cl.Codes(t.Context(), 0, func(c client.Code) error { out[c.ID] = c; return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

// output is what a run has left: the list of codes, and the pictures by name. Of a sheet, the pictures are those in the file, in order.
func output(t testing.TB, out string) (list []drawn, pictures map[string][]byte) {
	t.Helper()
	pictures = make(map[string][]byte)
	f, err := formOf(out)
	if err != nil {
		t.Fatal(err)
	}
	left := func(dir string) []string {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	switch f {
	case formFolder:
		if list, err = readIDs(filepath.Join(out, idsName)); err != nil {
			t.Fatal(err)
		}
		for _, name := range left(out) {
			if name == ".huoma-mint" || name == idsName {
				continue
			}
			if pictures[name], err = os.ReadFile(filepath.Join(out, name)); err != nil {
				t.Fatal(err)
			}
		}
		if rest := left(filepath.Join(out, ".huoma-mint")); !slices.Equal(rest, []string{"lock", "run.json"}) {
			t.Errorf("left over: %v", rest)
		}
		return list, pictures
	case formZip:
		z, err := zip.OpenReader(out)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		for _, e := range z.File {
			r, err := e.Open()
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			if e.Name != idsName {
				pictures[e.Name] = b
				continue
			}
			if list, err = readIDs(writeFile(t, t.TempDir(), "ids.csv", string(b))); err != nil {
				t.Fatal(err)
			}
		}
	case formPDF:
		ids := strings.TrimSuffix(out, ".pdf") + "-codes.csv"
		if list, err = readIDs(ids); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if text, err := exec.Command("pdfimages", "-png", out, filepath.Join(dir, "p")).CombinedOutput(); err != nil {
			t.Fatalf("pdfimages: %v: %s", err, text)
		}
		names := left(dir) // numbered in order, with three digits or more
		slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) })
		for i, name := range names {
			if pictures[list[i].ID], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			list[i].File = list[i].ID
		}
	}
	if rest, _ := filepath.Glob(out + ".*"); len(rest) > 0 {
		t.Errorf("left over: %v", rest)
	}
	return list, pictures
}

// proven holds an output against the gateway: n codes, minted once, and a picture of each that says its own address.
func (in installation) proven(t testing.TB, out string, n int) {
	t.Helper()
	list, pictures := output(t, out)
	codes := in.listed(t)
	if len(codes) != n || len(list) != n || len(pictures) != n {
		t.Fatalf("%d codes at the gateway, %d listed, %d pictures; want %d of each", len(codes), len(list), len(pictures), n)
	}
	dir := t.TempDir()
	var files, say []string
	for i, d := range list {
		c, ok := codes[d.ID]
		if !ok || c.ScanURL != d.ScanURL || c.Tracking != d.Tracking || c.Name != d.Name || c.Token != d.Token {
			t.Fatalf("listed %+v, minted %+v", d, c)
		}
		if want := fmt.Sprintf("春季-%05d", i+1); d.Name != want {
			t.Fatalf("row %d is named %s", i+1, d.Name)
		}
		want := strings.ToUpper(c.ScanURL)
		if i%40 == 0 { // the other decoder reads them all
			if got := decodes(t, pictures[d.File]); got != want {
				t.Fatalf("the picture of %s says %s, want %s", d.ID, got, want)
			}
		}
		file := fmt.Sprintf("%05d.png", i)
		if err := os.WriteFile(filepath.Join(dir, file), pictures[d.File], 0o600); err != nil {
			t.Fatal(err)
		}
		files, say = append(files, file), append(say, want)
	}
	for len(files) > 0 {
		some := min(200, len(files))
		cmd := exec.Command("zbarimg", append([]string{"-q", "--raw", "--nodbus", "-S", "disable", "-S", "qrcode.enable"}, files[:some]...)...)
		cmd.Dir = dir
		read, err := cmd.Output()
		if err != nil {
			t.Fatalf("zbarimg: %v", err)
		}
		if got, want := strings.TrimSpace(string(read)), strings.Join(say[:some], "\n"); got != want {
			t.Fatalf("pictures say\n%.2000s\nwant\n%.2000s", got, want)
		}
		files, say = files[some:], say[some:]
	}
}

func mintArgs(in installation, file, out string) []string {
	return []string{"mint", "--from", file, "--out", out, "--name", "{campaign}-{seq:5}", "--gateway", in.gateway, "--api-key", testKey}
}

// A run is killed at random points, again and again, and then ends as if it had not been.
func TestKilledAtAnyMoment(t *testing.T) {
	const n = 1300 // two requests
	file := manyCodes(t, n)
	for i, name := range []string{"pictures", "codes.zip", "sheet.pdf"} {
		t.Run(name, func(t *testing.T) {
			in := install(t)
			out := filepath.Join(t.TempDir(), name)
			args := mintArgs(in, file, out)
			rnd := rand.New(rand.NewPCG(7, uint64(i)))
			kills := 0
			for try := range 9 {
				var stderr bytes.Buffer
				cmd := exec.Command(os.Args[0], args...)
				cmd.Env = append(os.Environ(), "HUOMA_TEST_CHILD=1")
				cmd.Stderr = &stderr
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				go func() { ended <- cmd.Wait() }()
				// Some points in time, and some when the next picture or the final file is being written.
				var at <-chan time.Time
				if try%3 == 2 {
					at = nearTheEnd(t, out, ended)
				} else {
					at = time.After(time.Duration(rnd.IntN(600)) * time.Millisecond)
				}
				select {
				case <-at:
					_ = cmd.Process.Signal(syscall.SIGKILL)
					if err := <-ended; err != nil && strings.Contains(err.Error(), "killed") {
						kills++
					}
				case err := <-ended:
					ended <- err
					if err != nil {
						t.Fatalf("%v: %s", err, &stderr)
					}
				}
			}
			if kills < 3 {
				t.Errorf("only %d runs were killed", kills)
			}
			run(t, args...).ok(t)
			in.proven(t, out, n)
			again := run(t, args...)
			if again.code != exitOK || again.out != "" || !strings.Contains(again.stderr, "nothing was minted") {
				t.Errorf("run once more: %+v", again)
			}
			in.proven(t, out, n)
		})
	}
}

// nearTheEnd fires once the last pictures are written or the output is put together.
func nearTheEnd(t *testing.T, out string, ended chan error) <-chan time.Time {
	t.Helper()
	at := make(chan time.Time)
	go func() {
		for {
			pictures, _ := filepath.Glob(filepath.Join(out, "*.png"))
			staged, _ := filepath.Glob(filepath.Join(out+".mint", "pictures", "*.png"))
			if len(pictures)+len(staged) > 1290 || thereAlready(out+partial) || len(ended) > 0 {
				close(at)
				return
			}
			<-time.After(time.Millisecond)
		}
	}()
	return at
}

// The connection breaks again and again: requests are lost, answers are lost, pictures are cut off.
func TestMintThroughABadConnection(t *testing.T) {
	in := install(t)
	target, err := url.Parse(in.gateway)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	var n atomic.Int32
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k := n.Add(1)
		switch {
		case r.Method == http.MethodPost && k%2 == 0: // minted, and nobody hears of it
			proxy.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		case k%97 == 0:
			panic(http.ErrAbortHandler)
		case k%89 == 0:
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.Method == http.MethodGet && k%61 == 0: // half a picture, and a length that says so
			rec := httptest.NewRecorder()
			proxy.ServeHTTP(rec, r)
			w.Header().Set("Content-Length", fmt.Sprint(rec.Body.Len()))
			_, _ = w.Write(rec.Body.Bytes()[:rec.Body.Len()/2])
		case r.Method == http.MethodGet && k%53 == 0: // half a picture that calls itself whole
			rec := httptest.NewRecorder()
			proxy.ServeHTTP(rec, r)
			_, _ = w.Write(rec.Body.Bytes()[:rec.Body.Len()/2])
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(front.Close)
	out := filepath.Join(t.TempDir(), "pictures")
	args := mintArgs(in, manyCodes(t, 1100), out)
	args[slices.Index(args, in.gateway)] = front.URL
	run(t, args...).ok(t)
	in.proven(t, out, 1100)
}

// Whatever changes between two runs into the same place is refused, and says what to do.
func TestAnotherRunIntoTheSamePlace(t *testing.T) {
	in, other := install(t), install(t)
	dir := t.TempDir()
	file := writeFile(t, dir, "a.csv", "url,campaign\nhttps://example.com/1,春季\nhttps://example.com/2,春季\n")
	changed := writeFile(t, dir, "b.csv", "url,campaign\nhttps://example.com/1,春季\nhttps://example.com/3,春季\n")
	same := writeFile(t, dir, "c.csv", "\ufeffURL;campaign\r\n\r\nhttps://example.com/1;春季\r\nhttps://example.com/2;春季\r\n;;\r\n")
	for _, name := range []string{"d", "d.zip", "d.pdf"} {
		out := filepath.Join(dir, name)
		run(t, mintArgs(in, file, out)...).ok(t)
		for what, args := range map[string][]string{
			"changed rows":     mintArgs(in, changed, out),
			"another flag":     append(mintArgs(in, file, out), "--owner", "me"),
			"another template": append(mintArgs(in, file, out), "--name", "x-{seq}"),
			"other pictures":   append(mintArgs(in, file, out), "--size", "300"),
			"variants":         append(mintArgs(in, file, out), "--variant", "a"),
		} {
			r := run(t, args...)
			if r.code == exitOK || !strings.Contains(r.stderr, "--out") || r.out != "" {
				t.Errorf("%s into %s: %+v", what, name, r)
			}
		}
		if r := run(t, mintArgs(in, same, out)...); r.code != exitOK || !strings.Contains(r.stderr, "nothing was minted") {
			t.Errorf("the same rows saved by another program: %+v", r)
		}
	}
	if n := len(in.listed(t)); n != 2 {
		t.Errorf("%d codes, want 2: the same rows are the same codes wherever their pictures go", n)
	}
	// Begun at one installation, gone on with at another.
	out := filepath.Join(dir, "moved")
	run(t, mintArgs(in, file, out)...).ok(t)
	unfinish(t, out)
	if r := run(t, mintArgs(other, file, out)...); r.code != exitError || !strings.Contains(r.stderr, "another installation") {
		t.Errorf("at another installation: %+v", r)
	}
	if n := len(other.listed(t)); n != 0 {
		t.Errorf("%d codes were minted there", n)
	}
	// A picture that got lost is drawn again.
	out = filepath.Join(dir, "d")
	pictures, err := filepath.Glob(filepath.Join(out, "*.png"))
	if err != nil || len(pictures) != 2 {
		t.Fatalf("%v %v", pictures, err)
	}
	if err := os.Remove(pictures[0]); err != nil {
		t.Fatal(err)
	}
	run(t, mintArgs(in, file, out)...).ok(t)
	in.proven(t, out, 2)
	// Two at a time.
	_, _, err = openJournal(formFolder, out, runState{})
	if err == nil {
		t.Fatal("opened with other rows")
	}
	b, err := os.ReadFile(filepath.Join(out, ".huoma-mint", "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	var state runState
	if err := json.Unmarshal(b, &state); err != nil {
		t.Fatal(err)
	}
	held, _, err := openJournal(formFolder, out, state)
	if err != nil {
		t.Fatal(err)
	}
	if r := run(t, mintArgs(in, file, out)...); r.code != exitError || !strings.Contains(r.stderr, "another run") {
		t.Errorf("two at a time: %+v", r)
	}
	if err := held.close(); err != nil {
		t.Fatal(err)
	}
	// The file of the input is not written over.
	own := t.TempDir()
	input := writeFile(t, own, "codes.csv", "url\nhttps://example.com/9\n")
	if r := run(t, mintArgs(in, input, own)...); r.code != exitError || !strings.Contains(r.stderr, "codes.csv is there already") {
		t.Errorf("into the folder of the CSV: %+v", r)
	}
}

// unfinish makes a run that is done look as if it had been killed before its last step.
func unfinish(t *testing.T, out string) {
	t.Helper()
	j := &journal{form: formFolder, out: out, dir: filepath.Join(out, ".huoma-mint")}
	b, err := os.ReadFile(j.file("run.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &j.state); err != nil {
		t.Fatal(err)
	}
	list, err := readIDs(j.idsPath())
	if err != nil {
		t.Fatal(err)
	}
	var codes []client.Code
	for _, d := range list {
		codes = append(codes, client.Code{Raw: fmt.Appendf(nil, `{"id":%q,"name":%q,"scan_url":%q,"token":%q,"tracking":%q}`, d.ID, d.Name, d.ScanURL, d.Token, d.Tracking)})
	}
	j.state.Done = false
	if err := errors.Join(j.keep(0, codes), j.save()); err != nil {
		t.Fatal(err)
	}
}

// Rows that only the gateway refuses, far into a file of several requests: all are told by line and column, and nothing is minted.
func TestNothingIsMintedOfABadFile(t *testing.T) {
	in := install(t)
	var b strings.Builder
	b.WriteString("name,url,validity\n")
	for i := range 2500 {
		switch i {
		case 10:
			b.WriteString("a,http://10.1.2.3/,\n")
		case 2400:
			b.WriteString("b,https://example.com/x,1ms\n")
		default:
			fmt.Fprintf(&b, "c,https://example.com/%d,\n", i)
		}
	}
	file := writeFile(t, t.TempDir(), "bad.csv", b.String())
	out := filepath.Join(t.TempDir(), "pictures")
	r := run(t, mintArgs(in, file, out)...)
	for _, want := range []string{"line 12, column B (url): ", "line 2402, column C (validity): ", "nothing was minted: 2 rows"} {
		if r.code != exitError || !strings.Contains(r.stderr, want) {
			t.Errorf("%+v, want %q", r, want)
		}
	}
	if n := len(in.listed(t)); n != 0 || thereAlready(out) {
		t.Errorf("%d codes were minted, a folder made: %v", n, thereAlready(out))
	}
	// What cannot be read is told together with what the gateway refuses.
	file = writeFile(t, t.TempDir(), "bad.csv", "name,url,capacity\na,http://10.1.2.3/,1\nb,https://example.com/x,many\n")
	r = run(t, mintArgs(in, file, out)...)
	for _, want := range []string{"line 2, column B (url): ", "line 3, column C (capacity): ", "nothing was minted: 2 rows"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("%+v, want %q", r, want)
		}
	}
	// The mended file goes to the same place.
	file = writeFile(t, t.TempDir(), "good.csv", "campaign,url\n春季,https://example.com/x\n")
	run(t, mintArgs(in, file, out)...).ok(t)
	in.proven(t, out, 1)
}

// Without --out the same rows are the same codes too, and numbers go on over requests.
func TestTheSameRowsAreMintedOnce(t *testing.T) {
	in := install(t)
	file := manyCodes(t, 1001)
	first := in.on(t, "mint", "--from", file, "--name", "n-{seq:4}")
	lines := strings.Split(strings.TrimSpace(first.ok(t)), "\n")
	if len(lines) != 1001 || !strings.HasSuffix(lines[999], "\tn-1000") || !strings.HasSuffix(lines[1000], "\tn-1001") || first.stderr != "" {
		t.Fatalf("%d lines, the last %q, said %q", len(lines), lines[len(lines)-1], first.stderr)
	}
	again := in.on(t, "mint", "--from", file, "--name", "n-{seq:4}")
	if again.ok(t) != first.out || !strings.Contains(again.stderr, "1001 of the 1001 codes had been minted before") || !strings.Contains(again.stderr, "--idempotency-key") {
		t.Errorf("again: %q", again.stderr)
	}
	if more := in.on(t, "mint", "--from", file, "--name", "n-{seq:4}", "--idempotency-key", "more").ok(t); more == first.out {
		t.Error("another key is no other codes")
	}
	if r := in.on(t, "mint", "--from", manyCodes(t, 1000), "--name", "x", "--idempotency-key", "more"); r.code != exitError || !strings.Contains(r.stderr, "the key was used with another body") {
		t.Errorf("the same key with other rows: %+v", r)
	}
	if n := len(in.listed(t)); n != 2002 {
		t.Errorf("%d codes, want 2002", n)
	}
}

// Each variant has a picture of its own, listed and named.
func TestVariantsOnASheet(t *testing.T) {
	in := install(t)
	dir := t.TempDir()
	file := writeFile(t, dir, "v.csv", "name,url\n一号店,https://example.com/1\n二号店,https://example.com/2\n")
	out := filepath.Join(dir, "v.pdf")
	in.on(t, "mint", "--from", file, "--variant", "红", "--variant", "蓝", "--label", "name,copy,tracking", "--columns", "2", "--rows", "2", "--paper", "Letter", "--out", out).ok(t)
	b, err := os.ReadFile(filepath.Join(dir, "v-codes.csv"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(b, []byte("\ufeff")))).ReadAll()
	if err != nil || len(rows) != 5 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	if rows[4][1] != "二号店" || rows[4][2] != "2" || rows[4][3] != "蓝" || rows[4][7] != "v.pdf#page=1" || rows[3][5] == rows[4][5] {
		t.Errorf("the last row is %q", rows[4])
	}
	text, err := exec.Command("pdftotext", "-layout", out, "-").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for _, want := range []string{"一号店", "二号店", "红", "蓝", rows[1][4], rows[4][4]} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not on the sheet:\n%s", want, text)
		}
	}
	for _, args := range [][]string{{"--label", "price"}, {"--label", "name,name"}, {"--paper", "B4"}, {"--columns", "40"}} {
		if r := in.on(t, append([]string{"mint", "--from", file, "--out", filepath.Join(dir, "w.pdf")}, args...)...); r.code != exitUsage {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

// A command that is told to stop says how to go on.
func TestInterrupted(t *testing.T) {
	in := install(t)
	ctx, cancel := context.WithCancel(t.Context())
	var once atomic.Bool
	target, err := url.Parse(in.gateway)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/qr.png") && once.CompareAndSwap(false, true) {
			cancel()
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	out := filepath.Join(t.TempDir(), "pictures")
	args := mintArgs(in, manyCodes(t, 300), out)
	args[slices.Index(args, in.gateway)] = front.URL
	var stdout, stderr lockedBuffer
	a := &App{Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr}
	if code := a.Main(ctx, args); code != exitError || !strings.Contains(stderr.String(), "goes on where it was") {
		t.Errorf("status %d: %s", code, stderr.String())
	}
	run(t, args...).ok(t)
	in.proven(t, out, 300)
}
