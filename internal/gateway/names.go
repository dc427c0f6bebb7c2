package gateway

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/huoma/huoma/internal/events"
)

// expandNames expands the name templates: {campaign}, {source}, {medium}, {term},
// {content}, {owner}, {profile}, and {seq} or {seq:4}, the row's number from b.seq.
func (b *mintBatch) expandNames() {
	for _, row := range b.rows {
		q := row.request
		if q == nil {
			continue
		}
		name := b.name
		if q.Name != nil && *q.Name != "" {
			name = *q.Name
		}
		if name == "" {
			continue
		}
		expanded, err := expand(name, q, b.seq+row.index)
		if err != nil {
			b.refuse(row, err)
			continue
		}
		q.Name = &expanded
	}
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
