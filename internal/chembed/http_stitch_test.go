package chembed

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"
)

func TestStitchers(t *testing.T) {
	for _, row := range []struct {
		format string
		chunks []string
		want   string
	}{
		{"TSVWithNames", []string{"a\n1\n", "a\n2\n", "a\n"}, "a\n1\n2\n"},
		{"TabSeparatedWithNamesAndTypes", []string{"a\nUInt8\na\n", "a\nUInt8\nUInt8\n"}, "a\nUInt8\na\nUInt8\n"},
		{"CSVWithNames", []string{"\"a\n\"\"\n\"\n\"x\n\"\n", "\"a\n\"\"\n\"\n2\n"}, "\"a\n\"\"\n\"\n\"x\n\"\n2\n"},
		{"csvwithnamesandtypes", []string{"\"a\"\r\n\"T\"\r\n1\r\n", "\"a\"\r\n\"T\"\r\n2\r\n"}, "\"a\"\r\n\"T\"\r\n1\r\n2\r\n"},
		{"RowBinaryWithNames", []string{"\x01\x02ab1", "\x01\x02ab2"}, "\x01\x02ab12"},
		{"RowBinaryWithNamesAndTypes", []string{"\x01\x02ab\x01T1", "\x01\x02ab\x01T2"}, "\x01\x02ab\x01T12"},
		{"Values", []string{"(1)", "", "(2),(3)"}, "(1),(2),(3)"},
		{"JSONEachRow", []string{"{}\n", "{}\n"}, "{}\n{}\n"},
		{"JSON", []string{
			"{\n\t\"meta\":\n\t[\n\t],\n\n\t\"data\":\n\t[\n\n\t],\n\n\t\"rows\": 0\n}\n",
			"{\n\t\"meta\":\n\t[\n\t],\n\n\t\"data\":\n\t[\n\t\t1\n\t],\n\n\t\"rows\": 1\n}\n",
			"{\n\t\"meta\":\n\t[\n\t],\n\n\t\"data\":\n\t[\n\t\t2\n\t],\n\n\t\"rows\": 1,\n\n\t\"statistics\":\n\t{\n\t\t\"elapsed\": 1,\n\t\t\"rows_read\": 0,\n\t\t\"bytes_read\": 0\n\t}\n}\n",
		}, "{\n\t\"meta\":\n\t[\n\t],\n\n\t\"data\":\n\t[\n\t\t1,\n\t\t2\n\t],\n\n\t\"rows\": 2,\n\n\t\"statistics\":\n\t{\n\t\t\"elapsed\": 0.250000000,\n\t\t\"rows_read\": 7,\n\t\t\"bytes_read\": 8\n\t}\n}\n"},
	} {
		var b bytes.Buffer
		s := newStitcher(row.format, 0)
		for _, c := range row.chunks {
			if err := s.add(&b, []byte(c)); err != nil {
				t.Errorf("%s: %v", row.format, err)
			}
		}
		if err := s.end(&b, stats{rows: 2, readRows: 7, readBytes: 8}, time.Second/4); err != nil || b.String() != row.want {
			t.Errorf("%s: got %q, %v, want %q", row.format, b.String(), err, row.want)
		}
	}
	for _, format := range []string{"XML", "Parquet", "Pretty", "TSVRawWithNames", "CustomSeparatedWithNames", "JSONColumns"} {
		if newStitcher(format, 0) != nil {
			t.Errorf("%s is stitched", format)
		}
	}
	// A chunk that is not what it should be is an error, never a wrong result.
	for _, row := range []struct {
		format string
		chunks []string
	}{
		{"TSVWithNames", []string{"a"}}, {"TSVWithNames", []string{"a\n1\n", "b\n2\n"}}, {"CSVWithNames", []string{"\"a\n"}}, {"RowBinaryWithNames", []string{"\x01\x05a"}},
		{"RowBinaryWithNames", []string{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"}}, {"JSON", []string{"{}"}}, {"JSON", []string{"\n\t],\n\n\t\"rows\": \n\t\"data\":\n\t[\n"}},
	} {
		var err error
		s := newStitcher(row.format, 0)
		for _, c := range row.chunks {
			if err == nil {
				err = s.add(&bytes.Buffer{}, []byte(c))
			}
		}
		if err == nil {
			t.Errorf("%s: %q is taken", row.format, row.chunks)
		}
	}
}

// FuzzStitchHeader: whatever the names and rows, what comes out is the header once, then the rows.
func FuzzStitchHeader(f *testing.F) {
	f.Add("a", "b\n\"c", "row1\n", "row\"2\n")
	f.Add("", "\x00\\", "", "\n\n\"")
	f.Fuzz(func(t *testing.T, name, typ, row1, row2 string) {
		tsv := strings.NewReplacer("\\", "\\\\", "\n", "\\n").Replace
		csv := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
		bin := func(s string) string { return string(binary.AppendUvarint(nil, uint64(len(s)))) + s }
		for format, header := range map[string]string{
			"TSVWithNames": tsv(name) + "\n", "TSVWithNamesAndTypes": tsv(name) + "\n" + tsv(typ) + "\n",
			"CSVWithNames": csv(name) + "," + csv(typ) + "\n", "CSVWithNamesAndTypes": csv(name) + "\r\n" + csv(typ) + "\r\n",
			"RowBinaryWithNames": "\x02" + bin(name) + bin(typ), "RowBinaryWithNamesAndTypes": "\x01" + bin(name) + bin(typ),
		} {
			var b bytes.Buffer
			s := newStitcher(format, 0)
			for _, row := range []string{row1, row2, ""} {
				if err := s.add(&b, []byte(header+row)); err != nil {
					t.Fatalf("%s: %v", format, err)
				}
			}
			if got, want := b.String(), header+row1+row2; got != want {
				t.Fatalf("%s: got %q, want %q", format, got, want)
			}
		}
	})
}

// FuzzStitch: no chunk, however odd, does more than be refused.
func FuzzStitch(f *testing.F) {
	f.Add([]byte("a\nUInt8\n1\n"), []byte("a\nUInt8\n2\n"))
	f.Add([]byte("\x01\x01a\x05UInt81"), []byte("\xff\xff\xff\xff\x0f"))
	f.Add([]byte("{\n\t\"data\":\n\t[\n\n\t],\n\n\t\"rows\": 0\n}\n"), []byte("\n\t],\n\n\t\"rows\": \n\t\"data\":\n\t[\n"))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		for _, format := range []string{"TSVWithNamesAndTypes", "CSVWithNames", "RowBinaryWithNamesAndTypes", "JSON", "Values", "TSV"} {
			var b bytes.Buffer
			s := newStitcher(format, 0)
			if s.add(&b, one) == nil && s.add(&b, two) == nil && s.end(&b, stats{}, 0) == nil && b.Len() > len(one)+len(two)+100 {
				t.Fatalf("%s: %d bytes of %d", format, b.Len(), len(one)+len(two))
			}
		}
	})
}
