package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"time"
)

var (
	// ErrTooLarge says that there are more bytes at a URL than Want.Limit allows.
	ErrTooLarge = errors.New("more bytes than allowed")
	// ErrURL says that a string is no URL or path that a Client can read.
	ErrURL = errors.New("unusable URL")
	// ErrRedirects says that a server redirected too often.
	ErrRedirects = errors.New("too many redirects")
	// ErrChanged says that the bytes at a URL changed while they were read in several
	// pieces.
	ErrChanged = errors.New("content changed while it was read")
	// ErrMirror says that the folder of a mirror cannot be read, which is no answer about
	// the URLs that it stands for.
	ErrMirror = errors.New("mirror folder")
	// ErrTimeout says that a server did not answer, or went on answering too slowly.
	ErrTimeout = errors.New("timed out")
)

// errBadRange says that a server answered a request for a range with something else.
// The next attempt asks for everything.
var errBadRange = errors.New("server mishandles ranges")

// Error is how a fetch ended without the wanted content. What Err is, and whether it is
// worth asking again, the other errors of this package tell.
type Error struct {
	URL      string // as the caller gave it
	Err      error
	Attempts int // how often it was asked for; 0 when that was not tried
}

func (e *Error) Error() string { return "fetch " + e.URL + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// StatusError is an answer that is not the content. A file that a mirror folder does
// not have is a StatusError too, with code 404.
type StatusError struct {
	Code       int
	RetryAfter time.Duration // how long the server asks to wait; 0 when it does not say
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%d %s", e.Code, http.StatusText(e.Code))
}

// MismatchError says that complete content is not the wanted content.
type MismatchError struct {
	What      string // size, SHA-256 or MD5
	Want, Got string // decimal or hexadecimal
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s: want %s, got %s", e.What, e.Want, e.Got)
}

// OptOutError says that the owner of a URL does not want what is there to be taken.
type OptOutError struct{ Directive string }

func (e *OptOutError) Error() string { return "its owner opts out (X-Robots-Tag: " + e.Directive + ")" }

// NoAnswerError says that a request got no answer at all: no such host, no route, no
// connection, no handshake, or silence.
type NoAnswerError struct{ Err error }

func (e *NoAnswerError) Error() string { return "no answer: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *NoAnswerError) Unwrap() error { return e.Err }

// CutError says that an answer broke off.
type CutError struct {
	Offset int64 // how many bytes had arrived
	Err    error
}

func (e *CutError) Error() string { return fmt.Sprintf("cut after %d bytes: %v", e.Offset, e.Err) }

// Unwrap returns the cause.
func (e *CutError) Unwrap() error { return e.Err }

// Definite reports whether err is an answer about the URL itself, which asking again
// will not change: gone, forbidden, too large, other content. Everything else (no
// network, an overloaded server, a full disk) says nothing about the URL.
func Definite(err error) bool {
	if errors.Is(err, ErrMirror) {
		return false
	}
	if status, ok := errors.AsType[*StatusError](err); ok {
		// A proxy that wants a password has not asked the server.
		return !overload(status.Code) && status.Code != http.StatusProxyAuthRequired
	}
	if _, ok := errors.AsType[*MismatchError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*OptOutError](err); ok {
		return true
	}
	return errors.Is(err, ErrTooLarge) || errors.Is(err, ErrURL) || errors.Is(err, ErrRedirects) ||
		errors.Is(err, fs.ErrNotExist)
}

// Temporary reports whether the same request may well succeed in a moment. It is the
// one place that knows what is retried.
func Temporary(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	if status, ok := errors.AsType[*StatusError](err); ok {
		return overload(status.Code)
	}
	if _, ok := errors.AsType[*NoAnswerError](err); ok {
		if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
			return false
		}
		_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
		return !untrusted
	}
	_, cut := errors.AsType[*CutError](err)
	return cut || errors.Is(err, errBadRange)
}

// overload reports whether an HTTP status speaks of the server's state rather than of
// the resource.
func overload(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	}
	return code >= http.StatusInternalServerError
}
