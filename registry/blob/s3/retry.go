package s3

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

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
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

// retry makes a request, and makes it again after a pause when it failed for a reason
// that may pass. A pause is random, so that clients that were turned away together do
// not come back together, unless the server asks for a certain one.
func (s *Store) retry(ctx context.Context, request func(context.Context) error) error {
	pauses := newPauses()
	for attempt := 1; ; attempt++ {
		err := request(ctx)
		if err == nil || ctx.Err() != nil || attempt >= s.attempts() || !transient(err) {
			return err
		}
		if pause(ctx, max(pauses.NextBackOff(), asked(err))) != nil {
			return err
		}
	}
}

func (s *Store) attempts() int {
	if s.opts.Attempts > 0 {
		return s.opts.Attempts
	}
	return defaultAttempts
}

func newPauses() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval: firstPause, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: longestPause,
	}
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

// asked returns the pause that the server asks for in Retry-After.
func asked(err error) time.Duration {
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) || answer.Response == nil {
		return 0
	}
	text := answer.Response.Header.Get("Retry-After")
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

// transient reports whether a request may succeed when it is made again as it is.
func transient(err error) bool {
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) && answer.Response != nil && answer.Response.StatusCode >= 300 {
		var api smithy.APIError
		code := ""
		if errors.As(err, &api) {
			code = api.ErrorCode()
		}
		return slices.Contains([]int{408, 429, 500, 502, 503, 504}, answer.HTTPStatusCode()) ||
			slices.Contains([]string{"SlowDown", "RequestTimeout", "ConditionalRequestConflict", "OperationAborted", "InternalError"}, code)
	}
	return unreachable(err)
}

// unreachable reports whether err is a connection that failed, rather than an answer or
// something that no repetition mends.
func unreachable(err error) bool {
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
