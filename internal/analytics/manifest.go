package analytics

import (
	"errors"
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

	// What is stored of the batch is not known from a manifest before it: the tables are looked at before rows are inserted.
	Compare bool `json:"compare,omitzero"`
}

// errDamaged is a manifest that nobody has written like that.
var errDamaged = errors.New("it is damaged")

func (m manifest) marshal() ([]byte, error) {
	b, err := json.Marshal(m, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("write the manifest of partition %d: %w", m.Partition, err)
	}
	return b, nil
}

// readManifest reads a partition's. The error is errDamaged, or that of a newer program's, which is not to be touched.
func readManifest(b []byte, partition int) (m manifest, err error) {
	var v struct {
		Version int `json:"v"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return m, fmt.Errorf("read the manifest of partition %d: %w: %w", partition, errDamaged, err)
	}
	if v.Version > manifestVersion {
		return m, fmt.Errorf("the manifest of partition %d has version %d, this program reads %d: upgrade it", partition, v.Version, manifestVersion)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("read the manifest of partition %d: %w: %w", partition, errDamaged, err)
	}
	if m.Version != manifestVersion || m.Partition != partition || m.FirstSeq == 0 || m.LastSeq < m.FirstSeq || m.Commits < 1 || m.Token == "" {
		return m, fmt.Errorf("read the manifest of partition %d: %w", partition, errDamaged)
	}
	return m, nil
}

// tokenFor names a batch. The time is in it because sequences start again when a stream is made anew, and a token used twice for
// different rows would drop the second in silence.
func tokenFor(partition int, first, last uint64, at time.Time) string {
	return fmt.Sprintf("%d/%d-%d/%d", partition, first, last, at.UnixMilli())
}
