package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"path/filepath"
	"strings"
	"time"

	"github.com/huoma/huoma/internal/cli/client"
	"github.com/huoma/huoma/internal/cli/sheet"
)

// bulk is a run: all codes of a CSV, minted, drawn and written down.
//
//	CSV ─ survey ─► rows that cannot be are told, or a digest ─► journal ─ check ─► mint, a chunk at a time ─► fetch pictures ─► folder, zip or PDF
//
// The idempotency key of a chunk is made of the digest and the chunk's number. So whatever is interrupted, wherever, can be done again.
type bulk struct {
	cmd  *mintCmd
	app  *App
	gate *gate
	file *csvFile

	form   form
	layout sheet.Layout
	labels []string
	size   int // of pictures in pixels; 0: the gateway's

	chunks [][sha256.Size]byte // what each chunk was when the file was surveyed
	counts []int               // and how many codes it has
	state  runState
}

// maxSheet is how many pictures a PDF takes: those who print more want several.
const maxSheet = 20_000

// many mints a code for each row of a CSV file.
func (c *mintCmd) many(ctx context.Context, a *App, cl *client.Client, base client.Mint) error {
	b := &bulk{cmd: c, app: a, gate: &gate{Client: cl}, file: &csvFile{path: c.From, base: base, capacities: c.capacities}, size: c.Size}
	var err error
	if b.form, err = formOf(c.Out); err != nil {
		return err
	}
	if b.form == formPDF {
		if b.layout, b.labels, err = c.sheet(); err != nil {
			return err
		}
		if b.size == 0 {
			b.size = b.layout.Pixels()
		}
	}
	if err := b.survey(ctx); err != nil {
		return err
	}
	j, done, err := openJournal(b.form, c.Out, b.state)
	if err != nil {
		return err
	}
	if done {
		fmt.Fprintf(a.Stderr, "huoma: %s is finished: all %d codes of %s are minted and %d pictures are there; nothing was minted\n", c.Out, b.state.Codes, c.From, b.state.Pictures)
		return j.close()
	}
	err = b.run(ctx, j)
	if cerr := j.close(); err == nil {
		err = cerr
	}
	if err != nil && b.form != formNone && ctx.Err() != nil {
		fmt.Fprintf(a.Stderr, "huoma: interrupted; the same command goes on where it was, and mints nothing twice\n")
	}
	return err
}

// survey reads the whole file: rows that cannot be minted are told, and else its digest is known.
func (b *bulk) survey(ctx context.Context) error {
	var bad badRows
	pictures := max(1, len(b.cmd.Variant))
	sums := sha256.New()
	frame(sums, "huoma mint 1", b.file.base.Name)
	err := b.file.chunks(ctx, &bad, func(c *chunk) error {
		sum := c.sum()
		sums.Write(sum[:])
		b.chunks, b.counts = append(b.chunks, sum), append(b.counts, len(c.list))
		if b.state.Codes += len(c.list); b.form == formPDF && b.state.Codes*pictures > maxSheet {
			return fmt.Errorf("%s makes more than %d pictures, and a PDF takes no more: split it, or use --out with a folder or a .zip file", b.file.path, maxSheet)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if bad.total > 0 {
		// What the gateway would say of the other rows is said at once, if it can be asked.
		var more badRows
		_ = b.check(ctx, &more)
		for _, p := range more.list {
			bad.add(p)
		}
		bad.total += more.total - len(more.list)
		return bad.tell(b.app.Stderr, b.file.path)
	}
	b.state.Run = hex.EncodeToString(sums.Sum(nil))
	b.state.From = filepath.Base(b.file.path)
	b.state.Pictures = b.state.Codes * pictures
	look := sha256.New()
	frame(look, fmt.Sprint(b.form, b.size), b.cmd.Device)
	if c := b.cmd; b.form == formPDF {
		frame(look, fmt.Sprint(strings.ToLower(c.Paper), c.Columns, c.Rows, c.Margin, b.labels, c.CropMarks, c.Dated))
	}
	b.state.Look = hex.EncodeToString(look.Sum(nil)[:8])
	return nil
}

// frame writes texts so that no two lists of them are the same bytes.
func frame(h hash.Hash, texts ...string) {
	for _, t := range texts {
		fmt.Fprintf(h, "%d:%s\n", len(t), t)
	}
}

// key is the idempotency key of a chunk.
func (b *bulk) key(n int) string {
	h := sha256.New()
	if b.cmd.Key != "" {
		frame(h, "huoma mint key", b.cmd.Key, fmt.Sprint(n)) // the gateway refuses it with other rows
	} else {
		frame(h, "huoma mint chunk", b.state.Run, fmt.Sprint(n))
	}
	return "mint-" + hex.EncodeToString(h.Sum(nil)[:20])
}

// check has the gateway look at every row. Errors are about no row.
func (b *bulk) check(ctx context.Context, bad *badRows) error {
	bar := newProgress(b.app.Stderr, "checking")
	defer bar.done()
	var lines badRows // those are told already
	return b.file.chunks(ctx, &lines, func(c *chunk) error {
		err := b.gate.patient(ctx, func() error { return b.gate.CheckBatch(ctx, c.list, b.file.base.Name, c.first) })
		if err != nil && !bad.refused(b.file, c, err) {
			return err
		}
		bar.update(c.first-1+len(c.list), max(b.state.Codes, c.first-1+len(c.list)))
		return nil
	})
}

// run does what is left to do.
func (b *bulk) run(ctx context.Context, j *journal) error {
	begun := time.Now()
	if len(b.chunks) > 1 && !j.state.Checked { // a single chunk is checked as it is minted
		var bad badRows
		if err := b.check(ctx, &bad); err != nil {
			return err
		}
		if bad.total > 0 {
			return b.refused(j, &bad)
		}
		j.state.Checked = true
		if b.form != formNone {
			if err := j.save(); err != nil {
				return err
			}
		}
	}
	f := newFetcher(ctx, b, j)
	repeated, err := b.mint(f.ctx, j, f)
	if ferr := f.wait(); ferr != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = ferr
	}
	if err != nil {
		return err
	}
	if err := b.finish(ctx, j); err != nil {
		return err
	}
	if repeated > 0 {
		fmt.Fprintf(b.app.Stderr, "huoma: %d of the %d codes had been minted before, by the same rows: to mint them once more, give another --idempotency-key\n", repeated, b.state.Codes)
	}
	if isTerminal(b.app.Stderr) {
		what := fmt.Sprintf("%d codes", b.state.Codes)
		if b.form != formNone {
			what += fmt.Sprintf(", %d pictures in %s", b.state.Pictures, b.cmd.Out)
		}
		fmt.Fprintf(b.app.Stderr, "huoma: %s, %s\n", what, time.Since(begun).Round(100*time.Millisecond))
	}
	return nil
}

// refused tells the bad rows. Nothing was minted, so nothing of the run is kept.
func (b *bulk) refused(j *journal, bad *badRows) error {
	return errors.Join(bad.tell(b.app.Stderr, b.file.path), j.forget())
}

// mint mints chunk after chunk and hands the codes on. repeated are those that another run had minted.
func (b *bulk) mint(ctx context.Context, j *journal, f *fetcher) (repeated int, err error) {
	var bar *progress
	if b.form == formNone {
		bar = newProgress(b.app.Stderr, "codes")
		defer bar.done()
	}
	var bad badRows
	err = b.file.chunks(ctx, &bad, func(c *chunk) error {
		if c.n >= len(b.chunks) || c.sum() != b.chunks[c.n] {
			return b.changed()
		}
		codes, ok := j.minted(c.n, len(c.list))
		if ok && c.n == 0 {
			if err := b.same(ctx, codes[0]); err != nil {
				return err
			}
		}
		if !ok {
			if err := j.begin(); err != nil {
				return err
			}
			var again int
			err := b.gate.patient(ctx, func() (err error) {
				codes, again, err = b.gate.MintBatch(ctx, c.list, b.file.base.Name, c.first, b.key(c.n))
				return err
			})
			if err != nil {
				if c.n == 0 && bad.refused(b.file, c, err) {
					return b.refused(j, &bad)
				}
				return err
			}
			if len(codes) != len(c.list) {
				return fmt.Errorf("%s does not answer like a gateway: check --gateway", b.cmd.Gateway)
			}
			repeated += again
			if err := j.keep(c.n, codes); err != nil {
				return err
			}
		}
		if b.form == formNone || !isTerminal(b.app.Stdout) {
			for _, code := range codes {
				if err := b.cmd.line(b.app.Stdout, code); err != nil {
					return err
				}
			}
		}
		if bar != nil {
			bar.update(c.first-1+len(codes), b.state.Codes)
		}
		return f.add(codes)
	})
	if err == nil && bad.total > 0 {
		return 0, b.changed()
	}
	return repeated, err
}

func (b *bulk) changed() error {
	return fmt.Errorf("%s was changed while it was minted: put it back as it was and run again, which mints nothing twice", b.file.path)
}

// same makes sure that a run goes on where it began: at the same installation, whose pictures begin with the same address.
func (b *bulk) same(ctx context.Context, first client.Code) error {
	var now client.Code
	err := b.gate.patient(ctx, func() (err error) { now, err = b.gate.Code(ctx, first.ID); return err })
	if p, ok := errors.AsType[*client.Problem](err); ok && p.Code == "unknown_code" {
		return fmt.Errorf("%s was begun at another installation, which minted %s: go on there, or give this run another --out", b.cmd.Out, first.ID)
	}
	if err != nil {
		return err
	}
	if now.ScanURL != first.ScanURL {
		return fmt.Errorf("the gateway's pictures lead to %s now, and those in %s to %s: start it with the --public-url it had, or give this run another --out", now.ScanURL, b.cmd.Out, first.ScanURL)
	}
	return nil
}

// codes hands out all codes of a run that is minted, in order.
func (b *bulk) codes(j *journal, fn func(client.Code) error) error {
	for n, count := range b.counts {
		list, ok := j.minted(n, count)
		if !ok {
			return fmt.Errorf("%s is gone: run the same command again", j.file(chunkName(n)))
		}
		for _, c := range list {
			if err := fn(c); err != nil {
				return err
			}
		}
	}
	return nil
}
