package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Faults is what a link does to what passes. The zero value passes all.
type Faults struct {
	Cut         bool          // connections end, and no new one is let through
	HoldQueries bool          // what the client says waits
	HoldAnswers bool          // what the server says waits
	Delay       time.Duration // each way
	Duplicate   bool          // NATS: messages arrive twice
	LoseAcks    bool          // NATS: a publisher does not hear that its message is stored
	Lie         string        // NATS: the next Lies messages to subjects with this prefix are dropped, and acknowledged
}

// Lies is how many lies a link tells when it is made to.
const Lies = 3

// Counts is what a link has done.
type Counts struct {
	Conns      int   `json:"connections"`
	Cut        int   `json:"cut"`        // connections ended by us
	Duplicated int   `json:"duplicated"` // messages
	AcksLost   int   `json:"acks_lost"`
	Lies       int   `json:"lies"` // messages dropped and acknowledged
	Held       int   `json:"held"` // frames that had to wait
	Bytes      int64 `json:"bytes"`
}

// Options say what a link is for. Target is required.
type Options struct {
	Target string // host:port
	NATS   bool   // it speaks the protocol of NATS; else bytes are passed
	Route  bool   // it is a route between NATS servers: Isolate tells them by their names
}

// Link listens, and passes what it hears to a target and back.
type Link struct {
	o Options
	l net.Listener

	mu      sync.Mutex
	faults  Faults
	lies    int // still to be told
	changed chan struct{}
	conns   map[*pair]bool
	alone   map[string]bool // names of servers whose routes do not pass
	counts  Counts
	watch   func(n int)
	done    sync.WaitGroup
	closed  bool
}

// pair is the two ends of a connection.
type pair struct {
	in, out net.Conn
	from    string // the server that opened a route
	ours    bool   // ended by us

	inboxes map[string]string // subscription ids by what answers' subjects begin with; for the way of queries alone
}

func (p *pair) end() { _, _ = p.in.Close(), p.out.Close() }

// Listen starts a link on a free port of the loopback interface. Close it when
// done.
func Listen(o Options) (*Link, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k := &Link{o: o, l: l, changed: make(chan struct{}), conns: map[*pair]bool{}, alone: map[string]bool{}}
	k.done.Go(k.serve)
	return k, nil
}

// Addr is where it listens, host:port.
func (k *Link) Addr() string { return k.l.Addr().String() }

// Set makes the link do this from now on, to connections that live too.
func (k *Link) Set(f Faults) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f.Lie != "" && k.faults.Lie == "" {
		k.lies = Lies
	}
	k.faults = f
	if f.Cut {
		for p := range k.conns {
			k.cut(p)
		}
	}
	close(k.changed)
	k.changed = make(chan struct{})
}

// cut ends a connection. k.mu is held.
func (k *Link) cut(p *pair) {
	if !p.ours {
		p.ours = true
		k.counts.Cut++
	}
	p.end()
}

// Isolate ends the routes that servers with these names have opened here, and
// lets no other of theirs through; nil lets all through.
func (k *Link) Isolate(names ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.alone)
	for _, n := range names {
		k.alone[n] = true
	}
	for p := range k.conns {
		if k.alone[p.from] {
			k.cut(p)
		}
	}
}

// Watch calls f with the bytes of each piece that a client sends, before it is
// passed on, until f is nil again. f must not block.
func (k *Link) Watch(f func(n int)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.watch = f
}

// Counts is what it has done so far.
func (k *Link) Counts() Counts {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.counts
}

// Close ends everything and returns when it has ended.
func (k *Link) Close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	_ = k.l.Close()
	k.Set(Faults{Cut: true})
	k.done.Wait()
}

func (k *Link) serve() {
	for {
		in, err := k.l.Accept()
		if err != nil {
			return
		}
		k.done.Go(func() { k.connect(in) })
	}
}

func (k *Link) connect(in net.Conn) {
	k.mu.Lock()
	refused := k.closed || k.faults.Cut
	k.mu.Unlock()
	if refused {
		_ = in.Close()
		return
	}
	out, err := net.DialTimeout("tcp", k.o.Target, 5*time.Second)
	if err != nil {
		_ = in.Close() // the client sees what it would without us: nobody answers
		return
	}
	p := &pair{in: in, out: out}
	k.mu.Lock()
	if k.closed || k.faults.Cut {
		k.mu.Unlock()
		p.end()
		return
	}
	k.conns[p] = true
	k.counts.Conns++
	k.mu.Unlock()
	var ways sync.WaitGroup
	answers := &writer{w: in}
	ways.Go(func() { k.pass(p, in, &writer{w: out}, answers, true) })
	ways.Go(func() { k.pass(p, out, answers, nil, false) })
	ways.Wait()
	k.mu.Lock()
	delete(k.conns, p)
	k.mu.Unlock()
}

// writer is one end to which both ways may write.
type writer struct {
	mu sync.Mutex
	w  io.Writer
}

func (w *writer) write(b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.w.Write(b)
	return err
}

// piece is something on its way.
type piece struct {
	Frame
	due time.Time
}

// pass passes one way of a connection until either end closes it, then closes
// both. back is where the client hears answers.
func (k *Link) pass(p *pair, from io.Reader, to, back *writer, queries bool) {
	defer p.end()
	way := make(chan piece, 1024)
	var ended sync.WaitGroup
	ended.Go(func() {
		failed := false
		for x := range way {
			if failed = failed || !k.forward(p, x, to, back, queries); failed {
				p.end() // and drain, so that the reader is not stuck
			}
		}
	})
	read := k.reader(p, from, queries)
	for {
		f, err := read()
		if err != nil {
			break
		}
		k.mu.Lock()
		delay, watch := k.faults.Delay, k.watch
		k.counts.Bytes += int64(len(f.Raw))
		k.mu.Unlock()
		if watch != nil && queries {
			watch(len(f.Raw))
		}
		x := piece{Frame: f}
		if delay > 0 {
			x.due = time.Now().Add(delay)
		}
		way <- x
	}
	close(way)
	ended.Wait()
}

var serverName = regexp.MustCompile(`"server_name":"([^"]+)"`)

// reader returns what reads the next piece.
func (k *Link) reader(p *pair, from io.Reader, queries bool) func() (Frame, error) {
	if k.o.NATS {
		r := bufio.NewReaderSize(from, 64<<10)
		return func() (Frame, error) { return ReadFrame(r) }
	}
	buf := make([]byte, 64<<10)
	seen := 0
	return func() (Frame, error) {
		n, err := from.Read(buf)
		if n == 0 {
			return Frame{}, err
		}
		f := Frame{Raw: bytes.Clone(buf[:n])}
		if k.o.Route && queries && seen < 1<<20 {
			seen += n
			if m := serverName.FindSubmatch(f.Raw); m != nil {
				k.named(p, string(m[1]))
			}
		}
		return f, nil
	}
}

// named learns which server has opened a route.
func (k *Link) named(p *pair, name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p.from = name
	if k.alone[name] {
		k.cut(p)
	}
}

// forward passes one piece when its time has come. It reports false when the
// connection is at its end.
func (k *Link) forward(p *pair, x piece, to, back *writer, queries bool) bool {
	f, ok := k.wait(p, x, queries)
	if !ok {
		return false
	}
	switch {
	case f.LoseAcks && x.isAck():
		k.count(func(c *Counts) { c.AcksLost++ })
		return true
	case f.Lie != "" && x.Op == Publish && len(x.Reply) > 0 && bytes.HasPrefix(x.Subject, []byte(f.Lie)) && k.lie():
		return k.acknowledge(p, x, back) == nil
	case queries && x.Op == Other:
		p.heard(x.Raw)
	}
	if to.write(x.Raw) != nil {
		return false
	}
	if f.Duplicate && x.mayRepeat() {
		k.count(func(c *Counts) { c.Duplicated++ })
		return to.write(x.Raw) == nil
	}
	return true
}

// wait waits until a piece may pass, and says what is to be done to it.
func (k *Link) wait(p *pair, x piece, queries bool) (Faults, bool) {
	if d := time.Until(x.due); !x.due.IsZero() && d > 0 {
		time.Sleep(d)
	}
	held := false
	for {
		k.mu.Lock()
		f, changed, ended := k.faults, k.changed, p.ours
		if !held && (queries && f.HoldQueries || !queries && f.HoldAnswers) {
			held = true
			k.counts.Held++
		}
		k.mu.Unlock()
		if ended {
			return f, false
		}
		if !(queries && f.HoldQueries || !queries && f.HoldAnswers) {
			return f, true
		}
		<-changed
	}
}

// lie takes one of the lies still to be told.
func (k *Link) lie() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lies == 0 {
		return false
	}
	k.lies--
	k.counts.Lies++
	return true
}

// heard remembers where the client listens for answers.
func (p *pair) heard(line []byte) {
	w := strings.Fields(string(line))
	if len(w) < 3 || !strings.EqualFold(w[0], "SUB") || !strings.HasPrefix(w[1], "_INBOX.") {
		return
	}
	if p.inboxes == nil {
		p.inboxes = map[string]string{}
	}
	p.inboxes[strings.TrimSuffix(w[1], "*")] = w[len(w)-1]
}

// acknowledge tells a publisher that its message is stored, which it is not.
func (k *Link) acknowledge(p *pair, x piece, back *writer) error {
	for inbox, sid := range p.inboxes {
		if strings.HasPrefix(string(x.Reply), inbox) {
			const ack = `{"stream":"HUOMA_EVENTS","seq":1}`
			return back.write(fmt.Appendf(nil, "MSG %s %s %d\r\n%s\r\n", x.Reply, sid, len(ack), ack))
		}
	}
	return fmt.Errorf("nobody listens at %s", x.Reply)
}

func (k *Link) count(f func(*Counts)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f(&k.counts)
}
