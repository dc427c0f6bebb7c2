package procs

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"
)

// freePorts finds n ports that nobody listens on, below those that systems
// give to outgoing connections: a process that is away finds its own again.
func freePorts(n int) ([]int, error) {
	for range 200 {
		first := 10000 + rand.IntN(400)*50
		var list []int
		for p := first; p < first+n; p++ {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
			if err != nil {
				break
			}
			_ = l.Close()
			list = append(list, p)
		}
		if len(list) == n {
			return list, nil
		}
	}
	return nil, fmt.Errorf("no %d free ports in a row were found on 127.0.0.1", n)
}

var prober = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Second}

// Probe asks a health check. The error says what it answered instead of 200.
func Probe(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := prober.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it says %d: %s", resp.StatusCode, strings.Join(strings.Fields(string(b)), " "))
	}
	return nil
}
