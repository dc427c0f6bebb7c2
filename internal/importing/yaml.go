package importing

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxMapping bounds a mapping file, in bytes.
const maxMapping = 1 << 20

// A MappingError is what is wrong with a mapping file, and where.
type MappingError struct {
	Line   int // from 1; 0: of the file as a whole
	Reason string
}

func (e *MappingError) Error() string {
	if e.Line == 0 {
		return e.Reason
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Reason)
}

func wrong(n *yaml.Node, format string, args ...any) error {
	return &MappingError{n.Line, fmt.Sprintf(format, args...)}
}

// ParseMapping reads a mapping file. It is strict: a key it does not know, or one that stands twice, is an error. The error is a
// *MappingError.
func ParseMapping(r io.Reader, format Format) (*Mapping, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxMapping+1))
	if err != nil {
		return nil, &MappingError{Reason: fmt.Sprintf("it cannot be read: %v", err)}
	}
	if len(b) > maxMapping {
		return nil, &MappingError{Reason: fmt.Sprintf("it is larger than %d MiB", maxMapping>>20)}
	}
	d := yaml.NewDecoder(strings.NewReader(string(b)))
	var doc yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, &MappingError{Reason: "it is empty: say at least where the code and the time are"}
	case err != nil:
		return nil, yamlError(err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, &MappingError{Reason: "it has more than one document: keep one"}
	}
	m := &Mapping{Format: format, Source: defaultSource}
	if err := m.parse(doc.Content[0]); err != nil {
		return nil, err
	}
	return m, nil
}

// yamlError takes the line out of the library's words.
func yamlError(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	var n int
	if _, serr := fmt.Sscanf(text, "line %d: ", &n); serr == nil {
		_, text, _ = strings.Cut(text, ": ")
	}
	return &MappingError{n, "this is no YAML: " + clip(strings.Join(strings.Fields(text), " "))}
}

// clip bounds what is quoted.
func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}

// keyed calls the function of each key of a mapping node.
func keyed(n *yaml.Node, where string, known map[string]func(*yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return wrong(n, "%s is written as keys with values", where)
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			return wrong(k, "a key of %s is a word", where)
		}
		read, ok := known[k.Value]
		if !ok {
			names := make([]string, 0, len(known))
			for name := range known {
				names = append(names, name)
			}
			slices.Sort(names)
			return wrong(k, "%s has no key %q: the keys are %s", where, clip(k.Value), strings.Join(names, ", "))
		}
		if seen[k.Value] {
			return wrong(k, "%s has the key %q twice", where, k.Value)
		}
		seen[k.Value] = true
		if v.Kind == yaml.AliasNode || v.Anchor != "" {
			return wrong(v, "anchors are not read: write the value out")
		}
		if err := read(v); err != nil {
			return err
		}
	}
	return nil
}

// word reads a scalar into to.
func word(what string, to *string) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			return wrong(n, "%s is a word", what)
		}
		*to = n.Value
		return nil
	}
}

func words(what string, to *[]string) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
			return wrong(n, "%s is a list of words, such as [a, b]", what)
		}
		for _, item := range n.Content {
			var w string
			if err := word("an item of "+what, &w)(item); err != nil {
				return err
			}
			*to = append(*to, w)
		}
		return nil
	}
}

func pattern(what string, to **regexp.Regexp) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		var w string
		if err := word(what, &w)(n); err != nil {
			return err
		}
		re, err := regexp.Compile(w)
		if err != nil {
			return wrong(n, "%s is no regular expression of Go (RE2): %v", what, err)
		}
		*to = re
		return nil
	}
}

// parse reads the whole file.
func (m *Mapping) parse(n *yaml.Node) error {
	known := map[string]func(*yaml.Node) error{
		"source": word("source", &m.Source),
		"format": func(n *yaml.Node) error {
			var w string
			if err := word("format", &w)(n); err != nil {
				return err
			}
			if Format(w) != m.Format {
				return wrong(n, "this mapping is for %s files, and --format says %s", clip(w), m.Format)
			}
			return nil
		},
		"separator": func(n *yaml.Node) error {
			var w string
			if err := word("separator", &w)(n); err != nil {
				return err
			}
			if m.Format != CSV || len(w) != 1 || w == "\"" || w == "\n" || w == "\r" {
				return wrong(n, "separator is one character between the cells of a CSV file, such as ; or \"\\t\"")
			}
			m.comma = w[0]
			return nil
		},
		"code": func(n *yaml.Node) error { return m.parseCode(n) },
		"time": func(n *yaml.Node) error { return m.parseTime(n) },
		"utm": func(n *yaml.Node) error {
			inner := map[string]func(*yaml.Node) error{}
			for _, a := range utmAttributes {
				inner[strings.TrimPrefix(string(a), "utm_")] = func(n *yaml.Node) error { return m.parseAttribute(a, n) }
			}
			return keyed(n, "utm", inner)
		},
		"filter": func(n *yaml.Node) error { return m.parseFilter(n) },
	}
	for _, a := range plainAttributes {
		known[string(a)] = func(n *yaml.Node) error { return m.parseAttribute(a, n) }
	}
	if err := keyed(n, "the mapping", known); err != nil {
		return err
	}
	switch {
	case len(m.code.list) == 0:
		return wrong(n, "code is missing: say which field names the code")
	case len(m.time.from.list) == 0:
		return wrong(n, "time is missing: say which field has the time")
	case m.Source == "" || len(m.Source) > 200 || strings.ContainsFunc(m.Source, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return wrong(n, "source is a name of 1 to 200 characters")
	case strings.HasPrefix(m.Source, "huoma/gateway/"):
		return wrong(n, "sources under huoma/gateway/ are the gateway's own: choose another")
	}
	return nil
}

func (m *Mapping) parseAttribute(a attribute, n *yaml.Node) error {
	v, err := m.parseValue(n, string(a), nil)
	if err != nil {
		return err
	}
	m.attributes = append(m.attributes, assigned{a, v})
	return nil
}

// parseValue reads where a value comes from: the name of a field, keys, or a list of such, of which the first that gives something counts.
// extra are keys of this place alone.
func (m *Mapping) parseValue(n *yaml.Node, where string, extra map[string]func(*yaml.Node) error) (value, error) {
	if n.Kind == yaml.SequenceNode {
		var all value
		for _, item := range n.Content {
			if item.Kind == yaml.SequenceNode {
				return value{}, wrong(item, "%s is a list within a list", where)
			}
			v, err := m.parseValue(item, where, extra)
			if err != nil {
				return value{}, err
			}
			all.list = append(all.list, v.list...)
		}
		if len(all.list) == 0 {
			return value{}, wrong(n, "%s is an empty list", where)
		}
		return all, nil
	}
	var s one
	var name, constant, fallback string
	var names []string
	var hasConstant bool
	if n.Kind == yaml.ScalarNode {
		if err := word(where, &name)(n); err != nil {
			return value{}, err
		}
	} else {
		known := map[string]func(*yaml.Node) error{
			"field":  word("field", &name),
			"fields": words("fields", &names),
			"value": func(n *yaml.Node) error {
				hasConstant = true
				return word("value", &constant)(n)
			},
			"match":   pattern("match", &s.match),
			"query":   word("query", &s.query),
			"default": word("default", &fallback),
			"table": func(n *yaml.Node) error {
				if n.Kind != yaml.MappingNode {
					return wrong(n, "table is written as old: new, one a line")
				}
				s.table = make(map[string]string, len(n.Content)/2)
				for i := 0; i+1 < len(n.Content); i += 2 {
					var to string
					k := n.Content[i]
					if k.Kind != yaml.ScalarNode {
						return wrong(k, "an entry of table is old: new")
					}
					if _, twice := s.table[k.Value]; twice {
						return wrong(k, "table has %q twice", clip(k.Value))
					}
					if err := word("an entry of table", &to)(n.Content[i+1]); err != nil {
						return err
					}
					s.table[k.Value] = to
				}
				return nil
			},
		}
		for k, f := range extra {
			known[k] = f
		}
		if err := keyed(n, where, known); err != nil {
			return value{}, err
		}
	}
	given := 0
	for _, has := range []bool{name != "", len(names) > 0, hasConstant} {
		if has {
			given++
		}
	}
	if given != 1 {
		return value{}, wrong(n, "%s says where it is from with one of field, fields and value", where)
	}
	if name != "" {
		names = []string{name}
	}
	for _, f := range names {
		slot, err := m.slot(f)
		if err != nil {
			return value{}, wrong(n, "%s: %v", where, err)
		}
		s.slots = append(s.slots, slot)
	}
	s.constant, s.fallback = constant, fallback
	return value{list: []one{s}}, nil
}

func (m *Mapping) parseCode(n *yaml.Node) error {
	is := AnyCode
	v, err := m.parseValue(n, "code", map[string]func(*yaml.Node) error{"is": func(n *yaml.Node) error {
		var w string
		if err := word("is", &w)(n); err != nil {
			return err
		}
		is = CodeKind(w)
		if !slices.Contains([]CodeKind{AnyCode, CodeID, CodeName, CodeToken}, is) {
			return wrong(n, "is says what the value of code is: id, name, token or any")
		}
		return nil
	}})
	m.code, m.codeIs = v, is
	return err
}

func moment(what string, to *time.Time) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		var w string
		if err := word(what, &w)(n); err != nil {
			return err
		}
		at, err := time.Parse(time.RFC3339Nano, w)
		if err != nil {
			return wrong(n, "%s is a time in RFC 3339 with a zone, such as 2026-01-31T00:00:00+08:00", what)
		}
		*to = at
		return nil
	}
}

func (m *Mapping) parseTime(n *yaml.Node) error {
	layout, zone := "rfc3339", ""
	at := n
	v, err := m.parseValue(n, "time", map[string]func(*yaml.Node) error{
		"layout": func(n *yaml.Node) error { at = n; return word("layout", &layout)(n) },
		"zone":   func(n *yaml.Node) error { at = n; return word("zone", &zone)(n) },
		"since":  moment("since", &m.time.since),
		"until":  moment("until", &m.time.until),
	})
	if err != nil {
		return err
	}
	m.time.from = v
	if zone != "" {
		if m.time.zone, err = time.LoadLocation(zone); err != nil || zone == "Local" {
			return wrong(at, "there is no time zone %q: write one such as Asia/Shanghai or UTC", clip(zone))
		}
	}
	if reason := m.time.setLayout(layout); reason != "" {
		return wrong(at, "%s", reason)
	}
	return nil
}

func (m *Mapping) parseFilter(n *yaml.Node) error {
	if n.Kind != yaml.SequenceNode {
		return wrong(n, "filter is a list of conditions, each such as {field: status, in: [200, 302]}")
	}
	for _, item := range n.Content {
		var name, reason string
		var c condition
		err := keyed(item, "a condition of filter", map[string]func(*yaml.Node) error{
			"field": word("field", &name), "in": words("in", &c.in), "not_in": words("not_in", &c.notIn),
			"match": pattern("match", &c.match), "not_match": pattern("not_match", &c.notMatch), "reason": word("reason", &reason),
		})
		if err != nil {
			return err
		}
		if name == "" || len(c.in)+len(c.notIn) == 0 && c.match == nil && c.notMatch == nil {
			return wrong(item, "a condition of filter names a field and has one of in, not_in, match and not_match")
		}
		if c.slot, err = m.slot(name); err != nil {
			return wrong(item, "filter: %v", err)
		}
		c.reason = reason
		if c.reason == "" {
			c.reason = name
		}
		m.filter = append(m.filter, c)
	}
	return nil
}
