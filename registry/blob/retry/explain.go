package retry

import (
	"context"
	"errors"
	"io"
)

// Explain returns a reader that gives the errors of reading the form that those of a store
// have, and ends with ctx.
func Explain(ctx context.Context, r io.ReadCloser, explain func(error) error) io.ReadCloser {
	return &explained{ReadCloser: r, explain: explain, cause: func() error { return context.Cause(ctx) }}
}

type explained struct {
	io.ReadCloser
	explain func(error) error
	cause   func() error // why the context of the reading ended
}

func (r *explained) Read(p []byte) (int, error) {
	if err := r.cause(); err != nil {
		return 0, r.explain(err)
	}
	n, err := r.ReadCloser.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	return n, r.explain(err)
}
