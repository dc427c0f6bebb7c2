package gateway

// Point names a place between two effects of a gateway, so that a test can
// stop it dead there.
type Point string

// The points of a definition: the bucket, then the mirror, then the log.
const (
	BeforeCreate Point = "before-create" // a new one is about to be stored
	AfterCreate  Point = "after-create"  // it is, and nothing else knows of it
	AfterFound   Point = "after-found"   // a repeated mint has found what the first one stored
	BeforeUpdate Point = "before-update" // a change, a renewal or a revocation is about to be stored
	AfterUpdate  Point = "after-update"
	BeforeTell   Point = "before-tell" // the mirror has it, the log has not
	AfterTell    Point = "after-tell"  // the log has it, which is not noted yet
	BeforeAnswer Point = "before-answer"
	BeforeRepair Point = "before-repair" // the log is about to be told again
	AfterRepair  Point = "after-repair"
)

// The points of a record of events.
const (
	BeforeStore  Point = "before-store" // the log is about to be given it
	AfterStore   Point = "after-store"  // it has it, and nobody was told
	BeforeSpool  Point = "before-spool" // the log did not take it
	AfterSpool   Point = "after-spool"  // it is on disk, and nobody was told
	BeforeReplay Point = "before-replay"
	AfterReplay  Point = "after-replay" // the log has it, the spool has it too
	AfterDone    Point = "after-done"   // the spool is done with it
)

// Points are all there are.
var Points = []Point{
	BeforeCreate, AfterCreate, AfterFound, BeforeUpdate, AfterUpdate, BeforeTell, AfterTell, BeforeAnswer, BeforeRepair, AfterRepair,
	BeforeStore, AfterStore, BeforeSpool, AfterSpool, BeforeReplay, AfterReplay, AfterDone,
}

// crash is what stops a gateway at a point; nil in production.
type crash func(Point) error

func (c crash) at(p Point) error {
	if c == nil {
		return nil
	}
	return c(p)
}
