package rows

import (
	"strconv"
	"strings"
)

// MaxTargets is how many targets a row may have.
const MaxTargets = 64

// A Column is one of the head.
type Column struct {
	Name   string // as the documentation has it: name, url, url_2
	Field  string // of a mint, or url, picture or capacity of a target
	Target int    // whose target's it is, from 0; -1: none's
}

// Fields are the columns that are not a target's.
var Fields = []string{
	"name", "profile", "campaign", "source", "medium", "term", "content", "owner", "verified", "validity", "renewal_every", "max_scans", "warn_percent", "dedupe",
}

// columnOf reads a name of the head, whatever its case. A target's column may be written url, target or target_url, with 2, _2 and so on for
// the others; picture and capacity alike.
func columnOf(name string) (Column, bool) {
	name = strings.ToLower(strings.TrimSpace(name))
	for _, f := range Fields {
		if name == f {
			return Column{Name: f, Field: f, Target: -1}, true
		}
	}
	stem := strings.TrimRight(name, "0123456789")
	n := 1
	if digits := name[len(stem):]; digits != "" {
		var err error
		if n, err = strconv.Atoi(digits); err != nil || digits[0] == '0' || n < 1 || n > MaxTargets {
			return Column{}, false
		}
		stem = strings.TrimSuffix(stem, "_")
	}
	field := strings.TrimPrefix(stem, "target_")
	if field == "target" {
		field = "url"
	}
	if field != "url" && field != "picture" && field != "capacity" {
		return Column{}, false
	}
	return Column{Name: targetName(field, n-1), Field: field, Target: n - 1}, true
}

func targetName(field string, target int) string {
	if target == 0 {
		return field
	}
	return field + "_" + strconv.Itoa(target+1)
}

// NameOf is the column of a mint's field as a gateway writes it: targets[1].url is url_2. What is no target's is named as it is.
func NameOf(field string) string {
	rest, ok := strings.CutPrefix(field, "targets[")
	if !ok {
		if field == "targets" {
			return "url"
		}
		return field
	}
	number, name, _ := strings.Cut(rest, "]")
	name = strings.TrimPrefix(name, ".")
	if name == "" {
		name = "url"
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 {
		n = 0
	}
	return targetName(name, n)
}
