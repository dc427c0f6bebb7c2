package chembed

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/ClickHouse/ch-go/proto"
)

func sampleQuery(rev int) []byte {
	var b proto.Buffer
	proto.Query{
		ID: "id", Body: "SELECT 1", Compression: proto.CompressionEnabled,
		Info:     proto.ClientInfo{Query: proto.ClientQueryInitial, Interface: proto.InterfaceTCP, ProtocolVersion: rev, ClientName: "test", InitialAddress: "0.0.0.0:0"},
		Settings: []proto.Setting{{Key: "max_threads", Value: "2", Important: true}, {Key: "x", Value: "y"}},
	}.EncodeAware(&b, rev)
	return b.Buf[1:]
}

// noKinds stands for an engine that knows one setting.
func noKinds() map[string]string { return map[string]string{"max_threads": "MaxThreads"} }

func TestReadQuery(t *testing.T) {
	for _, rev := range []int{54429, 54443, 54450, revision} {
		data := sampleQuery(rev)
		q, err := readQuery(bufio.NewReader(bytes.NewReader(data)), rev, noKinds)
		want := query{id: "id", body: "SELECT 1", compress: true, settings: []setting{{name: "max_threads", value: "2", important: true}, {name: "x", value: "y"}}}
		if err != nil || !reflect.DeepEqual(q, want) {
			t.Errorf("revision %d: got %+v, %v", rev, q, err)
		}
		for cut := range data {
			if _, err := readQuery(bufio.NewReader(bytes.NewReader(data[:cut])), rev, noKinds); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("revision %d, cut after %d bytes: %v", rev, cut, err)
			}
		}
	}
}

func TestReadHello(t *testing.T) {
	var b proto.Buffer
	proto.ClientHello{Name: "test", Major: 1, Minor: 2, ProtocolVersion: 54500, Database: "d", User: "u", Password: "p"}.Encode(&b)
	h, err := readHello(bufio.NewReader(bytes.NewReader(b.Buf[1:])))
	if want := (hello{client: "test", revision: 54500, database: "d", user: "u", password: true}); err != nil || h != want {
		t.Errorf("got %+v, %v", h, err)
	}
	for name, data := range map[string][]byte{
		"long name":    {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F},
		"old revision": {0, 1, 1, 5, 0, 0, 0},
	} {
		_, err := readHello(bufio.NewReader(bytes.NewReader(data)))
		var ee *engineError
		if !errors.As(err, &ee) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLimits: lengths beyond what is allowed are refused before anything is read for them.
func TestLimits(t *testing.T) {
	long := func(field func(*proto.Query)) []byte {
		q := proto.Query{Info: proto.ClientInfo{Query: proto.ClientQueryInitial, Interface: proto.InterfaceTCP}}
		field(&q)
		var b proto.Buffer
		q.EncodeAware(&b, revision)
		return b.Buf[1:]
	}
	big := strings.Repeat("x", maxQueryLength+1)
	for name, data := range map[string][]byte{
		"query":    long(func(q *proto.Query) { q.Body = big }),
		"setting":  long(func(q *proto.Query) { q.Settings = []proto.Setting{{Key: "a", Value: big}} }),
		"id":       long(func(q *proto.Query) { q.ID = big }),
		"secret":   long(func(q *proto.Query) { q.Secret = "s" }),
		"settings": long(func(q *proto.Query) { q.Settings = make([]proto.Setting, 0); fill(q) }),
	} {
		_, err := readQuery(bufio.NewReader(bytes.NewReader(data)), revision, noKinds)
		var ee *engineError
		if !errors.As(err, &ee) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func fill(q *proto.Query) {
	for range maxSettings + 1 {
		q.Settings = append(q.Settings, proto.Setting{Key: "a", Value: "b"})
	}
}

// FuzzPackets reads whatever comes as each packet: it must neither panic nor take memory that the input does not fill.
func FuzzPackets(f *testing.F) {
	f.Add(sampleQuery(revision))
	f.Add(sampleQuery(54429))
	f.Add([]byte{1, 0, 2, 0, 0, 0, 0, 0})
	f.Add([]byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 'x'})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, rev := range []int{54400, 54429, revision} {
			r := func() *bufio.Reader { return bufio.NewReader(bytes.NewReader(data)) }
			if q, err := readQuery(r(), rev, noKinds); err == nil && len(q.body) > len(data) {
				t.Errorf("a query of %d bytes out of %d", len(q.body), len(data))
			}
			readHello(r())
			readDataHead(r())
			readBlockInfo(r(), rev)
		}
	})
}
