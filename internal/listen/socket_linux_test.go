package listen_test

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/listen"
)

// A peer that is gone without a word is noticed within Vanished, whether it owes an answer to a probe or the receipt of bytes.
func TestAcceptedSocketsNoticeAVanishedPeer(t *testing.T) {
	ln, err := listen.Listen("127.0.0.1:0", listen.Limits{Vanished: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	read := func(level, option int) (v int) {
		t.Helper()
		var inner error
		if err := raw.Control(func(fd uintptr) { v, inner = syscall.GetsockoptInt(int(fd), level, option) }); err != nil || inner != nil {
			t.Fatal(err, inner)
		}
		return v
	}
	const userTimeout = 18
	if read(syscall.SOL_SOCKET, syscall.SO_KEEPALIVE) != 1 {
		t.Error("no probes are sent")
	}
	idle, interval, count := read(syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE), read(syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL), read(syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT)
	if got := idle + interval*count; got != 30 {
		t.Errorf("a silent peer is dropped after %d + %d × %d = %d s, want 30", idle, interval, count, got)
	}
	if got := read(syscall.IPPROTO_TCP, userTimeout); got != 30_000 {
		t.Errorf("bytes may be unacknowledged for %d ms, want 30000", got)
	}
}
