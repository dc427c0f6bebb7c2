package allinone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Bounds of the wait for everything to answer.
const (
	answerWithin = 2 * time.Minute
	answerEvery  = 20 * time.Millisecond
)

// answering waits until the gateway says it is ready and so do the workers.
func answering(ctx context.Context, gateway string, workers ...func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	tick := time.NewTicker(answerEvery)
	defer tick.Stop()
	for {
		err := ready(ctx, gateway)
		for _, w := range workers {
			if !w() {
				err = errors.New("a worker is still starting")
			}
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil
			}
			return fmt.Errorf("not everything answers after %s: %w: the log says why", answerWithin, err)
		case <-tick.C:
		}
	}
}

func ready(ctx context.Context, gateway string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, gateway+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // so that the connection is used again
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the gateway answers %s", resp.Status)
	}
	return nil
}
