package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/token"
)

// batchRequest is the body of POST /v1/codes/batch when it is an object.
type batchRequest struct {
	Name  *string          `json:"name"` // a template for codes without a name
	Codes []jsontext.Value `json:"codes"`
}

// maxMint is how many codes one request may mint.
const maxMint = 10_000

// tellAtOnce is of how many definitions the log is told at once.
const tellAtOnce = 500

type batchAnswer struct {
	Minted int          `json:"minted"`
	Codes  []codeAnswer `json:"codes"`
}

// mintMany answers POST /v1/codes/batch: all or, when one of them is wrong, none.
func (g *Gateway) mintMany(w http.ResponseWriter, r *http.Request) error {
	params, err := query(r, "name")
	if err != nil {
		return err
	}
	body, mediaType, err := readBody(w, r, g.opts.Limits.BatchBody, "application/json", "text/csv")
	if err != nil {
		return err
	}
	var rows []row
	template := params.Get("name")
	if mediaType == "text/csv" {
		rows, err = readCSV(body)
	} else {
		rows, template, err = readJSON(body, template)
	}
	if err != nil {
		return err
	}
	if err := nameRows(rows, template); err != nil {
		return err
	}
	key, err := idempotencyKey(r)
	if err != nil {
		return err
	}
	list := make([]*stored, len(rows))
	for i, row := range rows {
		id, print, err := g.nextID(key, strconv.Itoa(i), body)
		if err != nil {
			return err
		}
		if list[i], err = g.prepare(row.request, id, print); err != nil {
			return row.blame(err)
		}
	}
	if err := g.createAll(r.Context(), list); err != nil {
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
	out := batchAnswer{Minted: len(list), Codes: make([]codeAnswer, len(list))}
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

// createAll stores many definitions, some at once.
func (g *Gateway) createAll(ctx context.Context, list []*stored) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(32, len(list)) {
		wg.Go(func() {
			for i := range next {
				s, err := g.create(ctx, list[i])
				if err != nil {
					cancel(err)
					return
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
		return context.Cause(ctx)
	}
	return nil
}

// row is one code of a batch, with its place for whoever has to correct it.
type row struct {
	request *codeRequest
	index   int
	line    int // of a CSV, from 1; 0: none
}

// blame adds the row's place to what is wrong with it.
func (r row) blame(err error) error {
	var p *Problem
	if errors.As(err, &p) {
		p.Index, p.Line = &r.index, r.line
		if r.line > 0 {
			p.Field = csvColumn(p.Field)
		}
	}
	return err
}

func readJSON(body []byte, template string) ([]row, string, error) {
	var b batchRequest
	var err error
	if events.IsBatch(body) {
		err = decode(body, &b.Codes)
	} else {
		err = decode(body, &b)
	}
	if err != nil {
		return nil, "", err
	}
	if b.Name != nil {
		template = *b.Name
	}
	if err := checkCount(len(b.Codes)); err != nil {
		return nil, "", err
	}
	rows := make([]row, len(b.Codes))
	for i, raw := range b.Codes {
		rows[i].index = i
		if rows[i].request, err = parseMint(raw); err != nil {
			return nil, "", rows[i].blame(err)
		}
	}
	return rows, template, nil
}

func checkCount(n int) error {
	switch {
	case n == 0:
		return invalid(events.CodeMissingField, "codes", "give at least one code")
	case n > maxMint:
		return invalid(events.CodeTooMany, "codes", "there are %d codes; at most %d are taken at once", n, maxMint)
	}
	return nil
}

// nameRows expands the name templates: {campaign}, {source}, {medium}, {term},
// {content}, {owner}, {profile}, and {seq} or {seq:4}, the row's number from 1.
func nameRows(rows []row, template string) error {
	for i := range rows {
		q := rows[i].request
		name := template
		if q.Name != nil && *q.Name != "" {
			name = *q.Name
		}
		if name == "" {
			continue
		}
		expanded, err := expand(name, q, i+1)
		if err != nil {
			return rows[i].blame(err)
		}
		q.Name = &expanded
	}
	return nil
}

func expand(template string, q *codeRequest, seq int) (string, error) {
	var b strings.Builder
	for rest := template; rest != ""; {
		before, after, ok := strings.Cut(rest, "{")
		b.WriteString(before)
		if !ok {
			break
		}
		field, behind, ok := strings.Cut(after, "}")
		if !ok {
			return "", invalid(events.CodeInvalid, "name", "the template has a { without its }")
		}
		rest = behind
		name, width, _ := strings.Cut(field, ":")
		values := map[string]*string{
			"campaign": q.Campaign, "source": q.Source, "medium": q.Medium, "term": q.Term, "content": q.Content, "owner": q.Owner, "profile": q.Profile,
		}
		v, known := values[name]
		switch {
		case name == "seq":
			n := 0
			if width != "" {
				var err error
				if n, err = strconv.Atoi(width); err != nil || n < 1 || n > 12 {
					return "", invalid(events.CodeInvalid, "name", "{seq:4} takes a number of digits from 1 to 12")
				}
			}
			fmt.Fprintf(&b, "%0*d", n, seq)
		case !known || width != "":
			return "", invalid(events.CodeInvalid, "name", "the template's {%s} is not known: use {campaign}, {source}, {medium}, {term}, {content}, {owner}, {profile} or {seq:4}", clip(field))
		case v != nil:
			b.WriteString(*v)
		}
	}
	return b.String(), nil
}
