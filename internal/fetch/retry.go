package fetch

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	// maxRetryAfter bounds how long a server can make a build wait before one retry.
	maxRetryAfter = 2 * time.Minute
	// progressForgives is how much must arrive between two failures for the count of
	// failures to start again: a 2 GB file over a bad line may break off many times,
	// while a server that sends a few bytes each time is given up.
	progressForgives = 1 << 20
)

// retry is the patience of one fetch, over all its requests.
type retry struct {
	attempts  int // failures allowed, the last one included
	failures  int
	mark      int64 // the offset at the last failure that was forgiven
	intervals *backoff.ExponentialBackOff
}

func newRetry(attempts int, first time.Duration) *retry {
	return &retry{attempts: attempts, intervals: &backoff.ExponentialBackOff{
		InitialInterval:     first,
		RandomizationFactor: backoff.DefaultRandomizationFactor,
		Multiplier:          2,
		MaxInterval:         30 * time.Second,
	}}
}

// after waits and returns nil when another attempt is worth it after err, and
// otherwise returns the error to give up with. offset is how far the fetch has come.
func (r *retry) after(ctx context.Context, err error, offset int64) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !Temporary(err) {
		return err
	}
	if offset-r.mark >= progressForgives {
		r.failures, r.mark = 0, offset
		r.intervals.Reset()
	}
	if r.failures++; r.failures >= r.attempts {
		return err
	}
	// Never earlier than the server asked, and not all requests at the same moment.
	wait := r.intervals.NextBackOff()
	if status, ok := errors.AsType[*StatusError](err); ok {
		wait += status.RetryAfter
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// retryAfter reads a Retry-After header, a number of seconds or a date, relative to
// now. The result lies between 0 and maxRetryAfter; what cannot be read is 0.
func retryAfter(header string, now time.Time) time.Duration {
	header = strings.TrimSpace(header)
	var wait time.Duration
	if seconds, err := strconv.ParseUint(header, 10, 64); err == nil {
		wait = time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	} else if errors.Is(err, strconv.ErrRange) {
		wait = maxRetryAfter
	} else if date, err := http.ParseTime(header); err == nil {
		wait = date.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}
