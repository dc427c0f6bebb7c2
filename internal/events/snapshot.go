package events

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/klauspost/compress/zstd"

	"github.com/huoma/huoma/internal/code"
)

// SnapshotVersion is the version of snapshots written now. Version 1, which had
// the ids as JSON, and 2, which had the codes so, are read too.
const SnapshotVersion = 3

// Snapshot is the whole state of a partition after one step. A worker that
// takes the partition over, and a gateway that starts, load it and replay what
// came after.
type Snapshot struct {
	Version   int               `json:"v"`
	Partition int               `json:"partition"`
	Step      uint64            `json:"step"`       // the step it stands after
	CommitSeq uint64            `json:"commit_seq"` // that step's sequence in HUOMA_DECISIONS
	Reached   Place             `json:"reached"`    // the input it has decided
	Totals    Totals            `json:"totals"`
	Clock     time.Time         `json:"clock"` // broker time of the newest input
	Codes     []code.Saved      `json:"-"`
	Producers map[string]uint64 `json:"producers,omitempty"` // gateway instance → last record taken
	Seen      []Seen            `json:"-"`                   // ids of recent producers' events, oldest first
}

// Seen is one producer's event within the memory of duplicates. There may be
// tens of millions.
type Seen struct {
	ID [16]byte // hash of source, id and code
	At int64    // broker time, Unix seconds
}

// snapshotHead is the JSON that a snapshot begins with. Behind it and a newline
// stand the ids, 16 bytes each, then as many times, 8 bytes each, the lowest
// first: random ids cannot be made smaller, and as JSON they would take longer
// to read than all else together. Then come the codes, each a value of one gob
// stream, which says itself what fields it has: it takes a quarter of the time
// of JSON.
type snapshotHead struct {
	Snapshot `json:",inline"`
	IDs      int          `json:"ids,omitzero"`
	Saved    int          `json:"saved,omitzero"`  // codes
	OldCodes []code.Saved `json:"codes,omitempty"` // versions 1 and 2
	OldSeen  []seenJSON   `json:"seen,omitempty"`  // version 1
}

type seenJSON struct {
	ID [16]byte `json:"id,format:hex"`
	At int64    `json:"at"`
}

// maxSnapshot bounds what a compressed snapshot may unpack to.
const maxSnapshot = 8 << 30

// Marshal writes the snapshot, compressed by zstd with its checksum. What it is
// compressed from is nowhere held in full.
func (s *Snapshot) Marshal() ([]byte, error) {
	var out bytes.Buffer
	enc, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return nil, fmt.Errorf("compress snapshot: %w", err)
	}
	if err := errors.Join(s.write(enc), enc.Close()); err != nil {
		return nil, fmt.Errorf("marshal snapshot of partition %d: %w", s.Partition, err)
	}
	return out.Bytes(), nil
}

func (s *Snapshot) write(w io.Writer) error {
	head := snapshotHead{Snapshot: *s, IDs: len(s.Seen), Saved: len(s.Codes)}
	if err := json.MarshalWrite(w, head, json.Deterministic(true)); err != nil {
		return err
	}
	b := bufio.NewWriterSize(w, 64<<10)
	_ = b.WriteByte('\n') // Flush says if anything could not be written
	for i := range s.Seen {
		_, _ = b.Write(s.Seen[i].ID[:])
	}
	var at [8]byte
	for i := range s.Seen {
		binary.LittleEndian.PutUint64(at[:], uint64(s.Seen[i].At))
		_, _ = b.Write(at[:])
	}
	enc := gob.NewEncoder(b)
	for i := range s.Codes {
		if err := enc.Encode(&s.Codes[i]); err != nil {
			return err
		}
	}
	return b.Flush()
}

// ReadSnapshot reads what Marshal wrote. A snapshot of a newer version is an
// error that says to upgrade.
func ReadSnapshot(r io.Reader) (*Snapshot, error) {
	var codes []code.Saved
	s, err := ReadSnapshotEach(r, func(sv code.Saved) { codes = append(codes, sv) })
	if err != nil {
		return nil, err
	}
	s.Codes = codes
	return s, nil
}

// ReadSnapshotEach is ReadSnapshot for a snapshot whose codes need not be held
// all at once: each is handed to one, and Codes stays empty. After an error
// what one was told means nothing.
func ReadSnapshotEach(r io.Reader, one func(code.Saved)) (*Snapshot, error) {
	dec, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxSnapshot))
	if err != nil {
		return nil, fmt.Errorf("decompress snapshot: %w", err)
	}
	defer dec.Close()
	var head snapshotHead
	text := jsontext.NewDecoder(dec)
	if err := json.UnmarshalDecode(text, &head); err != nil {
		return nil, fmt.Errorf("snapshot: %w", jsonError("", err))
	}
	s := &head.Snapshot
	rest := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(bytes.Clone(text.UnreadBuffer())), dec), 64<<10)
	switch s.Version {
	case 1:
		s.Seen = make([]Seen, len(head.OldSeen))
		for i, old := range head.OldSeen {
			s.Seen[i] = Seen(old)
		}
	case 2, SnapshotVersion:
		if s.Seen, err = readSeen(rest, head.IDs); err != nil {
			return nil, fmt.Errorf("snapshot of partition %d: its ids: %w", s.Partition, err)
		}
	default:
		return nil, fmt.Errorf("snapshot of partition %d has version %d, this program reads %d: upgrade it", s.Partition, s.Version, SnapshotVersion)
	}
	for _, sv := range head.OldCodes {
		one(sv)
	}
	if s.Version == SnapshotVersion {
		if err := readSaved(rest, head.Saved, one); err != nil {
			return nil, fmt.Errorf("snapshot of partition %d: its codes: %w", s.Partition, err)
		}
	}
	s.Version = SnapshotVersion
	if _, err := rest.ReadByte(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("snapshot of partition %d: something follows its end: %w", s.Partition, cmp.Or(err, errTrailing))
	}
	return s, nil
}

var errTrailing = errors.New("bytes that do not belong there")

func readSeen(r *bufio.Reader, n int) ([]Seen, error) {
	switch c, err := r.ReadByte(); {
	case err != nil:
		return nil, noEOF(err)
	case c != '\n' || n < 0:
		return nil, errTrailing
	}
	list := make([]Seen, 0, min(n, 1<<20)) // more when they are there
	for range n {
		var s Seen
		if _, err := io.ReadFull(r, s.ID[:]); err != nil {
			return nil, noEOF(err)
		}
		list = append(list, s)
	}
	var at [8]byte
	for i := range list {
		if _, err := io.ReadFull(r, at[:]); err != nil {
			return nil, noEOF(err)
		}
		list[i].At = int64(binary.LittleEndian.Uint64(at[:]))
	}
	return list, nil
}

// readSaved reads n codes.
func readSaved(r *bufio.Reader, n int, one func(code.Saved)) error {
	if n < 0 {
		return errTrailing
	}
	dec := gob.NewDecoder(r)
	for range n {
		var sv code.Saved
		if err := dec.Decode(&sv); err != nil {
			return noEOF(err)
		}
		one(sv)
	}
	return nil
}

// noEOF: where more has to come, the end is an error.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
