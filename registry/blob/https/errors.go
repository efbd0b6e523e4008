package https

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"time"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/retry"
)

// Error is an answer of the server that is no success.
type Error struct {
	Op     string // get, stat, list
	URL    string // of the blob; where a redirect led to is not told
	Status int    // of HTTP
	pause  time.Duration
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s %s: HTTP %d %s", e.Op, e.URL, e.Status, http.StatusText(e.Status))
}

// redirectError is a redirect that is not followed.
type redirectError struct{ what string }

func (e *redirectError) Error() string { return e.what + " is not followed" }

// explain makes of an error of a request one that says what was done to which blob, and
// not where a redirect led to: such URLs are often signed.
func (s *Store) explain(ctx context.Context, op, key string, err error) error {
	at := s.at(key)
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%s %s: %w", op, at, cause)
	}
	var answer *Error
	if errors.As(err, &answer) {
		return &Error{Op: op, URL: at, Status: answer.Status}
	}
	for _, sentinel := range []error{fs.ErrNotExist, blob.ErrChanged} {
		if errors.Is(err, sentinel) {
			return fmt.Errorf("%s %s: %w", op, at, sentinel)
		}
	}
	var sent *url.Error
	if errors.As(err, &sent) {
		err = sent.Err
	}
	return fmt.Errorf("%s %s: %w", op, at, err)
}

// passes reports whether a request may succeed when it is made again as it is.
func passes(err error) bool {
	var answer *Error
	if errors.As(err, &answer) {
		return retry.Busy(answer.Status)
	}
	var redirect *redirectError
	if errors.As(err, &redirect) {
		return false
	}
	return retry.Unreachable(err)
}

// asked returns the pause that the server asks for.
func asked(err error) time.Duration {
	var answer *Error
	if errors.As(err, &answer) {
		return answer.pause
	}
	return 0
}
