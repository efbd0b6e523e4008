package s3

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/sandwich-build/sandwich/registry/blob/retry"
)

// policy says which requests are made again.
func (s *Store) policy() retry.Policy {
	return retry.Policy{Attempts: s.opts.Attempts, Passes: passes, Asked: asked, Slow: s.opts.slow}
}

// retry makes a request as often as the policy says.
func (s *Store) retry(ctx context.Context, request func(context.Context) error) error {
	return s.policy().Do(ctx, request)
}

// asked returns the pause that the server asks for.
func asked(err error) time.Duration {
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) || answer.Response == nil {
		return 0
	}
	return retry.After(answer.Response.Header)
}

// passes reports whether a request may succeed when it is made again as it is.
func passes(err error) bool {
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) || answer.Response == nil || answer.Response.StatusCode < http.StatusMultipleChoices {
		return retry.Unreachable(err)
	}
	var api smithy.APIError
	code := ""
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	return retry.Busy(answer.HTTPStatusCode()) ||
		slices.Contains([]string{"SlowDown", "RequestTimeout", "ConditionalRequestConflict", "OperationAborted", "InternalError"}, code)
}
