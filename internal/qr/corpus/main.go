// Command corpus draws thousands of pictures of all kinds and has two decoders that are not ours read them: zbarimg, and
// github.com/makiuchi-d/gozxing. Every picture must say exactly its URL, in the version and at the level it was asked for. A sample
// is then damaged in ways that paper, cameras and messengers damage pictures, and the rates at which it is still read are
// measured. What is drawn depends on the seed alone.
//
//	go run ./internal/qr/corpus --update docs/pictures.md
//
// writes the rates between the marks of that page.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"time"
)

func main() {
	var o options
	flag.Uint64Var(&o.Seed, "seed", 1, "what is drawn follows from it")
	flag.IntVar(&o.Pictures, "pictures", 2400, "how many are drawn")
	flag.IntVar(&o.Damaged, "damaged", 400, "how many of them are damaged, in each way")
	flag.StringVar(&o.Keep, "keep", "", "folder to leave all pictures in")
	update := flag.String("update", "", "page to write the rates into")
	asJSON := flag.Bool("json", false, "print the result as one JSON object")
	flag.Parse()
	if err := run(o, *update, *asJSON); err != nil {
		fmt.Fprintln(os.Stderr, "corpus:", err)
		os.Exit(1)
	}
}

type options struct {
	Seed     uint64
	Pictures int
	Damaged  int
	Keep     string
}

func run(o options, update string, asJSON bool) error {
	if _, err := exec.LookPath("zbarimg"); err != nil {
		return fmt.Errorf("zbarimg is missing, and half of what is to be shown with it: install it (Debian and Ubuntu: sudo apt-get install zbar-tools) and run this again")
	}
	start := time.Now()
	r, err := measure(o)
	if err != nil {
		return err
	}
	r.Seconds = time.Since(start).Seconds()
	if update != "" {
		if err := updatePage(update, r); err != nil {
			return err
		}
	}
	if asJSON {
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	fmt.Print(r.text())
	if n := len(r.Failures); n > 0 {
		return fmt.Errorf("%d of %d pictures were not read as they should be", n, r.Pictures)
	}
	return nil
}
