package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/listen"
	"github.com/huoma/huoma/internal/token"
)

// Records stores records of events durably.
type Records interface {
	// AppendRecords returns once every record is stored durably. After an
	// error any of them may have been stored.
	AppendRecords(ctx context.Context, records []events.Record) error
}

// Definitions keeps the codes' definitions, opaque bytes by id, changed by
// compare-and-set. Errors: events.ErrExists, ErrConflict, ErrNotFound.
type Definitions interface {
	CreateDefinition(ctx context.Context, id string, value []byte) (rev uint64, err error)
	UpdateDefinition(ctx context.Context, id string, value []byte, rev uint64) (uint64, error)
	Definition(ctx context.Context, id string) (value []byte, rev uint64, err error)
}

// DefinitionFeed hands out every definition, calls caughtUp, then hands out
// changes until ctx ends.
type DefinitionFeed interface {
	WatchDefinitions(ctx context.Context, fn func(id string, value []byte, rev uint64) error, caughtUp func()) error
}

// History reads a partition's stored events again, from one sequence to
// another, in order.
type History interface {
	Replay(ctx context.Context, partition int, from, to uint64, fn func(events.Message) error) error
}

// CommitFeed is what the scan workers decided, by partition. LoadSnapshot and
// LastCommit return events.ErrNotFound when there is none yet, and LoadSnapshot
// events.ErrDamaged when what is stored is not what was; Commits follows
// until ctx ends.
type CommitFeed interface {
	LoadSnapshot(ctx context.Context, partition int) ([]byte, error)
	LastCommit(ctx context.Context, partition int) (payload []byte, seq uint64, err error)
	Commits(ctx context.Context, partition int, after uint64, fn func(payload []byte, seq uint64) error) error
}

// AlertFeed hands out the last alerts stored, then new ones until ctx ends.
type AlertFeed interface {
	Alerts(ctx context.Context, last int, fn func(*events.Event) error) error
}

// Backend is everything the gateway needs of the log. *natsjs.Conn is one.
type Backend interface {
	Records
	Definitions
	DefinitionFeed
	CommitFeed
	History
	AlertFeed
	Traces
	Connected() bool // must not block
	MaxPayload() int // bytes of a message, headers included; 0: unknown
}

// Options configure a Gateway. Backend, Keyring and an API key are required.
type Options struct {
	Addr      string // host:port to listen on; port 0 picks a free one; default 127.0.0.1:8080
	PublicURL string // what pictures and links begin with; default http://<address bound>

	APIKey     string // of the admin API
	APIKeyFile string // read when APIKey is empty

	Keyring    *token.Keyring // to begin with: see Gateway.UseKeyring
	Backend    Backend
	Spool      Spool // takes events while the log does not; nil: callers get 503 then
	Partitions int   // of the installation; default 1

	TrustedProxies      []netip.Prefix // whose X-Forwarded-For is believed
	AllowPrivateTargets bool           // let targets lead into private networks
	QRFree              []string       // profiles whose symbols may grow; see CheckSymbols
	RegisteredDomains   []string       // where profiles that ask for it may lead; empty: anywhere

	Device string // names this gateway in watermarks of pictures whose request names no device; default the host's name

	Limits Limits

	Log      *slog.Logger         // default: discard
	Registry *prometheus.Registry // default: one of its own
	Now      func() time.Time     // default time.Now

	Crash func(Point) error // tests: an error stops the gateway dead at that point
}

// Limits bound what the gateway takes on. Zero fields get the defaults of
// withDefaults.
type Limits struct {
	QueuedEvents int           // events waiting to be stored; beyond it callers get 503
	QueuedBytes  int           // and their bytes
	RecordBytes  int           // a record is cut at this size
	Body         int64         // an admin request's body
	BatchBody    int64         // the body of a mint of many and of events
	Bodies       int64         // bytes of all bodies under way
	Store        time.Duration // how long storing may take before callers get 503
	Direct       time.Duration // with a spool: how long storing may take before it takes over
	Lookup       time.Duration // how long a definition may be asked for
	Replay       time.Duration // with a spool: how long it is replayed at the end, while the log takes it
	FlushTarget  time.Duration // how long a flush should take; fewer scans are let in while it takes longer
	LeastScans   int           // scans let in at a time, however long a flush takes
	MostScans    int           // and however short
	Streams      int           // open streams of alerts
	Screens      int           // open streams of live pictures
	Listener     listen.Limits // connections, timeouts and sizes of headers
	Drain        time.Duration // how long requests in flight may take at the end
	Alerts       int           // alerts kept for GET /v1/alerts
	RepairAfter  time.Duration // age at which an unheard definition change is told again
}

// StopsWithin bounds how long a gateway with these limits takes to end once it is told to: requests in flight, then the
// flush under way, the one that fills meanwhile and the counts of forged scans. With a spool, a flush takes Direct at most, and what
// is spooled may take Replay.
func (l Limits) StopsWithin() time.Duration {
	l = l.withDefaults()
	return l.Drain + 3*l.Store
}

// DefaultLimits are the limits of a gateway that is told none.
func DefaultLimits() Limits { return Limits{}.withDefaults() }

func (l Limits) withDefaults() Limits {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	span := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&l.QueuedEvents, 20_000)
	def(&l.QueuedBytes, 32<<20)
	def(&l.RecordBytes, 512<<10)
	def(&l.Alerts, 1000)
	if l.Body == 0 {
		l.Body = 1 << 20
	}
	if l.BatchBody == 0 {
		l.BatchBody = 16 << 20
	}
	if l.Bodies == 0 {
		l.Bodies = 128 << 20
	}
	def(&l.LeastScans, 32)
	def(&l.MostScans, 4_000) // the rest of QueuedEvents is for what producers publish
	def(&l.Streams, 256)
	def(&l.Screens, 1024)
	span(&l.Store, 5*time.Second)
	span(&l.Direct, time.Second)
	span(&l.Lookup, time.Second)
	span(&l.Replay, 5*time.Second)
	span(&l.FlushTarget, 250*time.Millisecond)
	l.Listener = l.Listener.WithDefaults()
	span(&l.Drain, 15*time.Second)
	span(&l.RepairAfter, 30*time.Second)
	return l
}

// shortKey is the length below which an API key is warned about: 16 random
// letters and digits are more than 64 bits.
const shortKey = 16

// withDefaults checks o and fills in what was left out, but for PublicURL.
func (o Options) withDefaults() (Options, error) {
	if o.Backend == nil || o.Keyring == nil {
		return o, errors.New("gateway: a backend and a keyring are required")
	}
	if o.APIKey == "" && o.APIKeyFile != "" {
		b, err := os.ReadFile(o.APIKeyFile)
		if err != nil {
			return o, fmt.Errorf("gateway: read the API key: %w", err)
		}
		o.APIKey = strings.TrimSpace(string(b))
	}
	if o.APIKey == "" {
		return o, errors.New("gateway: the API key is missing: set --api-key")
	}
	if o.Addr == "" {
		o.Addr = "127.0.0.1:8080"
	}
	if o.PublicURL != "" {
		var err error
		if o.PublicURL, err = ParsePublicURL(o.PublicURL); err != nil {
			return o, fmt.Errorf("gateway: %w", err)
		}
	}
	if o.Partitions == 0 {
		o.Partitions = 1
	}
	if o.Partitions < 0 {
		return o, fmt.Errorf("gateway: %d partitions are not possible", o.Partitions)
	}
	if o.Device == "" {
		if o.Device, _ = os.Hostname(); o.Device == "" || len(o.Device) > maxDevice {
			o.Device = "gateway"
		}
	}
	o.Limits = o.Limits.withDefaults()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if len(o.APIKey) < shortKey {
		o.Log.Warn("the API key is short and may be guessed: use a random one", "characters", len(o.APIKey), "better", shortKey)
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o, nil
}

// ParsePublicURL returns a public URL as pictures and links begin with it:
// scheme and host, without a slash at the end.
func ParsePublicURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", fmt.Errorf("the public URL %q is not usable: write it as https://host", text)
	}
	if u.Path != "" && u.Path != "/" {
		return "", fmt.Errorf("the public URL %q has a path, and printed codes have none: write it as https://host", text)
	}
	return u.Scheme + "://" + u.Host, nil
}
