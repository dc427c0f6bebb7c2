package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/huoma/huoma/internal/token"
)

// loadSpec says what the load client does.
type loadSpec struct {
	Addr        string
	Tokens      string        // file of tokens, token.Length bytes each
	Connections int           // each asks again as soon as it is answered
	Warm        time.Duration // before measuring begins
	Measure     time.Duration
	Rate        int    // requests a second in all; 0: as many as there can be
	Seed        uint64 // of the visitors; no two clients of a log share one
}

// loadResult is what came of it. All requests were answered 302.
type loadResult struct {
	Requests int     `json:"requests"` // in all
	Measured int     `json:"measured"` // of them, answered while measured
	Rate     float64 `json:"rate"`     // of those, a second
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	CPU      float64 `json:"cpu_s"` // the client's, for all requests
}

// The requests are those of a phone that was here before: each of a visitor
// of its own, so that no rule locks anybody. What changes from one to the next
// is the token and the cookie, which are written over in place.
const (
	requestHead = "GET /s/"
	requestMid  = " HTTP/1.1\r\nHost: qr.example.com\r\n" +
		"User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.49(0x18003137) NetType/WIFI Language/zh_CN\r\n" +
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: zh-CN,zh-Hans;q=0.9\r\nAccept-Encoding: gzip, deflate\r\nCookie: hm_v="
	requestTail  = "\r\n\r\n"
	cookieLength = 22
)

// load asks on so many connections until the time is up. An error, or any
// answer but a redirect, fails it.
func load(s loadSpec) (loadResult, error) {
	tokens, err := os.ReadFile(s.Tokens)
	if err != nil {
		return loadResult{}, err
	}
	if len(tokens) < token.Length {
		return loadResult{}, fmt.Errorf("%s holds no tokens", s.Tokens)
	}
	callers := make([]*caller, s.Connections)
	for i := range callers {
		conn, err := net.Dial("tcp", s.Addr)
		if err != nil {
			return loadResult{}, err
		}
		defer conn.Close()
		callers[i] = newCaller(conn, tokens, s.Seed+uint64(i))
	}
	begun := time.Now()
	from, until := begun.Add(s.Warm), begun.Add(s.Warm+s.Measure)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for i, c := range callers {
		c.from, c.until, c.stop = from, until, &stop
		if s.Rate > 0 {
			c.every = time.Duration(s.Connections) * time.Second / time.Duration(s.Rate)
			c.next = begun.Add(c.every * time.Duration(i) / time.Duration(s.Connections))
		}
		wg.Go(c.run)
	}
	wg.Wait()
	var r loadResult
	var took []int32
	for _, c := range callers {
		if c.err != nil {
			return r, c.err
		}
		r.Requests += c.requests
		took = append(took, c.took...)
	}
	if len(took) == 0 {
		return r, fmt.Errorf("not one of %d requests was answered within the time measured", r.Requests)
	}
	r.Measured, r.Rate = len(took), float64(len(took))/s.Measure.Seconds()
	slices.Sort(took)
	r.P50, r.P99 = float64(percentile(took, 50))/1000, float64(percentile(took, 99))/1000
	r.CPU = ownCPU()
	return r, nil
}

// percentile is the nearest-rank p-th percentile of a sorted list.
func percentile[T any](sorted []T, p int) T { return sorted[(len(sorted)*p+99)/100-1] }

// caller is one connection.
type caller struct {
	conn    net.Conn
	tokens  []byte
	request []byte
	answer  []byte
	random  *rand.PCG

	from, until time.Time
	every       time.Duration // 0: at once
	next        time.Time
	stop        *atomic.Bool

	requests int
	took     []int32 // microseconds, of answers between from and until
	err      error
}

func newCaller(conn net.Conn, tokens []byte, seed uint64) *caller {
	c := &caller{conn: conn, tokens: tokens, random: rand.NewPCG(seed, 0x9e3779b97f4a7c15), answer: make([]byte, 4<<10), took: make([]int32, 0, 1<<14)}
	c.request = append(c.request, requestHead...)
	c.request = append(c.request, tokens[:token.Length]...)
	c.request = append(c.request, requestMid...)
	c.request = append(c.request, make([]byte, cookieLength)...)
	c.request = append(c.request, requestTail...)
	return c
}

func (c *caller) run() {
	for !c.stop.Load() {
		if c.every > 0 {
			time.Sleep(time.Until(c.next))
			c.next = c.next.Add(c.every)
		}
		asked := time.Now()
		if !asked.Before(c.until) {
			return
		}
		if c.err = c.once(); c.err != nil {
			c.stop.Store(true)
			return
		}
		c.requests++
		if now := time.Now(); now.After(c.from) && now.Before(c.until) {
			c.took = append(c.took, int32(now.Sub(asked).Microseconds()))
		}
	}
}

// once asks for a code drawn by chance, as a visitor never seen before.
func (c *caller) once() error {
	n := len(c.tokens) / token.Length
	i := int(c.random.Uint64() % uint64(n))
	copy(c.request[len(requestHead):], c.tokens[i*token.Length:(i+1)*token.Length])
	var visitor [16]byte
	binary.LittleEndian.PutUint64(visitor[:8], c.random.Uint64())
	binary.LittleEndian.PutUint64(visitor[8:], c.random.Uint64())
	cookie := c.request[len(c.request)-len(requestTail)-cookieLength:]
	base64.RawURLEncoding.Encode(cookie[:cookieLength], visitor[:])
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	return c.read()
}

var (
	found         = []byte("HTTP/1.1 302 ")
	endOfHeader   = []byte("\r\n\r\n")
	contentLength = []byte("\r\nContent-Length: ")
)

// read reads one answer, which must be a redirect.
func (c *caller) read() error {
	have, need := 0, 0
	for {
		n, err := c.conn.Read(c.answer[have:])
		have += n
		if err != nil {
			return fmt.Errorf("the connection ended within an answer: %w", err)
		}
		if need == 0 {
			end := bytes.Index(c.answer[:have], endOfHeader)
			if end < 0 {
				if have == len(c.answer) {
					return fmt.Errorf("an answer's header has more than %d bytes", have)
				}
				continue
			}
			head := c.answer[:end+2]
			if !bytes.HasPrefix(head, found) {
				line, _, _ := bytes.Cut(head, []byte("\r\n"))
				return fmt.Errorf("answered %q instead of a redirect", line)
			}
			_, rest, ok := bytes.Cut(head, contentLength)
			if !ok {
				return fmt.Errorf("an answer without Content-Length")
			}
			digits, _, _ := bytes.Cut(rest, []byte("\r\n"))
			size, err := strconv.Atoi(string(digits))
			if err != nil || end+len(endOfHeader)+size > len(c.answer) {
				return fmt.Errorf("an answer with Content-Length %q", digits)
			}
			need = end + len(endOfHeader) + size
		}
		if have > need {
			return fmt.Errorf("an answer of %d bytes has %d", need, have)
		}
		if have == need {
			return nil
		}
	}
}
