package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/huoma/huoma/internal/code/rows"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/token"
)

// batchRequest is the body of POST /v1/codes/batch when it is an object.
type batchRequest struct {
	Name  *string          `json:"name"` // a template for codes without a name
	Seq   *int             `json:"seq"`  // {seq} of the first code
	Codes []jsontext.Value `json:"codes"`
}

// maxMint is how many codes one request may mint.
const maxMint = 10_000

// tellAtOnce is of how many definitions the log is told at once.
const tellAtOnce = 500

// maxSeq bounds {seq}: it is written with at most 12 digits.
const maxSeq = 999_999_999_999 - maxMint

type batchAnswer struct {
	Minted   int          `json:"minted"`
	Repeated int          `json:"repeated,omitzero"` // of them: had been minted by the same request before
	Codes    []codeAnswer `json:"codes"`
}

// checkedAnswer is the answer when a batch was only to be looked at.
type checkedAnswer struct {
	Valid int `json:"valid"`
}

// mintMany answers POST /v1/codes/batch: all or, when one of them is wrong,
// none. Every bad row is told, up to maxBadRows. With validate=true nothing is
// minted: what would be refused is refused.
func (g *Gateway) mintMany(w http.ResponseWriter, r *http.Request) error {
	params, err := query(r, "name", "seq", "validate")
	if err != nil {
		return err
	}
	b := mintBatch{name: params.Get("name")}
	if b.seq, err = queryInt(params, "seq", 1, maxSeq, 1); err != nil {
		return err
	}
	validate := params.Get("validate")
	if validate != "" && validate != "true" && validate != "false" {
		return invalid(events.CodeInvalid, "validate", "write true or false")
	}
	body, mediaType, err := readBody(w, r, g.opts.Limits.BatchBody, "application/json", "text/csv")
	if err != nil {
		return err
	}
	if mediaType == "text/csv" {
		err = b.readCSV(bytes.NewReader(body))
	} else {
		err = b.readJSON(body)
	}
	if err != nil {
		return err
	}
	b.expandNames()
	key, err := idempotencyKey(r)
	if err != nil {
		return err
	}
	list := g.prepareAll(&b, key, body)
	if err := b.bad.problem(); err != nil {
		return err
	}
	if validate == "true" {
		return writeJSON(w, http.StatusOK, checkedAnswer{len(list)})
	}
	repeated, err := g.createAll(r.Context(), list)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(list, g.atOnce) {
		if err := g.tellUnheard(r.Context(), some...); err != nil {
			return err
		}
	}
	if err := g.crash.at(BeforeAnswer); err != nil {
		return err
	}
	out := batchAnswer{Minted: len(list), Repeated: repeated, Codes: make([]codeAnswer, len(list))}
	for i, s := range list {
		id, err := token.ParseCodeID(s.Def.ID)
		if err != nil {
			return err
		}
		k, ok := g.mirror.get(id, g.now())
		if !ok {
			return fmt.Errorf("code %s was minted and is not in the mirror", s.Def.ID)
		}
		if out.Codes[i], err = g.answer(k); err != nil {
			return err
		}
	}
	return writeJSON(w, http.StatusCreated, out)
}

// prepareAll checks every row and makes what is to be stored of it.
func (g *Gateway) prepareAll(b *mintBatch, key string, body []byte) []*stored {
	list := make([]*stored, 0, len(b.rows))
	print := g.fingerprint(key, body)
	for _, row := range b.rows {
		if row.request == nil {
			continue // it is told already
		}
		id, err := g.nextID(key, strconv.Itoa(row.index))
		if err == nil {
			var s *stored
			if s, err = g.prepare(row.request, id, print); err == nil {
				list = append(list, s)
				continue
			}
		}
		b.refuse(row, err)
	}
	return list
}

// createAll stores many definitions, some at once, and says how many of them a
// repeated request had stored before.
func (g *Gateway) createAll(ctx context.Context, list []*stored) (repeated int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var wg sync.WaitGroup
	var again atomic.Int64
	for range min(creators, len(list)) {
		wg.Go(func() {
			for i := range next {
				s, err := g.create(ctx, list[i])
				if err != nil {
					cancel(err)
					return
				}
				if s != list[i] {
					again.Add(1)
				}
				list[i] = s
			}
		})
	}
feed:
	for i := range list {
		select {
		case next <- i:
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	wg.Wait()
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	return int(again.Load()), nil
}

// creators is how many definitions of a batch are stored at a time.
const creators = 32

// mintBatch is a request for many codes while it is read and checked.
type mintBatch struct {
	name string // the template for codes without a name
	seq  int    // {seq} of the first row
	rows []row
	bad  badRows
}

// row is one code of a batch, with its place for whoever has to correct it.
type row struct {
	request *codeRequest // nil: the row is bad
	index   int
	line    int              // of a CSV, from 1; 0: none
	number  func(string) int // a CSV's column by its name, from 1; nil: none
}

// refuse notes that a row is bad.
func (b *mintBatch) refuse(r row, err error) {
	b.rows[r.index].request = nil
	p, ok := errors.AsType[*Problem](err)
	if !ok {
		b.bad.other(err)
		return
	}
	p.Index, p.Line = &r.index, r.line
	if r.number != nil {
		p.Field = rows.NameOf(p.Field)
		p.Column = r.number(p.Field)
	}
	b.bad.add(r.index, p)
}

func (b *mintBatch) readJSON(body []byte) error {
	var q batchRequest
	var err error
	if events.IsBatch(body) {
		err = decode(body, &q.Codes)
	} else {
		err = decode(body, &q)
	}
	if err != nil {
		return err
	}
	if q.Name != nil {
		b.name = *q.Name
	}
	if q.Seq != nil {
		if b.seq = *q.Seq; b.seq < 1 || b.seq > maxSeq {
			return invalid(events.CodeInvalid, "seq", "give a whole number from 1 to %d", maxSeq)
		}
	}
	if err := checkCount(len(q.Codes)); err != nil {
		return err
	}
	b.rows = make([]row, len(q.Codes))
	for i, raw := range q.Codes {
		b.rows[i].index = i
		request, err := parseMint(raw)
		if err != nil {
			b.refuse(b.rows[i], err)
			continue
		}
		b.rows[i].request = request
	}
	return nil
}

func checkCount(n int) error {
	switch {
	case n == 0:
		return invalid(events.CodeMissingField, "codes", "give at least one code")
	case n > maxMint:
		return invalid(events.CodeTooMany, "codes", "there are more than %d codes; at most so many are taken at once: send the others in requests of their own", maxMint)
	}
	return nil
}
