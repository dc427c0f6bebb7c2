package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/huoma/huoma/internal/cli/client"
	"github.com/huoma/huoma/internal/cli/sheet"
)

// drawn is one picture of a code.
type drawn struct {
	ID, Name          string
	Variant           int // 0: the code has none
	VariantName, Copy string
	Token, ScanURL    string
	Tracking, File    string
}

// picturesOf lists the pictures of a code, with the names of their files.
func picturesOf(c client.Code) []drawn {
	if len(c.Pictures) == 0 {
		return []drawn{{ID: c.ID, Name: c.Name, Token: c.Token, ScanURL: c.ScanURL, Tracking: c.Tracking, File: pictureName(c, "")}}
	}
	out := make([]drawn, len(c.Pictures))
	for i, p := range c.Pictures {
		out[i] = drawn{ID: c.ID, Name: c.Name, Variant: p.Variant, Token: p.Token, ScanURL: p.ScanURL, Tracking: p.Tracking, File: pictureName(c, "-v"+strconv.Itoa(p.Variant))}
		for _, v := range c.Variants {
			if v.N == p.Variant {
				out[i].VariantName, out[i].Copy = v.Name, v.Copy
			}
		}
	}
	return out
}

// pictureName is the code's name made fit for any file system, with its id so
// that no two are the same.
func pictureName(c client.Code, suffix string) string {
	safe := strings.Map(func(r rune) rune {
		switch {
		case r < 0x20, r == 0x7f, strings.ContainsRune(`/\:*?"<>|`, r):
			return '_'
		}
		return r
	}, c.Name)
	if r := []rune(safe); len(r) > 60 {
		safe = string(r[:60])
	}
	if safe = strings.Trim(safe, " ."); safe != "" {
		safe += "-"
	}
	return safe + c.ID + suffix + ".png"
}

// fetcher fetches pictures, some at a time, while codes are still minted.
type fetcher struct {
	ctx    context.Context // ends with the first error
	fail   context.CancelCauseFunc
	run    *bulk
	folder string
	told   func(error) error

	jobs chan drawn
	wg   sync.WaitGroup
	bar  *progress
	done atomic.Int64
}

// fetchers is how many pictures are fetched at a time: enough to keep the processors of a gateway on the same machine busy.
func fetchers() int { return min(max(2*runtime.GOMAXPROCS(0), 4), 16) }

// newFetcher starts to fetch what add is given. wait ends it.
func newFetcher(ctx context.Context, b *bulk, j *journal) *fetcher {
	f := &fetcher{run: b}
	f.ctx, f.fail = context.WithCancelCause(ctx)
	if b.form == formNone {
		return f
	}
	f.folder, f.jobs, f.bar = j.pictures(), make(chan drawn, 64), newProgress(b.app.Stderr, "pictures")
	f.told = func(err error) error { return j.written(err, "a picture") }
	for range fetchers() {
		f.wg.Go(func() {
			for d := range f.jobs {
				if f.ctx.Err() != nil {
					continue
				}
				if err := f.fetch(d); err != nil {
					f.fail(err)
					continue
				}
				f.bar.update(int(f.done.Add(1)), b.state.Pictures)
			}
		})
	}
	return f
}

// add has the pictures of codes fetched. It waits while there are too many to fetch.
func (f *fetcher) add(codes []client.Code) error {
	if f.jobs == nil {
		return nil
	}
	for _, c := range codes {
		for _, d := range picturesOf(c) {
			select {
			case f.jobs <- d:
			case <-f.ctx.Done():
				return context.Canceled
			}
		}
	}
	return nil
}

// wait waits for all that was added and returns the first error.
func (f *fetcher) wait() error {
	defer f.fail(nil)
	if f.jobs != nil {
		close(f.jobs)
		f.wg.Wait()
		f.bar.done()
	}
	if f.ctx.Err() != nil {
		return context.Cause(f.ctx)
	}
	return nil
}

// fetch writes a picture unless it is there, whole.
func (f *fetcher) fetch(d drawn) error {
	path := filepath.Join(f.folder, d.File)
	if b, err := os.ReadFile(path); err == nil && sheet.Whole(b) {
		return nil
	}
	var b []byte
	err := f.run.gate.patient(f.ctx, func() (err error) {
		b, err = f.run.gate.PNG(f.ctx, d.ID, f.run.size, d.Variant, f.run.cmd.Device)
		if err == nil && !sheet.Whole(b) {
			err = &client.Unreachable{Gateway: f.run.cmd.Gateway, Cause: errors.New("the picture was cut off")}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("picture of %s: %w", d.ID, err)
	}
	return f.told(writeBytes(path, false, b)) // synced with all others at the end
}

// syncAll makes sure that the pictures of a folder are on disk.
func syncAll(folder string, files []string) error {
	syncSoon(folder)
	next := make(chan string)
	var wg sync.WaitGroup
	var first atomic.Pointer[error]
	for range 8 {
		wg.Go(func() {
			for name := range next {
				if err := syncFile(filepath.Join(folder, name)); err != nil {
					first.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	for _, name := range files {
		next <- name
	}
	close(next)
	wg.Wait()
	if err := first.Load(); err != nil {
		return *err
	}
	return syncFolder(folder)
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
