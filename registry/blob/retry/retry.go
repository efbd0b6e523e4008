// Package retry makes requests to a server again that failed for a reason that may pass.
// It is the only layer that does so: stores on servers stand on it, and whoever uses them
// needs no loop of their own.
package retry

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	// defaultAttempts with pauses that double from a fifth of a second outlast some ten
	// seconds without an answer.
	defaultAttempts = 7
	firstPause      = 200 * time.Millisecond
	longestPause    = 20 * time.Second
	// longestAsked bounds the pause that a server asks for.
	longestAsked = time.Minute
)

// Policy says which requests are made again, and how often.
type Policy struct {
	Attempts int // tries of one request; 0 for the default

	// Passes reports whether a request that ended with this error may succeed when it is
	// made again as it is.
	Passes func(error) bool
	// Asked returns the pause that the server asks for with an error, or 0.
	Asked func(error) time.Duration
	// Slow is told of each such failure: whoever asks for less then is served sooner. nil
	// tells nobody.
	Slow func()
}

func (p Policy) attempts() int {
	if p.Attempts > 0 {
		return p.Attempts
	}
	return defaultAttempts
}

// Do makes a request, and makes it again after a pause when it failed for a reason that
// may pass. A pause is random, so that clients that were turned away together do not come
// back together, unless the server asks for a longer one.
func (p Policy) Do(ctx context.Context, request func(context.Context) error) error {
	pauses := newPauses()
	for attempt := 1; ; attempt++ {
		err := request(ctx)
		if err == nil || ctx.Err() != nil || attempt >= p.attempts() || !p.Passes(err) {
			return err
		}
		if p.Slow != nil {
			p.Slow()
		}
		if pause(ctx, max(pauses.NextBackOff(), p.Asked(err))) != nil {
			return err
		}
	}
}

// Reader returns a reader of body that, when the connection is cut, goes on where it was:
// reopen opens what lies behind the bytes that were read.
func (p Policy) Reader(ctx context.Context, body io.ReadCloser, reopen func(read int64) (io.ReadCloser, error)) io.ReadCloser {
	r := &reader{body: body, reopen: reopen, pauses: newPauses()}
	r.again = func() bool {
		r.failed++
		if p.Slow != nil {
			p.Slow()
		}
		return ctx.Err() == nil && r.failed < p.attempts() && pause(ctx, r.pauses.NextBackOff()) == nil
	}
	return r
}

type reader struct {
	body   io.ReadCloser
	reopen func(read int64) (io.ReadCloser, error)
	again  func() bool // pauses
	pauses *backoff.ExponentialBackOff
	read   int64
	failed int   // attempts since the last byte
	err    error // that ended the reading
}

func (r *reader) Read(p []byte) (int, error) {
	for r.err == nil {
		n, err := r.body.Read(p)
		if n > 0 {
			r.read += int64(n)
			r.failed = 0
			r.pauses.Reset()
		}
		if err != nil && !errors.Is(err, io.EOF) && r.again() {
			_ = r.body.Close() // it is broken already
			r.body = http.NoBody
			var body io.ReadCloser
			if body, err = r.reopen(r.read); err == nil {
				r.body = body
			}
		}
		r.err = err
		if n > 0 {
			return n, nil
		}
	}
	return 0, r.err
}

func (r *reader) Close() error { return r.body.Close() }

func newPauses() *backoff.ExponentialBackOff {
	b := &backoff.ExponentialBackOff{
		InitialInterval: firstPause, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: longestPause,
	}
	b.Reset()
	return b
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// After returns the pause that an answer asks for in Retry-After; 0 when it does not.
func After(header http.Header) time.Duration {
	text := header.Get("Retry-After")
	seconds, err := strconv.Atoi(text)
	if err != nil {
		at, err := http.ParseTime(text)
		if err != nil {
			return 0
		}
		return min(max(time.Until(at), 0), longestAsked)
	}
	return min(time.Duration(max(seconds, 0))*time.Second, longestAsked)
}

// Busy reports whether a status of HTTP says that the server may answer later.
func Busy(status int) bool {
	return slices.Contains([]int{
		http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
	}, status)
}

// Unreachable reports whether err is a connection that failed, rather than an answer or
// something that no repetition mends.
func Unreachable(err error) bool {
	var name *net.DNSError
	if errors.As(err, &name) && name.IsNotFound {
		return false
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return false
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return false // nobody is there: more often a wrong address than a server that starts
	}
	var network net.Error
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.As(err, &network)
}
