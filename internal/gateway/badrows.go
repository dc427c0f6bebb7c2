package gateway

import "fmt"

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
}

// badRows collects what is wrong with a batch.
type badRows struct {
	first *Problem
	list  []rowProblem
	total int
	err   error // what is no row's fault
}

func (b *badRows) add(p *Problem) {
	if b.total++; b.first == nil {
		b.first = p
	}
	if len(b.list) < maxBadRows {
		b.list = append(b.list, rowProblem{p.Index, p.Line, p.Column, p.Field, p.Code, p.Detail})
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
	case b.first == nil:
		return nil
	}
	p := *b.first
	p.Rows, p.Bad = b.list, b.total
	if b.total > 1 {
		p.Detail += fmt.Sprintf(" (and %d more: see rows)", b.total-1)
	}
	return &p
}
