// Package importtest writes web servers' logs for the tests and measurements of imports: the same for the same seed.
package importtest

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// Log describes a log.
type Log struct {
	Seed   uint64
	Lines  int
	Tokens []string  // of the pictures that are scanned
	Start  time.Time // of the first line
	Span   time.Duration
}

// Truth is what is in a log.
type Truth struct {
	Scans   int            // requests that are scans
	Robots  int            // of them, those of robots and link previews
	ByToken map[string]int // of scans, by the place of the token
	Other   int            // lines that are something else
}

var agents = []string{
	"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.49(0x18003137) NetType/WIFI Language/zh_CN",
	"Mozilla/5.0 (Linux; Android 14; 2312DRA50C Build/UP1A.231005.007; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.6478.188 Mobile Safari/537.36 MicroMessenger/8.0.50",
	"Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
}

var robotAgents = []string{
	"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "WhatsApp/2.23.20.0 A", "curl/8.5.0", "-",
}

// Write writes a log in the combined format, in the order of time. One line in ten is no scan.
func (l Log) Write(w io.Writer) (Truth, error) {
	rng := rand.New(rand.NewPCG(l.Seed, 1))
	out := bufio.NewWriterSize(w, 1<<20)
	t := Truth{ByToken: make(map[string]int)}
	for i := range l.Lines {
		at := l.Start.Add(time.Duration(float64(l.Span) * float64(i) / float64(l.Lines))).UTC().Format("02/Jan/2006:15:04:05 -0700")
		visitor := rng.IntN(max(l.Lines/3, 1))
		address := fmt.Sprintf("203.%d.%d.%d", visitor>>16&0xff, visitor>>8&0xff, visitor&0xff)
		if visitor%11 == 0 {
			address = fmt.Sprintf("2001:db8:%x:%x::%x", visitor>>16, visitor&0xffff, 1+visitor%9)
		}
		agent := agents[visitor%len(agents)]
		if i%10 == 9 {
			t.Other++
			switch rng.IntN(4) {
			case 0:
				fmt.Fprintf(out, "%s - - [%s] \"GET /console HTTP/1.1\" 200 5123 \"-\" \"%s\"\n", address, at, agent)
			case 1:
				fmt.Fprintf(out, "%s - - [%s] \"HEAD /S/%s HTTP/1.1\" 200 0 \"-\" \"%s\"\n", address, at, l.Tokens[0], agent)
			case 2:
				fmt.Fprintf(out, "%s - - [%s] \"GET /S/%s HTTP/2.0\" 410 512 \"-\" \"%s\"\n", address, at, l.Tokens[0], agent)
			default:
				fmt.Fprintf(out, "%s - - [%s] \"\\x16\\x03\\x01\" 400 150 \"-\" \"-\"\n", address, at)
			}
			continue
		}
		t.Scans++
		if rng.IntN(50) == 0 {
			agent = robotAgents[rng.IntN(len(robotAgents))]
			t.Robots++
		}
		n := min(rng.IntN(len(l.Tokens)), rng.IntN(len(l.Tokens)))
		t.ByToken[l.Tokens[n]]++
		query, referrer := "", "-"
		if rng.IntN(4) == 0 {
			query = fmt.Sprintf("?utm_source=poster&utm_campaign=c%d", rng.IntN(5))
		}
		if rng.IntN(5) == 0 {
			referrer = fmt.Sprintf("https://www.example.com/page/%d", rng.IntN(100))
		}
		fmt.Fprintf(out, "%s - - [%s] \"GET /S/%s%s HTTP/2.0\" 302 0 \"%s\" \"%s\"\n", address, at, l.Tokens[n], query, referrer, agent)
	}
	return t, out.Flush()
}
