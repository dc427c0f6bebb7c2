package events

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/klauspost/compress/zstd"

	"github.com/huoma/huoma/internal/code"
)

// SnapshotVersion is the version of snapshots written now.
const SnapshotVersion = 1

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
	Codes     []code.Saved      `json:"codes"`
	Seen      []Seen            `json:"seen,omitempty"`      // ids of recent producers' events, oldest first
	Producers map[string]uint64 `json:"producers,omitempty"` // gateway instance → last record taken
}

// Seen is one producer's event within the memory of duplicates. There may be millions.
type Seen struct {
	ID [16]byte `json:"id,format:hex"` // hash of source, id and code
	At int64    `json:"at"`            // broker time, Unix seconds
}

// maxSnapshot bounds what a compressed snapshot may unpack to.
const maxSnapshot = 8 << 30

// Marshal writes the snapshot as zstd-compressed JSON, which is nowhere held in full.
func (s *Snapshot) Marshal() ([]byte, error) {
	var out bytes.Buffer
	enc, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return nil, fmt.Errorf("compress snapshot: %w", err)
	}
	if err := errors.Join(json.MarshalWrite(enc, s, json.Deterministic(true)), enc.Close()); err != nil {
		return nil, fmt.Errorf("marshal snapshot of partition %d: %w", s.Partition, err)
	}
	return out.Bytes(), nil
}

// ReadSnapshot reads what Marshal wrote. A snapshot of a newer version is an
// error that says to upgrade.
func ReadSnapshot(r io.Reader) (*Snapshot, error) {
	dec, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxSnapshot))
	if err != nil {
		return nil, fmt.Errorf("decompress snapshot: %w", err)
	}
	defer dec.Close()
	var s Snapshot
	if err := json.UnmarshalRead(dec, &s); err != nil {
		return nil, fmt.Errorf("snapshot: %w", jsonError("", err))
	}
	if s.Version != SnapshotVersion {
		return nil, fmt.Errorf("snapshot of partition %d has version %d, this program reads %d: upgrade it", s.Partition, s.Version, SnapshotVersion)
	}
	return &s, nil
}
