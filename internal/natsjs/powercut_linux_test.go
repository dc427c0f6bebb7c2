package natsjs

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/powercut"
)

// promises are everything a NATS has acknowledged, by kind and content.
type promises struct {
	mu    sync.Mutex
	kept  map[string]bool // acknowledged
	last  map[string]int  // newest value acknowledged of what has one value, by kind
	count int
	want  int // closes enough
	done  chan struct{}
}

func newPromises(want int) *promises {
	return &promises{kept: map[string]bool{}, last: map[string]int{}, want: want, done: make(chan struct{})}
}

func (p *promises) add(kind, content string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept[kind+" "+content] = true
	p.counted()
}

// set is add for what replaces the one before.
func (p *promises) set(kind string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last[kind] = n
	p.counted()
}

func (p *promises) counted() {
	if p.count++; p.count == p.want {
		close(p.done)
	}
}

// most is how many a round publishes of a kind, at most.
const most = 1_000_000

// load publishes as all roles do until ctx ends: a gateway's records, producers' events, commit records, definitions, manifests, dead letters.
// round makes what it publishes different from other rounds'.
func (p *promises) load(ctx context.Context, t testing.TB, c *Conn, round int) {
	var wg sync.WaitGroup
	loop := func(f func(i int) error) {
		wg.Go(func() {
			for i := 1; ctx.Err() == nil; i++ {
				if err := f(i); err != nil && ctx.Err() == nil {
					t.Errorf("before the cut: %v", err)
					return
				}
			}
		})
	}
	name := func(kind string, i int) string { return fmt.Sprintf("%s-%d-%d", kind, round, i) }
	for g := range 2 {
		loop(func(i int) error {
			body := name("record"+strconv.Itoa(g), i)
			size := 1000 + i%3000
			if i%9 == 0 {
				size = 300_000 // so that blocks get full
			}
			r := events.Record{Partition: g, Payload: append([]byte(body), bytes.Repeat([]byte("."), size)...), Producer: name("gw"+strconv.Itoa(g), 0), Number: uint64(i)}
			err := c.AppendRecords(ctx, []events.Record{r})
			if err == nil {
				p.add("event", body)
			}
			return err
		})
	}
	loop(func(i int) error {
		body := name("producer", i)
		m := &nats.Msg{Subject: events.InSubject("scan", "code"+strconv.Itoa(i)), Header: nats.Header{events.HeaderMsgID: {body}}, Data: []byte(body)}
		_, err := c.js.PublishMsg(ctx, m)
		if err == nil {
			p.add("event", body)
		}
		return err
	})
	var last uint64
	if _, seq, err := c.LastCommit(ctx, 0); err == nil {
		last = seq
	}
	loop(func(i int) error {
		body := name("commit", i)
		seq, err := c.AppendCommit(ctx, 0, last, []byte(body))
		if err == nil {
			last = seq
			p.add("commit", body)
		}
		return err
	})
	loop(func(i int) error {
		id := name("code", i)
		_, err := c.CreateDefinition(ctx, id, []byte(id))
		if err == nil {
			p.add("definition", id)
		}
		return err
	})
	loop(func(i int) error {
		err := c.DeadLetter(ctx, []events.DeadLetter{{Partition: round, Seq: uint64(i), Data: []byte("x"), Reason: "malformed_json"}})
		if err == nil {
			p.add("dead", fmt.Sprintf("%d/%d/0", round, i))
		}
		return err
	})
	rev := uint64(0)
	if _, r, err := c.Manifest(ctx, 0); err == nil {
		rev = r
	}
	loop(func(i int) (err error) {
		if rev, err = c.PutManifest(ctx, 0, strconv.AppendInt(nil, int64(round*most+i), 10), rev); err == nil {
			p.set("manifest", round*most+i)
		}
		return err
	})
	loop(func(i int) error {
		err := c.SaveSnapshot(ctx, 0, fmt.Appendf(nil, "%d %s", round*most+i, bytes.Repeat([]byte("s"), 600_000)))
		if err == nil {
			p.set("snapshot", round*most+i)
		}
		return err
	})
	wg.Wait()
}

// broken are the promises that a NATS does not keep, in order.
func (p *promises) broken(t testing.TB, c *Conn, partitions int) (list []string) {
	t.Helper()
	ctx := testContext(t)
	have := map[string]bool{}
	for n := range partitions {
		last, err := c.LastInput(ctx, n)
		if err != nil {
			t.Fatal(err)
		}
		err = c.Replay(ctx, n, 1, last, func(m events.Message) error {
			body, _, _ := bytes.Cut(m.Data, []byte("."))
			have["event "+string(body)] = true
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	all := func(stream string, fn func(*delivery)) {
		t.Helper()
		s, err := c.js.Stream(ctx, stream)
		if err != nil {
			t.Fatal(err)
		}
		if s.CachedInfo().State.Msgs == 0 {
			return
		}
		end := s.CachedInfo().State.LastSeq
		if err := c.follow(ctx, &feed{stream: stream, next: 1}, func(d *delivery) error {
			fn(d)
			if d.Seq >= end {
				return errDone
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	all(events.StreamDecisions, func(d *delivery) { have["commit "+string(d.Data)] = true })
	all(events.StreamDLQ, func(d *delivery) { have["dead "+nats.Header(d.Header).Get(events.HeaderPlace)] = true })
	all("KV_"+events.BucketCodes, func(d *delivery) { have["definition "+string(d.Data)] = true })
	newest := map[string]int{}
	if b, _, err := c.Manifest(ctx, 0); err == nil {
		newest["manifest"], _ = strconv.Atoi(string(b))
	}
	if b, err := c.LoadSnapshot(ctx, 0); err == nil {
		n, _, _ := strings.Cut(string(b), " ")
		newest["snapshot"], _ = strconv.Atoi(n)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, n := range p.last {
		if newest[k] < n {
			list = append(list, fmt.Sprintf("%s %d, there is %d", k, n, newest[k]))
		}
	}
	for k := range p.kept {
		if !have[k] {
			list = append(list, k)
		}
	}
	slices.Sort(list)
	return list
}

// under loads a NATS until it has acknowledged some more, calls cut amid the load, and returns when the load has ended.
func (p *promises) under(t *testing.T, c *Conn, round, more int, cut func(stop func())) {
	t.Helper()
	p.mu.Lock()
	p.want, p.done = p.count+more, make(chan struct{})
	done := p.done
	p.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { p.load(ctx, t, c, round) })
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("the load does not get on")
	}
	cut(cancel)
	cancel()
	wg.Wait()
}

// cutUnderLoad starts a NATS on a disk, loads it, cuts the power, and returns what it then no longer has of all it ever acknowledged.
func cutUnderLoad(t *testing.T, disk *powercut.Disk, p *promises, round int, rnd *rand.Rand, relaxed, torn bool) (broken []string, lost powercut.Lost) {
	t.Helper()
	o := brokerOptions{StoreDir: filepath.Join(disk.Dir, "nats"), Addr: "127.0.0.1:0", Relaxed: relaxed}
	b := startBroker(t, o)
	c := connect(t, b.URL)
	if _, err := c.Ensure(testContext(t), Config{Partitions: 2}); err != nil {
		t.Fatalf("round %d: %v", round, err)
	}
	p.under(t, c, round, 30+rnd.IntN(400), func(stop func()) {
		off := func() { stop(); b.kill() }
		if torn {
			lost = disk.CutTorn(rnd.Uint64(), off)
		} else {
			lost = disk.Cut(off)
		}
		b.wait()
	})
	b = startBroker(t, o)
	defer func() { b.kill(); b.wait() }()
	c = connect(t, b.URL)
	if _, err := c.Ensure(testContext(t), Config{Partitions: 2}); err != nil {
		t.Fatalf("round %d, after the cut: %v", round, err)
	}
	return p.broken(t, c, 2), lost
}

// Whatever moment the power goes, everything that the embedded NATS has acknowledged is there when it is back: by default.
func TestPowerCut(t *testing.T) {
	for _, torn := range []bool{false, true} {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("torn %v, seed %d", torn, seed), func(t *testing.T) {
				t.Parallel()
				rnd := rand.New(rand.NewPCG(seed, 7))
				disk := powercut.New(t, powercut.Journaled)
				p := newPromises(0)
				cut := int64(0)
				for round := range 8 {
					broken, lost := cutUnderLoad(t, disk, p, round+1, rnd, false, torn)
					cut += lost.Bytes
					if len(broken) > 0 {
						t.Fatalf("round %d: %d acknowledged are lost, such as %v", round, len(broken), broken[:min(len(broken), 10)])
					}
				}
				t.Logf("%d acknowledged, none lost; %d bytes were written and not synced", p.count, cut)
			})
		}
	}
}

// Without it they are not: what was acknowledged since the last interval is lost.
func TestPowerCutWithoutSync(t *testing.T) {
	t.Parallel()
	disk := powercut.New(t, powercut.Journaled)
	p := newPromises(0)
	broken, lost := cutUnderLoad(t, disk, p, 1, rand.New(rand.NewPCG(1, 1)), true, false)
	t.Logf("%d of %d acknowledged are lost; %+v", len(broken), p.count, lost)
	if len(broken) == 0 {
		t.Error("nothing is lost without syncing: the disk does not cut")
	}
}

// nodes are the three servers of a cluster, as processes.
type nodes struct {
	t       testing.TB
	options [3]brokerOptions
	run     [3]*broker
}

// newNodes makes a cluster whose servers keep what they have in dirs.
func newNodes(t testing.TB, dirs [3]string, relaxed bool) *nodes {
	t.Helper()
	n := &nodes{t: t}
	var routes []string
	var ports [3]int
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // no two get one port
		ports[i] = l.Addr().(*net.TCPAddr).Port
		routes = append(routes, "nats://"+l.Addr().String())
	}
	for i := range ports {
		n.options[i] = brokerOptions{StoreDir: dirs[i], Relaxed: relaxed, Name: "n" + strconv.Itoa(i), Port: ports[i], Routes: strings.Join(routes, ",")}
	}
	return n
}

// start runs those that do not, and returns a connection to all, once Huoma is installed there.
func (n *nodes) start() *Conn {
	n.t.Helper()
	var urls []string
	for i := range n.run {
		if n.run[i] == nil {
			n.run[i] = startBroker(n.t, n.options[i])
		}
		urls = append(urls, n.run[i].URL)
	}
	c := connect(n.t, strings.Join(urls, ","))
	ctx, cancel := context.WithTimeout(n.t.Context(), 2*time.Minute)
	defer cancel()
	for {
		if _, err := c.Ensure(ctx, Config{Partitions: 2, Replicas: 3}); err == nil {
			return c
		} else if !c.wait(ctx, 100*time.Millisecond) {
			n.t.Fatalf("the cluster is not ready: %v", err)
		}
	}
}

// kill ends some, without waiting, wait does that.
func (n *nodes) kill(list ...int) {
	for _, i := range list {
		n.run[i].kill()
	}
}

func (n *nodes) wait(list ...int) {
	for _, i := range list {
		n.run[i].wait()
		n.run[i] = nil
	}
}

// All three servers of a cluster lose power at once: with every write synced nothing is lost, with the server's interval it is.
func TestPowerCutOfACluster(t *testing.T) {
	for _, relaxed := range []bool{false, true} {
		t.Run(fmt.Sprintf("relaxed %v", relaxed), func(t *testing.T) {
			t.Parallel()
			disk := powercut.New(t, powercut.Journaled)
			n := newNodes(t, [3]string{filepath.Join(disk.Dir, "0"), filepath.Join(disk.Dir, "1"), filepath.Join(disk.Dir, "2")}, relaxed)
			rnd := rand.New(rand.NewPCG(3, 3))
			p := newPromises(0)
			var broken []string
			for round := range 2 {
				p.under(t, n.start(), round+1, 100+rnd.IntN(200), func(stop func()) {
					disk.Cut(func() { stop(); n.kill(0, 1, 2) })
					n.wait(0, 1, 2)
				})
				broken = p.broken(t, n.start(), 2)
				if relaxed {
					break
				}
			}
			t.Logf("%d of %d acknowledged are lost", len(broken), p.count)
			if relaxed != (len(broken) > 0) {
				t.Errorf("%d acknowledged are lost, such as %v", len(broken), broken[:min(len(broken), 10)])
			}
		})
	}
}

// One server of three that sync every write loses power, whichever: nothing is lost. (Without that, what the two of a majority had could be
// forgotten by one of them, which then helps the third to be the leader.)
func TestPowerCutOfOneNode(t *testing.T) {
	t.Parallel()
	var disks [3]*powercut.Disk
	var dirs [3]string
	for i := range disks {
		disks[i] = powercut.New(t, powercut.Journaled)
		dirs[i] = disks[i].Dir
	}
	n := newNodes(t, dirs, false)
	p := newPromises(0)
	for i := range disks {
		p.under(t, n.start(), i+1, 200, func(stop func()) {
			disks[i].Cut(func() { n.kill(i) })
			n.wait(i)
			stop()
		})
		if broken := p.broken(t, n.start(), 2); len(broken) > 0 {
			t.Fatalf("server %d: %d of %d acknowledged are lost, such as %v", i, len(broken), p.count, broken[:min(len(broken), 10)])
		}
	}
	t.Logf("%d acknowledged, none lost", p.count)
}
