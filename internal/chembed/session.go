package chembed

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// killEvery is how often a cancelled query is asked to stop until it does: it may not have been registered yet when it is
// asked first.
const killEvery = 20 * time.Millisecond

// setting is one setting of a query, as its client sent it.
type setting struct {
	name, value string
	important   bool // an unknown name is an error; else it is left out
	custom      bool // of the client's own making: the engine need not know it
}

// session is one client's engine connection: current database, temporary tables and settings are its own. One query runs
// on it at a time; only kill may be called meanwhile.
type session struct {
	eng  *engine
	conn *engineConn
	id   string // in log_comment, by which the running query is found and killed

	extremes bool              // SET by the client: every result has them
	database string            // the current one
	applied  map[string]string // settings of the last query which are still in force
	original map[string]string // what they were before, as SQL; "" for a name the engine does not know
}

// openSession opens a session whose current database is the given one, or `default` if that is empty.
func openSession(eng *engine, database string) (*session, error) {
	s := &session{eng: eng, id: rand.Text()}
	if err := s.open(database); err != nil {
		return nil, err
	}
	return s, nil
}

// open gives s an engine connection with nothing on it but the current database.
func (s *session) open(database string) (err error) {
	if s.conn, err = s.eng.connect(); err != nil {
		return err
	}
	s.applied, s.original = map[string]string{}, map[string]string{}
	s.database = database
	if err = s.mark(); err == nil && database != "" && database != "default" {
		err = s.exec("USE " + quoteName(database))
	}
	if err != nil {
		s.close()
	}
	return err
}

// mark makes the session's queries findable.
func (s *session) mark() error { return s.exec("SET " + markSetting + " = " + quote(s.id)) }

// markSetting holds the session's id. It has no meaning for the engine, and a client's value for it is not taken.
const markSetting = "log_comment"

func (s *session) close() { s.conn.close() }

func (s *session) exec(sql string) error {
	_, _, err := s.conn.query(sql, "TabSeparated")
	return err
}

// apply brings a query's settings into force and those of the query before out of it. Settings which a client made with
// SET stay, as they are the session's own.
func (s *session) apply(settings []setting) error {
	wanted := make(map[string]string, len(settings))
	var custom []string
	for _, st := range settings {
		switch {
		case st.custom:
			custom = append(custom, quoteName(st.name)+" = "+quote(st.value))
		case typesInBinary[st.name] && st.value != "0" && st.value != "false":
			return codeSupportDisabled.errorf("the embedded server writes and reads the types of Native columns as texts only: leave out %s", st.name)
		case st.name != markSetting:
			wanted[st.name] = st.value
		}
	}
	if err := s.putBack(func(name string) bool { _, keep := wanted[name]; return !keep }); err != nil {
		return err
	}
	if err := s.learn(wanted); err != nil {
		return err
	}
	for _, st := range settings {
		if _, ok := wanted[st.name]; ok && s.original[st.name] == "" {
			if st.important {
				return codeUnknownSetting.errorf("Unknown setting '%s'", clipPlain(st.name))
			}
			delete(wanted, st.name)
		}
	}
	sets := custom
	for name, value := range wanted {
		if was, ok := s.applied[name]; !ok || was != value {
			sets = append(sets, quoteName(name)+" = "+quote(value))
			s.applied[name] = value
		}
	}
	if len(sets) == 0 {
		return nil
	}
	err := s.exec("SET " + strings.Join(sets, ", "))
	if err != nil {
		// The engine may have stopped in the middle of the list.
		err = errors.Join(err, s.putBack(func(string) bool { return true }))
	}
	return err
}

// typesInBinary are the settings under which the engine's Native blocks could not be followed here.
var typesInBinary = map[string]bool{
	"output_format_native_encode_types_in_binary_format": true, "input_format_native_decode_types_in_binary_format": true,
}

// putBack takes those settings of the last query out of force whose names are chosen.
func (s *session) putBack(chosen func(name string) bool) error {
	var sets []string
	for name := range s.applied {
		if chosen(name) {
			sets = append(sets, quoteName(name)+" = "+s.original[name])
			delete(s.applied, name)
		}
	}
	if len(sets) == 0 || s.exec("SET "+strings.Join(sets, ", ")) == nil {
		return nil
	}
	// The query has locked the door behind itself: readonly = 1. A new connection is without its settings.
	own, err := s.ask("SELECT currentDatabase()")
	if err != nil {
		return err
	}
	s.close()
	return s.open(own[0])
}

// ask returns the one row of texts that a query gives, in a format to which the setting extremes adds nothing.
func (s *session) ask(sql string) (row []string, err error) {
	out, _, err := s.conn.query(sql, "JSONCompactEachRow")
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(out, &row); err != nil || len(row) == 0 {
		return nil, fmt.Errorf("read what the engine answers: %w", errors.Join(err, errors.New(clipPlain(string(out)))))
	}
	return row, nil
}

// change runs a statement that changes the session's own settings, with no query's settings in force, and forgets what the
// settings were.
func (s *session) change(sql string) error {
	if err := s.putBack(func(string) bool { return true }); err != nil {
		return err
	}
	s.original = map[string]string{}
	if err := s.exec(sql); err != nil {
		return err
	}
	if row, err := s.ask("SELECT toString(getSetting('extremes')), currentDatabase()"); err == nil && len(row) == 2 {
		s.extremes, s.database = row[0] == "true", row[1]
	}
	// Refused where the client has just made the session read-only: it stays marked unless it chose that very setting.
	_ = s.mark()
	return nil
}

// learn asks the engine what the settings are now, to put them back later.
func (s *session) learn(settings map[string]string) error {
	var unknown []string
	for name := range settings {
		if _, ok := s.original[name]; !ok {
			unknown = append(unknown, quote(name))
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	out, _, err := s.conn.query("SELECT name, if(changed, value, NULL) FROM system.settings WHERE name IN ("+strings.Join(unknown, ", ")+")", "JSONCompactEachRow")
	if err != nil {
		return err
	}
	for name := range settings {
		if _, ok := s.original[name]; !ok {
			s.original[name] = ""
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		var row [2]*string
		if line == "" {
			continue
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil || row[0] == nil {
			return fmt.Errorf("read the engine's settings: %w", errors.Join(err, errors.New(line)))
		}
		if row[1] == nil {
			s.original[*row[0]] = "DEFAULT"
		} else {
			s.original[*row[0]] = quote(*row[1])
		}
	}
	return nil
}

// watch stops the session's running query as soon as ctx ends. The returned function must be called when the query is
// over; it waits until no more kill is under way.
func (s *session) watch(ctx context.Context) (stop func()) {
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-over:
			return
		case <-ctx.Done():
		}
		for {
			s.eng.kill(s.id)
			select {
			case <-over:
				return
			case <-time.After(killEvery):
			}
		}
	})
	return func() {
		close(over)
		wg.Wait()
	}
}

// kill asks the engine to stop the query that runs in the session of that id.
func (e *engine) kill(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.first != nil {
		// An error means that there is nothing to kill, or that the engine is about to fail anyway.
		_, _, _ = e.first.query("KILL QUERY WHERE Settings['"+markSetting+"'] = "+quote(id)+" ASYNC", "Null")
	}
}

// column is a name and a type of a result or a table.
type column struct{ name, typ string }

// header returns the columns of a result that had no rows: the engine writes no block at all for it.
func (s *session) header(st statement, params []param) ([]column, error) {
	switch st.first {
	case "SELECT", "WITH", "(", "FROM", "VALUES":
		return s.describeQuery(st, params)
	case "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS":
		// Asking again is free of effects, and cheap: the answer is empty.
		out, _, err := s.conn.query(st.plain, "JSONCompact")
		if err != nil || len(out) == 0 {
			return nil, err
		}
		var result struct{ Meta []struct{ Name, Type string } }
		if err := json.Unmarshal(out, &result); err != nil {
			return nil, fmt.Errorf("read the columns of an empty result: %w", err)
		}
		var cols []column
		for _, m := range result.Meta {
			cols = append(cols, column{m.Name, m.Type})
		}
		return cols, nil
	}
	return nil, nil
}

// describe runs a DESCRIBE and returns its columns, without those that a table computes by itself.
func (s *session) describe(sql string) ([]column, error) {
	cols, _, err := s.describeAll(sql)
	return cols, err
}

func (s *session) describeAll(sql string, params ...param) (ordinary, all []column, err error) {
	out, _, err := s.conn.queryParams(sql, "JSONCompactEachRow", params)
	if err != nil {
		return nil, nil, err
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		if line == "" {
			continue
		}
		var row []any
		if err := json.Unmarshal([]byte(line), &row); err != nil || len(row) < 3 {
			return nil, nil, fmt.Errorf("read a table's columns: %w", errors.Join(err, errors.New(line)))
		}
		name, _ := row[0].(string)
		typ, _ := row[1].(string)
		c := column{name, typ}
		all = append(all, c)
		switch row[2] {
		case "MATERIALIZED", "ALIAS", "EPHEMERAL":
		default:
			ordinary = append(ordinary, c)
		}
	}
	return ordinary, all, nil
}

// insertColumns returns the columns whose rows an INSERT wants: those of its list in that order, else all that the table
// does not compute by itself.
func (s *session) insertColumns(st statement) ([]column, error) {
	target := st.target
	if len(target) > 9 && strings.EqualFold(target[:8], "FUNCTION") && target[8] <= ' ' {
		target = target[9:] // DESCRIBE takes a table function as it is
	}
	ordinary, all, err := s.describeAll("DESCRIBE TABLE " + target)
	if err != nil || st.list == "" {
		return ordinary, err
	}
	types := make(map[string]string, len(all))
	for _, c := range all {
		types[c.name] = c.typ
	}
	var cols []column
	inner := strings.TrimSpace(st.list[1 : len(st.list)-1])
	sc := scanner{s: inner}
	name := ""
	flush := func() error {
		typ, ok := types[name]
		if !ok {
			return codeNoSuchColumn.errorf("No such column %s in table %s", clipPlain(name), clipPlain(st.target))
		}
		cols, name = append(cols, column{name, typ}), ""
		return nil
	}
	for {
		t, ok := sc.next()
		switch {
		case !ok:
			if name == "" {
				return cols, nil
			}
			return cols, flush()
		case t.text == "*" || t.text == "(":
			// `* EXCEPT (…)` and its like: what the engine makes of it.
			return s.describe("DESCRIBE TABLE (SELECT " + inner + " FROM " + target + ")")
		case t.text == ",":
			if err := flush(); err != nil {
				return nil, err
			}
		default:
			name += unquoteName(t.text)
		}
	}
}

// unquoteName is the identifier that s writes, with or without quotes.
func unquoteName(s string) string {
	if len(s) < 2 || s[0] != '`' && s[0] != '"' {
		return s
	}
	q := s[:1]
	body := strings.ReplaceAll(s[1:len(s)-1], q+q, q)
	var b strings.Builder
	for i := 0; i < len(body); i++ {
		if body[i] == '\\' && i+1 < len(body) {
			i++
		}
		b.WriteByte(body[i])
	}
	return b.String()
}

// clipPlain shortens text that came from a client, for an error in the engine's own manner.
func clipPlain(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}

// asEngineError is err in the engine's language, for a client.
func asEngineError(err error) *engineError {
	var e *engineError
	if errors.As(err, &e) {
		return explained(e)
	}
	return codeUnknownException.errorf("%s", err)
}
