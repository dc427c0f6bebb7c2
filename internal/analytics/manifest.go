package analytics

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
)

const manifestVersion = 1

// manifest says which records a batch is made of. A partition has one at a time.
type manifest struct {
	Version   int       `json:"v"`
	Partition int       `json:"partition"`
	FirstSeq  uint64    `json:"first_seq"` // in HUOMA_DECISIONS
	LastSeq   uint64    `json:"last_seq"`
	FirstStep uint64    `json:"first_step"`
	LastStep  uint64    `json:"last_step"`
	Commits   int       `json:"commits"` // readable records in the range
	Token     string    `json:"token"`
	At        time.Time `json:"at"` // the rows' ingested_at
	Open      bool      `json:"open"`
}

func (m manifest) marshal() ([]byte, error) {
	b, err := json.Marshal(m, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("write the manifest of partition %d: %w", m.Partition, err)
	}
	return b, nil
}

func readManifest(b []byte) (manifest, error) {
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("read a manifest: %w", err)
	}
	if m.Version != manifestVersion {
		return m, fmt.Errorf("the manifest of partition %d has version %d, this program reads %d: upgrade it", m.Partition, m.Version, manifestVersion)
	}
	return m, nil
}

// tokenFor names a batch. The time is in it because sequences start again when a stream is made anew, and a token used twice for
// different rows would drop the second in silence.
func tokenFor(partition int, first, last uint64, at time.Time) string {
	return fmt.Sprintf("%d/%d-%d/%d", partition, first, last, at.UnixMilli())
}
