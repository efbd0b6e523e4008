package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"slices"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/sandwich-build/sandwich/registry/blob"
)

// Error is an answer of the server that is no success.
type Error struct {
	Op      string // get, put, list, …
	Object  string // s3://bucket/key
	Status  int    // of HTTP
	Code    string // the server's word for it; "" where the answer had no body
	Message string
	Request string // the server's id of the request, for its operators
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s %s: HTTP %d", e.Op, e.Object, e.Status)
	if e.Code != "" {
		text += " " + e.Code
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.Request != "" {
		text += " (request " + e.Request + ")"
	}
	return text
}

// NoBucketError says that there is no such bucket.
type NoBucketError struct{ Bucket string }

func (e *NoBucketError) Error() string { return "there is no bucket " + e.Bucket }

// explain makes of an error of the SDK one that says what was done to which object, and
// holds nothing that should not be in a log: neither the URL of the request nor what the
// server says was signed.
func (s *Store) explain(ctx context.Context, op, key string, err error) error {
	if err == nil {
		return nil
	}
	object := s.String() + "/" + key
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%s %s: %w", op, object, cause)
	}
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) || answer.Response == nil {
		return fmt.Errorf("%s %s: %w", op, object, plain(err))
	}
	e := &Error{Op: op, Object: object, Status: answer.HTTPStatusCode(), Request: answer.Response.Header.Get("X-Amz-Request-Id")}
	var api smithy.APIError
	if errors.As(err, &api) {
		e.Code, e.Message = api.ErrorCode(), api.ErrorMessage()
	}
	if region := answer.Response.Header.Get("X-Amz-Bucket-Region"); region != "" && (e.Status == http.StatusMovedPermanently || e.Status == http.StatusBadRequest) {
		e.Message = "the bucket is in the region " + region
	}
	switch {
	case e.Code == "NoSuchBucket":
		return &NoBucketError{Bucket: s.bucket}
	case e.Status == http.StatusNotFound && slices.Contains(absent, e.Code):
		return fmt.Errorf("%s %s: %w", op, object, fs.ErrNotExist)
	case e.Status == http.StatusPreconditionFailed:
		return fmt.Errorf("%s %s: %w", op, object, blob.ErrChanged)
	case e.Status == http.StatusForbidden && errors.Is(err, errNoCredentials):
		return fmt.Errorf("%w; %w", e, errNoCredentials)
	case e.Status < http.StatusMultipleChoices:
		// The server agreed, and then its answer could not be read.
		return fmt.Errorf("%s %s: %w", op, object, plain(err))
	}
	return e
}

// plain returns the cause of an error without the URL that was asked.
func plain(err error) error {
	if errors.Is(err, errNoCredentials) {
		return err
	}
	var sent *url.Error
	if errors.As(err, &sent) {
		return sent.Err
	}
	var operation *smithy.OperationError
	if errors.As(err, &operation) {
		return operation.Err
	}
	return err
}

// located is a transport of answers that lead to a URL, if to anything: of what is none, the
// error of net/http would tell all.
type located struct{ http.RoundTripper }

func (l located) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(r)
	if err == nil {
		if _, err := resp.Location(); err != nil {
			resp.Header.Del("Location")
		}
	}
	return resp, err
}

// checkRedirect follows those redirects, as the SDK does, that keep the method.
func checkRedirect(next *http.Request, before []*http.Request) error {
	const most = 10
	keeps := next.Response.StatusCode == http.StatusTemporaryRedirect || next.Response.StatusCode == http.StatusPermanentRedirect
	if keeps && len(before) < most {
		return nil
	}
	return http.ErrUseLastResponse
}

// absent are the words for an object that is not there; the answer to HEAD has none.
var absent = []string{"", "NotFound", "NoSuchKey", "NoSuchVersion"}

// refused reports whether a request might be answered to somebody else, or to a stranger.
func refused(err error) bool {
	if isStatus(err, http.StatusForbidden) || isStatus(err, http.StatusUnauthorized) {
		return true
	}
	for _, code := range []string{"InvalidAccessKeyId", "InvalidToken", "ExpiredToken", "SignatureDoesNotMatch", "XAdminUserNotFound"} { // the last is versitygw's
		if isCode(err, code) {
			return true
		}
	}
	return false
}

func isStatus(err error, status int) bool {
	var answer *smithyhttp.ResponseError
	return errors.As(err, &answer) && answer.Response != nil && answer.HTTPStatusCode() == status
}

func isCode(err error, code string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == code
}
