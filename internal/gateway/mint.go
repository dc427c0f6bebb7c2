package gateway

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/token"
)

// mintOne answers POST /v1/codes.
func (g *Gateway) mintOne(w http.ResponseWriter, r *http.Request) error {
	body, _, err := readBody(w, r, g.opts.Limits.Body, "application/json")
	if err != nil {
		return err
	}
	q, err := parseMint(body)
	if err != nil {
		return err
	}
	key, err := idempotencyKey(r)
	if err != nil {
		return err
	}
	id, print, err := g.nextID(key, "", body)
	if err != nil {
		return err
	}
	s, err := g.prepare(q, id, print)
	if err != nil {
		return err
	}
	if s, err = g.create(r.Context(), s); err != nil {
		return err
	}
	if err := g.tellUnheard(r.Context(), s); err != nil {
		return err
	}
	k, ok := g.mirror.get(id, g.now())
	if !ok {
		return fmt.Errorf("code %s was minted and is not in the mirror", s.Def.ID)
	}
	return g.writeCode(w, http.StatusCreated, k)
}

// parseMint reads the body of a mint.
func parseMint(body []byte) (*codeRequest, error) {
	q := new(codeRequest)
	if err := decode(body, q); err != nil {
		return nil, err
	}
	if q.Targets != nil {
		for i, t := range *q.Targets {
			if t.N != nil || t.Closed != nil {
				return nil, invalid(events.CodeUnknownField, fmt.Sprintf("targets[%d]", i), "n and closed are for changing a code: a mint numbers targets in their order")
			}
		}
	}
	return q, nil
}

// idempotencyKey returns the request's, "" for none.
func idempotencyKey(r *http.Request) (string, error) {
	key := r.Header.Get("Idempotency-Key")
	if len(key) > events.MaxName || strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c > '~' }) {
		return "", invalid(events.CodeInvalid, "Idempotency-Key", "use at most %d characters of ASCII", events.MaxName)
	}
	return key, nil
}

// nextID is the id of a new code: with an idempotency key the same one
// whenever it is repeated, together with the request's fingerprint.
func (g *Gateway) nextID(key, part string, body []byte) (id token.CodeID, print string, err error) {
	if key == "" {
		id, err = token.NewCodeID(rand.Reader)
		return id, "", err
	}
	canonical := jsontext.Value(append([]byte(nil), body...))
	if err := canonical.Canonicalize(); err != nil {
		canonical = body // not JSON: a CSV
	}
	m := hmac.New(sha256.New, g.printKey)
	m.Write(canonical)
	if part != "" {
		key += "\x00" + part
	}
	return token.DeriveCodeID(g.idKey, key), hex.EncodeToString(m.Sum(nil)[:16]), nil
}

// prepare checks a mint and makes what is to be stored.
func (g *Gateway) prepare(q *codeRequest, id token.CodeID, print string) (*stored, error) {
	def, err := q.newDefinition(policy{g.opts.AllowPrivateTargets, g.opts.RegisteredDomains}, id.String(), g.now())
	if err != nil {
		return nil, err
	}
	s := g.newStored(events.TypeCodeMinted, def)
	s.Request = print
	return s, s.check()
}

// check refuses a definition the log would not take.
func (s *stored) check() error {
	if err := s.Def.Validate(); err != nil {
		if fe, ok := errors.AsType[*code.FieldError](err); ok {
			return invalid(events.CodeInvalid, fe.Field, "%s", fe.Reason)
		}
		return err
	}
	b, err := s.event().Marshal()
	if err != nil {
		return err
	}
	if len(b) > maxDefinition {
		return invalid(events.CodeTooLarge, "targets", "the definition has %d bytes, at most %d are allowed: use https addresses for pictures", len(b), maxDefinition)
	}
	return nil
}

// create stores a new definition. When a repeated request made it before,
// that one is returned.
func (g *Gateway) create(ctx context.Context, s *stored) (*stored, error) {
	b, err := s.marshal()
	if err != nil {
		return nil, err
	}
	_, err = g.opts.Backend.CreateDefinition(ctx, s.Def.ID, b)
	if errors.Is(err, events.ErrExists) {
		was, _, err := g.load(ctx, s.Def.ID)
		switch {
		case err != nil:
			return nil, g.unavailable(err)
		case was == nil || s.Request == "":
			return nil, problem(http.StatusConflict, "conflict", "the drawn id is taken: send it again")
		case was.Request != s.Request:
			return nil, problem(http.StatusUnprocessableEntity, "idempotency_key_reused", "the key was used with another body: use a new one").at("Idempotency-Key")
		}
		return was, g.take(was)
	}
	if err != nil {
		return nil, g.unavailable(err)
	}
	return s, g.take(s)
}

// unavailable is for a failed call to the bucket: logged here, not told.
func (g *Gateway) unavailable(err error) error {
	g.log.Error("the definitions cannot be reached", "err", err)
	return fmt.Errorf("%w: %w", errNotStored, err)
}

// batchRequest is the body of POST /v1/codes/batch when it is an object.
type batchRequest struct {
	Name  *string          `json:"name"` // a template for codes without a name
	Codes []jsontext.Value `json:"codes"`
}

// maxMint is how many codes one request may mint.
const maxMint = 10_000

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
	for from := 0; from < len(list); from += 500 {
		to := min(from+500, len(list))
		if err := g.tellUnheard(r.Context(), list[from:to]...); err != nil {
			return err
		}
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

// nulls returns the fields of a JSON object which are null: a change resets
// those to their defaults.
func nulls(body []byte) ([]string, error) {
	var fields map[string]jsontext.Value
	if err := jsonProblem(json.Unmarshal(body, &fields)); err != nil {
		return nil, err
	}
	var out []string
	for name, v := range fields {
		if v.Kind() == 'n' {
			out = append(out, name)
		}
	}
	return out, nil
}

// profileOfCode is the profile of a code there is already.
func profileOfCode(def *code.Definition) code.Profile {
	p, ok := code.ProfileByName(def.Profile)
	if !ok { // a profile of a later version: nothing is known of it but what the code says
		p = code.Profile{Name: def.Profile, Longest: def.Longest, Countdown: def.Countdown}
	}
	return p
}
