package retry_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sandwich-build/sandwich/registry/blob/retry"
)

var (
	errBusy = errors.New("busy")
	errSlow = errors.New("asks for a minute")
	errDead = errors.New("dead")
)

var policy = retry.Policy{
	Passes: func(err error) bool { return !errors.Is(err, errDead) },
	Asked: func(err error) time.Duration {
		if errors.Is(err, errSlow) {
			return time.Minute
		}
		return 0
	},
}

func TestDo(t *testing.T) {
	for label, tc := range map[string]struct {
		answers  []error // the last one again and again
		want     error
		requests int
		min, max time.Duration
	}{
		"at once":          {[]error{nil}, nil, 1, 0, 0},
		"in the end":       {[]error{errBusy, errBusy, nil}, nil, 3, 300 * time.Millisecond, 900 * time.Millisecond},
		"as asked for":     {[]error{errSlow, nil}, nil, 2, time.Minute, time.Minute},
		"never":            {[]error{errDead}, errDead, 1, 0, 0},
		"not often enough": {[]error{errBusy}, errBusy, 7, 6 * time.Second, 20 * time.Second},
	} {
		t.Run(label, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, n := time.Now(), 0
				err := policy.Do(t.Context(), func(context.Context) error {
					n++
					return tc.answers[min(n, len(tc.answers))-1]
				})
				took := time.Since(start)
				if !errors.Is(err, tc.want) || n != tc.requests || took < tc.min || took > tc.max {
					t.Errorf("Do = %v after %d requests and %v", err, n, took)
				}
			})
		})
	}
}

func TestDoEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := policy.Do(ctx, func(context.Context) error { return errSlow }); !errors.Is(err, errSlow) || time.Since(start) != time.Second {
			t.Errorf("Do = %v after %v", err, time.Since(start))
		}
	})
}

func TestAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for text, want := range map[string]time.Duration{
			"": 0, "x": 0, "-1": 0, "3": 3 * time.Second, "999999": time.Minute,
			time.Now().Add(5 * time.Second).UTC().Format(http.TimeFormat): 5 * time.Second,
			time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat):      0,
		} {
			if got := retry.After(http.Header{"Retry-After": {text}}); got != want {
				t.Errorf("Retry-After: %q = %v, want %v", text, got, want)
			}
		}
	})
}

// cutting reads n bytes of a text, and fails then.
func cutting(text string, n int) io.ReadCloser {
	if n >= len(text) {
		return io.NopCloser(strings.NewReader(text))
	}
	return io.NopCloser(io.MultiReader(strings.NewReader(text[:n]), failing{errBusy}))
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestReader(t *testing.T) {
	const text = "0123456789"
	for label, tc := range map[string]struct {
		step int // bytes until the connection is cut
		gone int // position from which it can not be opened again
		want string
		err  error
	}{
		"whole":          {10, 99, text, nil},
		"cut often":      {1, 99, text, nil},
		"nothing comes":  {0, 99, "", errBusy},
		"gone meanwhile": {4, 8, text[:8], errDead},
	} {
		t.Run(label, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := policy.Reader(t.Context(), cutting(text, tc.step), func(read int64) (io.ReadCloser, error) {
					if int(read) >= tc.gone {
						return nil, errDead
					}
					return cutting(text[read:], tc.step), nil
				})
				got, err := io.ReadAll(r)
				if string(got) != tc.want || !errors.Is(err, tc.err) {
					t.Errorf("read %q, %v", got, err)
				}
				if n, again := r.Read(make([]byte, 1)); tc.err != nil && (n > 0 || !errors.Is(again, tc.err)) {
					t.Errorf("read again: %d, %v", n, again)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
