package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/events"
)

// taskResult is what a task that moves things came to.
type taskResult struct {
	N    int     `json:"n"`
	Took float64 `json:"took_s"`
	CPU  float64 `json:"cpu_s"` // the task's own while it took
}

func (r taskResult) rate() float64 { return float64(r.N) / r.Took }

// timed measures do, which returns how many things it moved.
func timed(do func() (int, error)) (taskResult, error) {
	begun, before := time.Now(), ownCPU()
	n, err := do()
	return taskResult{N: n, Took: time.Since(begun).Seconds(), CPU: ownCPU() - before}, err
}

// publishSpec says what a producer publishes.
type publishSpec struct {
	URL    string
	Bare   string // "": to the log; else to this subject and a code below it
	Codes  int
	First  int // number of the first scan
	Events int
}

// publish publishes scans without waiting for each, as a producer in a hurry.
func publish(s publishSpec) (taskResult, error) {
	b, err := dial(s.URL)
	if err != nil {
		return taskResult{}, err
	}
	defer b.close()
	at := stamp()
	return timed(func() (int, error) {
		out := batch{js: b.js}
		for i := s.First; i < s.First+s.Events; i++ {
			code := codeID(i % s.Codes).String()
			m := producerMessage(code, i, appendScan(nil, single, code, i, at))
			if s.Bare != "" {
				m.Subject = s.Bare + "." + code
			}
			if err := out.add(m); err != nil {
				return 0, err
			}
		}
		return s.Events, out.flush()
	})
}

// postSpec says what a producer posts.
type postSpec struct {
	Addr        string
	Codes       int
	First       int
	Events      int
	Batch       int // events a request
	Connections int
}

// post posts scans to /v1/events, batch after batch.
func post(s postSpec) (taskResult, error) {
	at := stamp()
	bodies := make(chan []byte)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: s.Connections}}
	send := func(body []byte) error {
		req, err := http.NewRequest(http.MethodPost, "http://"+s.Addr+"/v1/events", bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", events.ContentTypeBatch)
		req.Header.Set("Authorization", "Bearer "+apiKey)
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusAccepted {
			err = fmt.Errorf("POST /v1/events: %s: %s", resp.Status, answer)
		}
		return err
	}
	return timed(func() (int, error) {
		var wg sync.WaitGroup
		errs := make(chan error, s.Connections)
		for range s.Connections {
			wg.Go(func() {
				for body := range bodies {
					if err := send(body); err != nil {
						errs <- err
						return
					}
				}
			})
		}
		var err error
		for i := 0; i < s.Events && err == nil; i += s.Batch {
			body := []byte{'['}
			for k := range min(s.Batch, s.Events-i) {
				if k > 0 {
					body = append(body, ',')
				}
				n := s.First + i + k
				body = appendScan(body, single, codeID(n%s.Codes).String(), n, at)
			}
			select {
			case bodies <- append(body, ']'):
			case err = <-errs:
			}
		}
		close(bodies)
		wg.Wait()
		close(errs)
		if err == nil {
			err = <-errs
		}
		return s.Events, err
	})
}

// fetchSpec says what is fetched.
type fetchSpec struct {
	URL      string
	Messages int // how many the stream has
}

// fetchResult is taskResult with what proves that the messages were there.
type fetchResult struct {
	taskResult
	Bytes int  `json:"bytes"`
	Sum   byte `json:"sum"` // of what was looked at
}

// fetch pulls the whole log through a durable consumer of its own, with the
// scan worker's options, looks at every page of every message, and
// acknowledges as the worker does.
func fetch(s fetchSpec) (r fetchResult, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), answersWithin)
	defer cancel()
	b, err := dial(s.URL)
	if err != nil {
		return r, err
	}
	defer b.close()
	c, err := b.js.CreateConsumer(ctx, events.StreamEvents, jetstream.ConsumerConfig{
		Durable: "bare", DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckAllPolicy, MaxAckPending: -1,
		FilterSubjects: []string{events.PartitionFilter(0), events.SubjectIn},
	})
	if err != nil {
		return r, err
	}
	r.taskResult, err = timed(func() (int, error) {
		// A heartbeat of half a minute: on two busy cores the server may not come to send one of a second.
		list, err := c.Messages(jetstream.PullMaxMessagesWithBytesLimit(fetchMessages, fetchBytes), jetstream.PullExpiry(time.Minute))
		if err != nil {
			return 0, err
		}
		defer list.Stop()
		for n := 1; ; n++ {
			m, err := list.Next(jetstream.NextContext(ctx))
			if err != nil {
				return n, err
			}
			data := m.Data()
			for i := 0; i < len(data); i += 64 {
				r.Sum ^= data[i]
			}
			r.Bytes += len(data)
			if n%fetchMessages == 0 || n == s.Messages {
				if err := m.Ack(); err != nil {
					return n, err
				}
			}
			if n == s.Messages {
				return n, b.nc.Flush()
			}
		}
	})
	if err != nil {
		return r, err
	}
	return r, b.js.DeleteConsumer(ctx, events.StreamEvents, "bare")
}

// fetchMessages is natsjs.DefaultRunMessages: what a scan worker asks for at once.
const fetchMessages = 4096

// fetchBytes bounds what is on its way, as natsjs.DefaultRunBytes does: more than the server keeps for a connection, and it closes it.
const fetchBytes = 8 << 20
