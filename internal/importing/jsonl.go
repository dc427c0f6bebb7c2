package importing

import (
	"errors"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/huoma/huoma/internal/events"
)

// jsonPath finds the value of a dotted path, such as utm.source, while an object is read.
type jsonPath struct {
	slots map[string]int // path → place in the values
}

var errNotObject = bad("the line is no JSON object")

// read fills values (by the reader's slots) from one JSON object. Numbers keep their digits, true and false are words, null is nothing;
// an array or object that a path names is its JSON.
func (p *jsonPath) read(text []byte, values []string) *Bad {
	clear(values)
	if events.TooDeep(text) {
		return bad("the JSON is nested deeper than %d", events.MaxDepth)
	}
	d := jsontext.NewDecoder(strings.NewReader(string(text)))
	if d.PeekKind() != '{' {
		return errNotObject
	}
	if err := p.object(d, "", values); err != nil {
		var syntax *jsontext.SyntacticError
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return bad("a field stands twice in the JSON object")
		}
		if errors.As(err, &syntax) {
			return bad("the JSON ends early or has a character out of place at byte %d", syntax.ByteOffset)
		}
		return bad("the JSON cannot be read")
	}
	if _, err := d.ReadToken(); err == nil {
		return bad("there is something behind the JSON object")
	} else if d.InputOffset() < int64(len(strings.TrimRight(string(text), " \t\r\n"))) {
		return bad("there is something behind the JSON object")
	}
	return nil
}

func (p *jsonPath) object(d *jsontext.Decoder, under string, values []string) error {
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		path := under + name.String()
		slot, wanted := p.slots[path]
		if d.PeekKind() == '{' && !wanted {
			if err := p.object(d, path+".", values); err != nil {
				return err
			}
			continue
		}
		v, err := d.ReadValue()
		if err != nil {
			return err
		}
		if !wanted {
			continue
		}
		switch v.Kind() {
		case 'n':
		case '"':
			s, err := jsontext.AppendUnquote(nil, v)
			if err != nil {
				return err
			}
			values[slot] = string(s)
		default:
			values[slot] = string(v)
		}
	}
	_, err := d.ReadToken()
	return err
}
