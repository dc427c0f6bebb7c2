package cli

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/huoma/huoma/internal/cli/client"
)

// form is what a run writes.
type form int

const (
	formNone form = iota // only lines on standard output
	formFolder
	formZip
	formPDF
)

// formOf reads --out.
func formOf(out string) (form, error) {
	switch ext := strings.ToLower(filepath.Ext(out)); {
	case out == "":
		return formNone, nil
	case ext == ".zip":
		return formZip, nil
	case ext == ".pdf":
		return formPDF, nil
	case ext == ".png" || ext == ".svg":
		return 0, usagef("--out takes a folder, or a .zip or .pdf file, not %s", ext)
	}
	return formFolder, nil
}

// journal is what a run of many codes keeps beside its output, so that it goes on after an interruption where it was. Its folder is
// .huoma-mint in the output folder, and NAME.mint beside an output file:
//
//	run.json           what is minted and drawn (runState)
//	codes-00000.json   the gateway's answers, one a chunk
//	pictures/          the pictures, where the output is a file
//	lock               locked while a run is under way
//
// Everything in it can be had again: the idempotency keys are made of the rows. What it saves is asking again, and what it holds
// is that all pictures are of one CSV, drawn alike, by one installation.
type journal struct {
	form  form
	out   string
	dir   string // "": formNone
	state runState
	lock  *os.File
}

// runState is run.json.
type runState struct {
	Version  int    `json:"version"`
	Run      string `json:"run"`  // of the rows and what the flags say of them
	Look     string `json:"look"` // of what the flags say of the pictures
	From     string `json:"from"`
	Codes    int    `json:"codes"`
	Pictures int    `json:"pictures"`
	Checked  bool   `json:"checked"` // the gateway would mint every row
	Begun    bool   `json:"begun"`   // something may be minted
	Done     bool   `json:"done"`
}

const runVersion = 1

// mark is kept in a file that is done, to know it again.
func (s runState) mark() string { return "huoma-mint " + s.Run + " " + s.Look }

// openJournal opens the journal of a run, or begins it. done: there is nothing left to do. The caller closes it.
func openJournal(f form, out string, want runState) (j *journal, done bool, err error) {
	j = &journal{form: f, out: out, state: want}
	j.state.Version = runVersion
	switch f {
	case formNone:
		return j, false, nil
	case formFolder:
		j.dir = filepath.Join(out, ".huoma-mint")
		if !thereAlready(j.dir) && thereAlready(j.idsPath()) {
			return nil, false, fmt.Errorf("%s is there already, and the list of codes would go there: name another folder with --out", j.idsPath())
		}
	default:
		j.dir = out + ".mint"
		if thereAlready(out) {
			is, err := marked(f, out, j.state.mark())
			if err != nil || !is {
				return nil, false, fmt.Errorf("%s is there already, and not of these rows and flags: remove it or name another file with --out", out)
			}
			return j, true, os.RemoveAll(j.dir) // it may have been interrupted just before it would have removed it
		}
		if f == formPDF && !thereAlready(j.dir) && thereAlready(j.idsPath()) {
			return nil, false, fmt.Errorf("%s is there already, and the list of codes would go there: remove it or name another file with --out", j.idsPath())
		}
	}
	if err := errors.Join(makeFolder(j.dir), makeFolder(j.pictures())); err != nil {
		return nil, false, fmt.Errorf("%s cannot be made: name another place with --out", j.dir)
	}
	if j.lock, err = os.OpenFile(filepath.Join(j.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644); err != nil {
		return nil, false, fmt.Errorf("%s cannot be written: name another place with --out", j.dir)
	}
	if err := flock(j.lock); err != nil {
		return nil, false, errors.Join(fmt.Errorf("another run writes to %s: wait for it, or name another place with --out", out), j.close())
	}
	if done, err = j.resume(want); err != nil {
		return nil, false, errors.Join(err, j.close())
	}
	return j, done, nil
}

// resume reads what an earlier run has left, or begins.
func (j *journal) resume(want runState) (done bool, err error) {
	b, err := os.ReadFile(j.file("run.json"))
	if errors.Is(err, os.ErrNotExist) {
		return false, j.save()
	}
	var was runState
	if err == nil {
		err = json.Unmarshal(b, &was)
	}
	remove := j.dir
	if j.form == formFolder {
		remove = j.out
	}
	switch {
	case err != nil || was.Version != runVersion:
		return false, fmt.Errorf("%s cannot be read: remove %s and run again; no code is minted twice", j.file("run.json"), remove)
	case !was.Begun && (was.Run != want.Run || was.Look != want.Look):
		return false, j.save() // it came to nothing
	case was.Run != want.Run:
		how := "begun, and not finished,"
		if was.Done {
			how = "made"
		}
		return false, fmt.Errorf("%s was %s with other rows or flags (%s, %d codes): run that again as it was to go on with it, or give this one an --out of its own", j.out, how, was.From, was.Codes)
	case was.Look != want.Look:
		return false, fmt.Errorf("%s was begun with pictures drawn otherwise: use the same flags for them, or another --out, where the same codes are drawn anew", j.out)
	}
	j.state = was
	if was.Done {
		return j.complete()
	}
	return false, nil
}

// complete reports whether everything that was written is still there.
func (j *journal) complete() (bool, error) {
	list, err := readIDs(j.idsPath())
	if err != nil || len(list) != j.state.Pictures {
		return false, nil //nolint:nilerr // it is made again
	}
	for _, l := range list {
		if !thereAlready(filepath.Join(j.out, l.File)) {
			return false, nil
		}
	}
	return true, j.tidy() // it may have been interrupted just before it would have
}

// tidy removes the gateway's answers.
func (j *journal) tidy() error {
	entries, err := os.ReadDir(j.dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "codes-") {
			err = errors.Join(err, removeIfThere(j.file(e.Name())))
		}
	}
	return j.written(errors.Join(err, syncFolder(j.dir)), "the end")
}

func (j *journal) file(name string) string { return filepath.Join(j.dir, name) }

// pictures is the folder the pictures go to.
func (j *journal) pictures() string {
	if j.form == formFolder {
		return j.out
	}
	return j.file("pictures")
}

// idsPath is where the list of codes goes, "" where it goes into the output itself.
func (j *journal) idsPath() string {
	switch j.form {
	case formFolder:
		return filepath.Join(j.out, idsName)
	case formPDF:
		return j.out[:len(j.out)-len(".pdf")] + "-" + idsName
	}
	return ""
}

func (j *journal) save() error {
	b, err := json.Marshal(j.state)
	if err != nil {
		return err
	}
	return j.written(writeBytes(j.file("run.json"), true, append(b, '\n')), "run.json")
}

// written says of an error what to do.
func (j *journal) written(err error, what string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s cannot be written to %s (%w): make room there and run the same command again, it goes on where it was", what, j.out, cause(err))
}

// cause is an error without the names it carries.
func cause(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err
	}
	if le, ok := errors.AsType[*os.LinkError](err); ok {
		return le.Err
	}
	return err
}

func chunkName(n int) string { return fmt.Sprintf("codes-%05d.json", n) }

// minted returns a chunk's codes as they were kept; ok is false when they are not, or not whole.
func (j *journal) minted(n, count int) (codes []client.Code, ok bool) {
	if j.form == formNone {
		return nil, false
	}
	b, err := os.ReadFile(j.file(chunkName(n)))
	if err != nil || json.Unmarshal(b, &codes) != nil || len(codes) != count {
		return nil, false
	}
	return codes, true
}

func (j *journal) keep(n int, codes []client.Code) error {
	if j.form == formNone {
		return nil
	}
	raw := make([]json.RawMessage, len(codes))
	for i, c := range codes {
		raw[i] = c.Raw
	}
	b, err := json.Marshal(raw)
	if err != nil {
		return err
	}
	return j.written(writeBytes(j.file(chunkName(n)), true, b), "the list of codes")
}

// begin notes durably that something may be minted from now on.
func (j *journal) begin() error {
	if j.form == formNone || j.state.Begun {
		return nil
	}
	j.state.Begun = true
	return j.save()
}

// forget removes the journal of a run that minted nothing, and the output folder if nothing else is in it.
func (j *journal) forget() error {
	if j.form == formNone {
		return nil
	}
	if err := os.RemoveAll(j.dir); err != nil {
		return err
	}
	if j.form == formFolder {
		_ = os.Remove(j.out) // it may have been there before, with something in it
	}
	return nil
}

// end says durably that all is done, and removes what is not needed any more.
func (j *journal) end() error {
	if j.form == formZip || j.form == formPDF {
		return j.written(errors.Join(os.RemoveAll(j.dir), syncFolder(filepath.Dir(j.dir))), "the end")
	}
	j.state.Done = true
	if err := j.save(); err != nil {
		return err
	}
	return j.tidy()
}

func (j *journal) close() error {
	if j.lock == nil {
		return nil
	}
	return j.lock.Close()
}

// marked reports whether a file that a run has written carries its mark.
func marked(f form, path, mark string) (bool, error) {
	if f == formZip {
		z, err := zip.OpenReader(path)
		if err != nil {
			return false, err
		}
		return z.Comment == mark, z.Close()
	}
	file, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	want := []byte("(" + mark + ")")
	tail := make([]byte, 0, 128<<10)
	for {
		n, err := file.Read(tail[len(tail):cap(tail)])
		tail = tail[:len(tail)+n]
		if bytes.Contains(tail, want) {
			return true, nil
		}
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if len(tail) > cap(tail)/2 { // what the mark may have begun in
			tail = tail[:copy(tail, tail[len(tail)-len(want):])]
		}
	}
}
