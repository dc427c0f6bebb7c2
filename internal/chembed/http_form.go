package chembed

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"strconv"
	"strings"
)

// form reads a multipart form: the query, its parameters, and external tables, which it fills in the session. The returned function
// drops them; it may be called whatever the error.
func (req *httpRequest) form(sess *session) (drop func(), err error) {
	var drops []func()
	drop = func() {
		for _, d := range drops {
			d()
		}
	}
	left := int64(maxQueryLength) // of all fields together
	for parts := multipart.NewReader(req.body, req.boundary); ; {
		part, err := parts.NextRawPart()
		switch {
		case err == io.EOF:
			return drop, nil
		case err != nil:
			return drop, formError(err)
		}
		_, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
		name := params["name"]
		if err != nil || name == "" {
			return drop, codeIncorrectData.errorf("a part of the form has no name")
		}
		if _, file := params["filename"]; file {
			d, err := req.table(sess, name, part)
			drops = append(drops, d)
			if err != nil {
				return drop, err
			}
			continue
		}
		value, err := io.ReadAll(io.LimitReader(part, left+1))
		if err != nil {
			return drop, formError(err)
		}
		if left -= int64(len(value)); left < 0 {
			return drop, codeQueryTooLarge.errorf("a form with fields of more than %d bytes: send data as files, each a table", maxQueryLength)
		}
		p, isParam := strings.CutPrefix(name, "param_")
		switch {
		case name == "query":
			req.query += string(value)
		case isParam:
			req.params = append(req.params, param{p, string(value)})
		default:
			req.tables.Set(name, string(value)) // of a table that follows, or of nothing
		}
	}
}

// table makes one external table of a form's file. drop may be called whatever the error.
func (req *httpRequest) table(sess *session, name string, data io.Reader) (drop func(), err error) {
	cols, err := tableColumns(name, req.tables.Get(name+"_structure"), req.tables.Get(name+"_types"))
	if err != nil {
		return func() {}, err
	}
	format := req.tables.Get(name + "_format")
	if format == "" {
		format = "TabSeparated"
	}
	src := &errorKeeper{r: data}
	drop, err = sess.externalTable(name, cols, format, src)
	if src.err != nil && src.err != io.EOF {
		err = formError(src.err)
	}
	return drop, err
}

// tableColumns reads what a request says of an external table's columns: names and types, or types alone.
func tableColumns(table, structure, types string) ([]column, error) {
	text, named := structure, true
	if strings.TrimSpace(text) == "" {
		text, named = types, false
	}
	if strings.TrimSpace(text) == "" {
		return nil, codeBadRequest.errorf("neither structure nor types have been provided for external table %s: use the parameters %s_structure or %s_types", clip(table), clipPlain(table), clipPlain(table))
	}
	_, fields, err := splitType("Tuple(" + text + ")")
	if err != nil {
		return nil, codeBadRequest.errorf("the columns of the external table %s cannot be read: %s", clip(table), clip(text))
	}
	var cols []column
	for i, f := range fields {
		c := column{name: "_" + strconv.Itoa(i+1), typ: f}
		if named {
			name, typ := splitField(f)
			c = column{name: unquoteName(name), typ: typ}
		}
		if c.name == "" || c.typ == "" {
			return nil, codeBadRequest.errorf("the columns of the external table %s are not names and types: %s", clip(table), clip(text))
		}
		cols = append(cols, c)
	}
	return cols, nil
}

// formError gives a broken form its name, unless its sender has gone.
func formError(err error) error {
	var ee *engineError
	switch {
	case errors.As(err, &ee):
		return ee
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return codeCannotReadAllData.errorf("the form ends before its last boundary")
	}
	return codeIncorrectData.errorf("the form cannot be read: %s", err)
}
