package importing

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// A Format is how the records of a file are written.
type Format string

// The formats.
const (
	Combined Format = "combined" // a web server's log: combined or common log format
	CSV      Format = "csv"      // with a head row
	JSONL    Format = "jsonl"    // one JSON object a line
)

// Formats are all of them.
var Formats = []Format{Combined, CSV, JSONL}

// defaultSource is the source of imported events, by which they are known together with their id.
const defaultSource = "huoma/import"

// A CodeKind is what a record names a code by.
type CodeKind string

// The kinds.
const (
	AnyCode   CodeKind = "any"   // an id, else a token, else a name
	CodeID    CodeKind = "id"    // the code's id
	CodeName  CodeKind = "name"  // the name its owner gave
	CodeToken CodeKind = "token" // what a printed picture carries
)

// attribute is a part of an event that a mapping fills.
type attribute string

const (
	atType        attribute = "type"
	atID          attribute = "id"
	atVisitor     attribute = "visitor"
	atNetwork     attribute = "network"
	atUserAgent   attribute = "user_agent"
	atReferrer    attribute = "referrer"
	atRefHost     attribute = "referrer_host"
	atCountry     attribute = "country"
	atProvince    attribute = "province"
	atCity        attribute = "city"
	atDevice      attribute = "device_model"
	atOS          attribute = "os"
	atApp         attribute = "app"
	atVariant     attribute = "variant"
	atTracking    attribute = "tracking"
	atTarget      attribute = "target"
	atClick       attribute = "click_id"
	atName        attribute = "name"
	atValue       attribute = "value"
	atCurrency    attribute = "currency"
	atCount       attribute = "count"
	atUTMSource   attribute = "utm_source"
	atUTMMedium   attribute = "utm_medium"
	atUTMCampaign attribute = "utm_campaign"
	atUTMTerm     attribute = "utm_term"
	atUTMContent  attribute = "utm_content"
)

var (
	plainAttributes = []attribute{
		atType, atID, atVisitor, atNetwork, atUserAgent, atReferrer, atRefHost, atCountry, atProvince, atCity, atDevice, atOS, atApp, atVariant,
		atTracking, atTarget, atClick, atName, atValue, atCurrency, atCount,
	}
	utmAttributes = []attribute{atUTMSource, atUTMMedium, atUTMCampaign, atUTMTerm, atUTMContent}
)

// A Mapping says how a record becomes an event. It is made by ParseMapping or DefaultMapping and is not changed afterwards.
type Mapping struct {
	Format Format
	Source string // of the events

	fields     []string // the record's fields that are looked at, by slot
	optional   bool     // fields may be absent from a CSV file, but for those of code and time
	comma      byte
	code       value
	codeIs     CodeKind
	time       timeValue
	attributes []assigned
	filter     []condition
}

type assigned struct {
	to   attribute
	from value
}

// value says where a value comes from: the first of the list that gives something.
type value struct{ list []one }

type one struct {
	slots    []int // joined by a space
	constant string
	query    string // of a query string, this parameter
	match    *regexp.Regexp
	table    map[string]string
	fallback string
}

// condition is what a record must fulfil to be imported.
type condition struct {
	slot            int
	in, notIn       []string
	match, notMatch *regexp.Regexp
	reason          string
}

// slot is the place of a field's value among those of a record.
func (m *Mapping) slot(name string) (int, error) {
	if i := slices.Index(m.fields, name); i >= 0 {
		return i, nil
	}
	if m.Format == Combined && !slices.Contains(logFields, name) {
		return 0, fmt.Errorf("a log has no field %q: the fields are %s", clip(name), strings.Join(logFields, ", "))
	}
	m.fields = append(m.fields, name)
	return len(m.fields) - 1, nil
}

// get evaluates a value for a record.
func (v *value) get(values []string) string {
	for i := range v.list {
		if s := v.list[i].get(values); s != "" {
			return s
		}
	}
	return ""
}

func (o *one) get(values []string) string {
	s := o.constant
	switch len(o.slots) {
	case 0:
	case 1:
		s = values[o.slots[0]]
	default:
		var b strings.Builder
		for _, slot := range o.slots {
			if part := values[slot]; part != "" && part != unnamedAgent {
				if b.Len() > 0 {
					b.WriteByte(' ')
				}
				b.WriteString(part)
			}
		}
		s = b.String()
	}
	if o.query != "" {
		s = parameter(s, o.query)
	}
	if o.match != nil && s != "" {
		at := o.match.FindStringSubmatchIndex(s)
		switch {
		case at == nil:
			s = ""
		case len(at) > 2 && at[2] >= 0:
			s = s[at[2]:at[3]]
		case len(at) > 2:
			s = ""
		default:
			s = s[at[0]:at[1]]
		}
	}
	if o.table != nil {
		s = o.table[s]
	}
	if s == "" {
		s = o.fallback
	}
	return s
}

// parameter is the first value of a parameter in a query string, or in an address that has one.
func parameter(s, name string) string {
	if at := strings.IndexByte(s, '?'); at >= 0 {
		s = s[at+1:]
	}
	if !strings.Contains(s, name) && !strings.ContainsAny(s, "%+") {
		return ""
	}
	for pair := range strings.SplitSeq(s, "&") {
		k, v, _ := strings.Cut(pair, "=")
		if k != name {
			if u, err := url.QueryUnescape(k); err != nil || u != name {
				continue
			}
		}
		u, err := url.QueryUnescape(v)
		if err != nil {
			return ""
		}
		return u
	}
	return ""
}

// holds reports whether a record fulfils the condition.
func (c *condition) holds(values []string) bool {
	s := values[c.slot]
	switch {
	case len(c.in) > 0 && !slices.Contains(c.in, s):
	case slices.Contains(c.notIn, s):
	case c.match != nil && !c.match.MatchString(s):
	case c.notMatch != nil && c.notMatch.MatchString(s):
	default:
		return true
	}
	return false
}

// CombinedMapping is the mapping file of what is made of a web server's log without a mapping file.
const CombinedMapping = `
source: huoma/import/log
filter:
  - {field: path, match: '^/[sS]/[A-Za-z0-9.]+/?$', reason: path}
  - {field: method, in: [GET], reason: method}
  - {field: status, in: [200, 301, 302, 303, 307, 308], reason: status}
code: {field: path, match: '^/[sS]/([A-Za-z0-9.]+)', is: token}
time: {field: time, layout: common}
visitor: {fields: [address, user_agent]}
network: address
user_agent: user_agent
referrer: referrer
utm:
  source: {field: query, query: utm_source}
  medium: {field: query, query: utm_medium}
  campaign: {field: query, query: utm_campaign}
  term: {field: query, query: utm_term}
  content: {field: query, query: utm_content}
`

// DefaultMapping is the mapping of a format without a mapping file: of a log, requests for our own pictures; of CSV and JSON, columns
// named like the mapping's keys, of which code and time are needed.
func DefaultMapping(format Format) *Mapping {
	text := CombinedMapping
	if format != Combined {
		var b strings.Builder
		b.WriteString("code: code\ntime: {field: time, layout: rfc3339}\n")
		for _, a := range plainAttributes {
			fmt.Fprintf(&b, "%s: %s\n", a, a)
		}
		b.WriteString("utm:\n")
		for _, a := range utmAttributes {
			fmt.Fprintf(&b, "  %s: %s\n", strings.TrimPrefix(string(a), "utm_"), a)
		}
		text = b.String()
	}
	m, err := ParseMapping(strings.NewReader(text), format)
	if err != nil {
		panic("the built-in mapping of " + string(format) + ": " + err.Error()) // a test reads all of them
	}
	m.optional = format != Combined
	return m
}
