package events

import (
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

// Seen is one producer's event within the memory of duplicates: a hash of its
// source, id and code.
type Seen struct {
	ID string `json:"id"`
	At int64  `json:"at"` // broker time, Unix seconds
}

// maxSnapshot bounds what a compressed snapshot may unpack to.
const maxSnapshot = 8 << 30

// Marshal writes the snapshot as zstd-compressed JSON.
func (s *Snapshot) Marshal() ([]byte, error) {
	raw, err := json.Marshal(s, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("marshal snapshot of partition %d: %w", s.Partition, err)
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return nil, fmt.Errorf("compress snapshot: %w", err)
	}
	defer enc.Close()
	return enc.EncodeAll(raw, nil), nil
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
