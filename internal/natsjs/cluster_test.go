package natsjs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/huoma/huoma/internal/events"
)

// cluster runs three plain servers with JetStream as one.
func cluster(t testing.TB) (servers []*server.Server, urls string) {
	t.Helper()
	for range 5 {
		if servers, urls = tryCluster(t); servers != nil {
			return servers, urls
		}
	}
	t.Fatal("three servers do not get ready")
	return nil, ""
}

// tryCluster is cluster on ports that are free now; servers is nil when
// somebody else has taken one meanwhile.
func tryCluster(t testing.TB) (servers []*server.Server, urls string) {
	t.Helper()
	ports := make([]int, 3)
	var routes, clients []string
	var held []net.Listener
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports[i] = l.Addr().(*net.TCPAddr).Port
		routes = append(routes, "nats://"+l.Addr().String())
		defer l.Close() // again, should we not come to the loop below
		held = append(held, l)
	}
	for _, l := range held { // all at once, or one port might be drawn twice
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	stop := func() {
		for _, ns := range servers {
			ns.Shutdown()
			ns.WaitForShutdown()
		}
	}
	for i := range ports {
		ns, err := server.NewServer(&server.Options{
			ServerName: "n" + strconv.Itoa(i), Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: ports[i]},
			Routes:  server.RoutesFromStr(strings.Join(routes, ",")),
		})
		if err != nil {
			t.Fatal(err)
		}
		ns.Start()
		servers = append(servers, ns)
	}
	for _, ns := range servers {
		if !ns.ReadyForConnections(10 * time.Second) {
			stop()
			return nil, ""
		}
		clients = append(clients, "nats://"+ns.Addr().String())
	}
	t.Cleanup(stop)
	eventually(t, 30*time.Second, "a leader of three", func() bool {
		for _, ns := range servers {
			if ns.JetStreamIsLeader() && len(ns.JetStreamClusterPeers()) == 3 {
				return true
			}
		}
		return false
	})
	return servers, strings.Join(clients, ",")
}

// On three servers with three replicas: the server that leads the partition's
// consumer goes away in the middle, and nothing is lost or repeated.
func TestClusterLosesAServer(t *testing.T) {
	t.Parallel()
	servers, urls := cluster(t)
	c := connect(t, urls)
	inst, err := c.Ensure(testContext(t), Config{Partitions: 1, Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	if inst.Replicas != 3 {
		t.Errorf("%d replicas", inst.Replicas)
	}
	const inputs = 2000
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	done := make(chan error, 2)
	for i := range 2 {
		wc := connect(t, urls)
		go func() { done <- work(ctx, wc, fmt.Sprint("worker", i), inputs) }()
	}
	for i := 1; i <= inputs; i += 20 {
		if i == inputs/2+1 {
			cons, err := c.js.Consumer(testContext(t), events.StreamEvents, "scan-0")
			if err != nil {
				t.Fatal(err)
			}
			leader := cons.CachedInfo().Cluster.Leader
			for _, ns := range servers {
				if ns.Name() == leader {
					ns.Shutdown()
				}
			}
		}
		appendRecords(t, c, 0, i, i+19)
	}
	if err := <-done; err != nil {
		t.Errorf("worker: %v", err)
	}
	cancel()
	<-done
	next, enough := 1, errors.New("enough")
	wantErr(t, c.Commits(testContext(t), 0, 0, func(p []byte, _ uint64) error {
		for _, in := range strings.Fields(string(p))[2:] {
			if in != string(record(0, next).Payload) {
				return fmt.Errorf("input %d: got %s", next, in)
			}
			next++
		}
		if next > inputs {
			return enough
		}
		return nil
	}), enough)
}
