package natsjs

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/huoma/huoma/internal/natsdev"
)

func TestMain(m *testing.M) {
	if how := os.Getenv(brokerEnv); how != "" {
		os.Exit(brokerMain(how))
	}
	os.Exit(m.Run())
}

// brokerEnv makes the test binary a NATS server: a process of its own, which a test may kill.
const brokerEnv = "HUOMA_TEST_BROKER"

// brokerOptions are what such a server is told.
type brokerOptions struct {
	StoreDir string
	Addr     string // host:port for clients; port 0 picks one
	Relaxed  bool   // the server's own interval of syncing: two minutes

	// Of a node of a cluster, which is a plain server.
	Name   string
	Port   int // for the other nodes
	Routes string
}

// brokerMain runs the server until its standard input ends.
func brokerMain(how string) int {
	var o brokerOptions
	err := json.Unmarshal([]byte(how), &o)
	var url string
	switch {
	case err != nil:
	case o.Name == "":
		var s *natsdev.Server
		if s, err = natsdev.Start(natsdev.Options{Addr: o.Addr, StoreDir: o.StoreDir, RelaxedSync: o.Relaxed, MaxStore: 4 << 30}); err == nil {
			url = s.URL()
		}
	default:
		url, err = node(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(url)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// node starts a plain server of a cluster.
func node(o brokerOptions) (url string, err error) {
	ns, err := server.NewServer(&server.Options{
		ServerName: o.Name, Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true, StoreDir: o.StoreDir, SyncAlways: !o.Relaxed,
		JetStreamMaxStore: 4 << 30, JetStreamMaxMemory: 64 << 20,
		Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: o.Port}, Routes: server.RoutesFromStr(o.Routes),
	})
	if err != nil {
		return "", err
	}
	ns.Start()
	if !ns.ReadyForConnections(30 * time.Second) {
		return "", fmt.Errorf("%s does not get ready", o.Name)
	}
	return "nats://" + ns.Addr().String(), nil
}

// broker is such a server, running.
type broker struct {
	URL string
	cmd *exec.Cmd
	in  io.Closer
}

// startBroker runs a server until it is killed or the test ends.
func startBroker(t testing.TB, o brokerOptions) *broker {
	t.Helper()
	how, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), brokerEnv+"="+string(how))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := &broker{cmd: cmd, in: in}
	t.Cleanup(func() { b.kill(); b.wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the server did not start: %v", err)
	}
	b.URL = strings.TrimSpace(line)
	return b
}

// kill ends the process as a power cut would. It does not wait.
func (b *broker) kill() { _ = b.cmd.Process.Kill() }

// wait returns when the process has ended.
func (b *broker) wait() {
	if b.cmd.ProcessState == nil {
		_ = b.cmd.Wait() // killed, as it should be
		_ = b.in.Close()
	}
}
