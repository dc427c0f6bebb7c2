package gateway

import (
	"cmp"
	"fmt"
	"slices"
)

// maxBadRows is how many bad rows of a batch are told.
const maxBadRows = 100

// rowProblem is what is wrong with one row of a batch.
type rowProblem struct {
	Index  *int   `json:"index,omitempty"`
	Line   int    `json:"line,omitzero"`
	Column int    `json:"column,omitzero"`
	Field  string `json:"field,omitzero"`
	Code   string `json:"code"`
	Detail string `json:"detail"`

	problem *Problem
	at      int // its row
}

// badRows collects what is wrong with a batch.
type badRows struct {
	list  []rowProblem
	total int
	err   error // what is no row's fault
}

// add notes what is wrong with the row at a place, from 0.
func (b *badRows) add(at int, p *Problem) {
	b.total++
	if len(b.list) < maxBadRows {
		b.list = append(b.list, rowProblem{p.Index, p.Line, p.Column, p.Field, p.Code, p.Detail, p, at})
	}
}

func (b *badRows) other(err error) {
	if b.err == nil {
		b.err = err
	}
}

// problem is nil when every row is good. It says of the first bad row what it
// would say if it were the only one.
func (b *badRows) problem() error {
	switch {
	case b.err != nil:
		return b.err
	case b.total == 0:
		return nil
	}
	slices.SortStableFunc(b.list, func(x, y rowProblem) int { return cmp.Compare(x.at, y.at) }) // names are looked at after all rows, and so on
	p := *b.list[0].problem
	p.Rows, p.Bad = b.list, b.total
	if b.total > 1 {
		p.Detail += fmt.Sprintf(" (and %d more: see rows)", b.total-1)
	}
	return &p
}
