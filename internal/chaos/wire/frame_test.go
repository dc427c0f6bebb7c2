package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReadFrame(t *testing.T) {
	for _, row := range []struct {
		name, in                        string
		op                              Op
		subject, reply, header, payload string
	}{
		{"a line", "PING\r\n", Other, "", "", "", ""},
		{"an empty line", "\r\n", Other, "", "", "", ""},
		{"subscribe", "SUB huoma.alert.> 4\r\n", Other, "", "", "", ""},
		{"publish", "PUB huoma.in.scan.k 5\r\nhello\r\n", Publish, "huoma.in.scan.k", "", "", "hello"},
		{"publish and wait", "PUB huoma.in.scan.k _INBOX.a.b 5\r\nhello\r\n", Publish, "huoma.in.scan.k", "_INBOX.a.b", "", "hello"},
		{"publish nothing", "pub s 0\r\n\r\n", Publish, "s", "", "", ""},
		{"publish a header", "HPUB s 12 17\r\nNATS/1.0\r\n\r\nhello\r\n", Publish, "s", "", "NATS/1.0\r\n\r\n", "hello"},
		{"publish a header and wait", "HPUB s r 12 12\r\nNATS/1.0\r\n\r\n\r\n", Publish, "s", "r", "NATS/1.0\r\n\r\n", ""},
		{"deliver", "MSG s 9 2\r\n\r\n\r\n", Deliver, "s", "", "", "\r\n"},
		{"deliver to be answered", "MSG s 9 $JS.ACK.x 1\r\n.\r\n", Deliver, "s", "$JS.ACK.x", "", "."},
		{"deliver a header", "HMSG s 9 12 13\r\nNATS/1.0\r\n\r\n.\r\n", Deliver, "s", "", "NATS/1.0\r\n\r\n", "."},
		{"deliver a header to be answered", "HMSG s 9 r 12 13\r\nNATS/1.0\r\n\r\n.\r\n", Deliver, "s", "r", "NATS/1.0\r\n\r\n", "."},
	} {
		const next = "PONG\r\n"
		r := bufio.NewReaderSize(strings.NewReader(row.in+next), 16)
		f, err := ReadFrame(r)
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		if string(f.Raw) != row.in || f.Op != row.op || string(f.Subject) != row.subject || string(f.Reply) != row.reply || string(f.Header) != row.header || string(f.Payload) != row.payload {
			t.Errorf("%s: got %q of %q", row.name, f.Raw, f.Subject)
		}
		if g, err := ReadFrame(r); err != nil || string(g.Raw) != next {
			t.Errorf("%s: then comes %q, %v", row.name, g.Raw, err)
		}
		if _, err := ReadFrame(r); err != io.EOF {
			t.Errorf("%s: at the end: %v", row.name, err)
		}
	}
}

func TestReadFrameRefuses(t *testing.T) {
	for _, row := range []struct {
		name, in string
		want     error
	}{
		{"no words", "PUB s\r\n", ErrProtocol},
		{"too many words", "PUB s r x 5\r\nhello\r\n", ErrProtocol},
		{"no size", "PUB s five\r\nhello\r\n", ErrProtocol},
		{"negative", "PUB s -1\r\n\r\n", ErrProtocol},
		{"huge", "PUB s 99999999999\r\n", ErrProtocol},
		{"header beyond the message", "HPUB s 12 5\r\n.....\r\n", ErrProtocol},
		{"payload of another size", "PUB s 3\r\nhello\r\n", ErrProtocol},
		{"cut off in the line", "PUB s", io.ErrUnexpectedEOF},
		{"cut off in the payload", "PUB s 5\r\nhel", io.ErrUnexpectedEOF},
		{"a line without end", strings.Repeat("x", 2*maxLine), ErrProtocol},
	} {
		if _, err := ReadFrame(bufio.NewReaderSize(strings.NewReader(row.in), 4096)); !errors.Is(err, row.want) {
			t.Errorf("%s: error %v, want %v", row.name, err, row.want)
		}
	}
}

func TestWhatMayRepeat(t *testing.T) {
	for _, row := range []struct {
		in          string
		repeat, ack bool
	}{
		{"PUB huoma.commit.0 _INBOX.a 1\r\n.\r\n", true, false},
		{"PUB $JS.ACK.x 0\r\n\r\n", true, false},
		{"PUB $JS.API.CONSUMER.MSG.NEXT.x r 0\r\n\r\n", false, false}, // a request is not asked twice
		{"PUB $O.HUOMA_STATE.C.x r 1\r\n.\r\n", false, false},         // pieces of a file have no id
		{"MSG huoma.ev.0.gw 1 $JS.ACK.x 1\r\n.\r\n", true, false},
		{"MSG _INBOX.a 1 37\r\n" + `{"stream":"HUOMA_EVENTS","seq":12345}` + "\r\n", false, true},
		{"MSG _INBOX.a 1 15\r\n" + `{"type":"io.x"}` + "\r\n", false, false},
		{"PING\r\n", false, false},
	} {
		f, err := ReadFrame(bufio.NewReader(strings.NewReader(row.in)))
		if err != nil {
			t.Fatalf("%q: %v", row.in, err)
		}
		if f.mayRepeat() != row.repeat || f.isAck() != row.ack {
			t.Errorf("%q: may repeat %v, acknowledges %v; want %v, %v", row.in, f.mayRepeat(), f.isAck(), row.repeat, row.ack)
		}
	}
}

// Whatever is read, the frames are the input to the byte, and nothing panics.
func FuzzReadFrame(f *testing.F) {
	for _, s := range []string{"PING\r\n", "PUB a 1\r\nx\r\n", "HPUB a b 12 13\r\nNATS/1.0\r\n\r\nx\r\n", "MSG a 1 0\r\n\r\nPONG\r\n", "HMSG a 1 r 12 12\r\nNATS/1.0\r\n\r\n\r\n", "PUB a 5\r\nab", "\n\n", "PUB\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(in), 16)
		var got []byte
		for {
			fr, err := ReadFrame(r)
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, ErrProtocol) {
					t.Fatalf("error %v", err)
				}
				if err == io.EOF && !bytes.Equal(got, in) {
					t.Fatalf("passed %q of %q", got, in)
				}
				break
			}
			got = append(got, fr.Raw...)
			if !bytes.HasPrefix(in, got) {
				t.Fatalf("passed %q of %q", got, in)
			}
			if fr.Op != Other && !bytes.HasSuffix(fr.Raw, append(append(bytes.Clone(fr.Header), fr.Payload...), "\r\n"...)) {
				t.Fatalf("frame %q", fr.Raw)
			}
		}
	})
}
