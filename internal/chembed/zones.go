package chembed

import (
	"bytes"
	"strings"
)

// namesZones is the first revision whose clients are told the zone of a DateTime.
const namesZones = 54337

// streamNative runs a SELECT and hands its result to f block by block, in the engine's Native format. f must not keep a block. An error for
// which notStreamable is true means that nothing has run.
//
// The engine writes for the oldest of clients, to whom DateTime had no zone: of a column of type DateTime('Asia/Shanghai') it says
// DateTime. So where a result has such a column its zone is asked for, beside the stream; and where that cannot tell,
// because a table is the session's own, the stream is begun again.
func (s *session) streamNative(st statement, params []param, f func(block []byte, st stats) error) error {
	zones, asked := map[int]string(nil), false
	var fix *transcoder // made for the first block that needs it
	var fixed bytes.Buffer
	for {
		stream, err := s.conn.stream(st.plain, "Native", params)
		if err != nil {
			return err
		}
		again := false
		for more := true; more && !again; {
			more, err = stream.next(func(chunk []byte, st2 stats) error {
				if !asked {
					asked = true
					if cols := zoneless(chunk); cols != nil {
						var ok bool
						if zones, ok = s.zonesBeside(st, params, cols); !ok {
							again = true
							return nil
						}
					}
				}
				if len(zones) > 0 {
					if fix == nil {
						fix = newTranscoder(0)
						fix.cp.retype = zones
					}
					fixed.Reset()
					if err := fix.write(&fixed, chunk); err != nil {
						return err
					}
					chunk = fixed.Bytes()
				}
				return f(chunk, st2)
			})
			if err != nil {
				break
			}
		}
		stream.close()
		if !again {
			return err
		}
		if zones, err = s.zonesHere(st, params); err != nil {
			return err
		}
	}
}

// zoneless are the columns of a block if one of them has a type that may have lost its zone, else nil.
func zoneless(block []byte) []column {
	if !bytes.Contains(block, []byte("\x08DateTime")) {
		return nil
	}
	cols, err := blockColumns(block)
	if err != nil {
		return nil // states of aggregate functions: what follows them cannot be found
	}
	for _, c := range cols {
		if c.typ == "DateTime" {
			return cols
		}
	}
	return nil
}

// zonesBeside asks another connection for the zones of a result with these columns. It fails where that connection sees other
// tables or types than the session.
func (s *session) zonesBeside(st statement, params []param, cols []column) (map[int]string, bool) {
	beside, err := openSession(s.eng, s.database)
	if err != nil {
		return nil, false
	}
	defer beside.close()
	found, err := beside.describeQuery(st, params)
	if err != nil || len(found) != len(cols) {
		return nil, false
	}
	zones := map[int]string{}
	for i, c := range cols {
		switch {
		case c == found[i]:
		case c.name == found[i].name && c.typ == "DateTime" && strings.HasPrefix(found[i].typ, "DateTime("):
			zones[i] = found[i].typ
		default:
			return nil, false
		}
	}
	return zones, true
}

// zonesHere asks the session itself, on which nothing may run.
func (s *session) zonesHere(st statement, params []param) (map[int]string, error) {
	found, err := s.describeQuery(st, params)
	if err != nil {
		return nil, err
	}
	zones := map[int]string{}
	for i, c := range found {
		if strings.HasPrefix(c.typ, "DateTime(") {
			zones[i] = c.typ
		}
	}
	return zones, nil
}

// describeQuery are the columns of a SELECT's result. The line break ends a comment at the end of the query.
func (s *session) describeQuery(st statement, params []param) ([]column, error) {
	cols, _, err := s.describeAll("DESCRIBE TABLE ("+st.plain+"\n)", params...)
	return cols, err
}
