package blobtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"testing"

	"github.com/sandwich-build/sandwich/registry/blob"
)

// Op is an operation of a store.
type Op string

// The operations of blob.Conditional.
const (
	Stat       Op = "stat"
	Open       Op = "open"
	Put        Op = "put"
	List       Op = "list"
	Delete     Op = "delete"
	ReadTagged Op = "read tagged"
	PutIf      Op = "put if"
)

// Call is one call of a store's method.
type Call struct {
	N   int // counted from 1 over all calls
	Op  Op
	Key string
}

// Fault is what happens to a call.
type Fault struct {
	Err error
	// After lets the call take effect; only its answer is lost.
	After bool
	// Cut lets so many bytes of the blob through before Err, where it is not zero: of
	// what Open reads or Put writes.
	Cut int64
}

// ErrFault is the error of planned faults.
var ErrFault = errors.New("injected fault")

// Faulty is a store whose calls fail as it is told.
type Faulty struct {
	inner  blob.Conditional
	decide func(Call) *Fault

	mu    sync.Mutex // guards calls, and calls of decide
	calls []Call
}

var _ blob.Conditional = (*Faulty)(nil)

// Intercept returns a store that asks decide about each call; nil lets it pass. decide
// is not called twice at the same time.
func Intercept(inner blob.Conditional, decide func(Call) *Fault) *Faulty {
	return &Faulty{inner: inner, decide: decide}
}

// Kill returns a store that dies at call n: with after, the call still takes effect.
// All later calls fail and do nothing.
func Kill(inner blob.Conditional, n int, after bool) *Faulty {
	return Intercept(inner, func(c Call) *Fault {
		if c.N < n {
			return nil
		}
		return &Fault{Err: ErrFault, After: after && c.N == n}
	})
}

// Planned is a fault of one call: the first of Op whose key holds Key.
type Planned struct {
	Op    Op
	Key   string
	Fault Fault // its Err is ErrFault when nil
}

// Plan returns a store on which each planned fault happens once. The test fails if one
// does not.
func Plan(t *testing.T, inner blob.Conditional, plan ...Planned) *Faulty {
	t.Helper()
	hit := make([]bool, len(plan))
	t.Cleanup(func() {
		for i, p := range plan {
			if !hit[i] {
				t.Errorf("planned fault of %s %q did not happen", p.Op, p.Key)
			}
		}
	})
	return Intercept(inner, func(c Call) *Fault {
		for i, p := range plan {
			if hit[i] || p.Op != c.Op || !strings.Contains(c.Key, p.Key) {
				continue
			}
			hit[i] = true
			if p.Fault.Err == nil {
				p.Fault.Err = ErrFault
			}
			return &p.Fault
		}
		return nil
	})
}

// Calls returns the calls so far.
func (f *Faulty) Calls() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Call(nil), f.calls...)
}

// Count returns the number of calls of op so far whose key starts with prefix.
func (f *Faulty) Count(op Op, prefix string) int {
	n := 0
	for _, c := range f.Calls() {
		if c.Op == op && strings.HasPrefix(c.Key, prefix) {
			n++
		}
	}
	return n
}

func (f *Faulty) begin(op Op, key string) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := Call{N: len(f.calls) + 1, Op: op, Key: key}
	f.calls = append(f.calls, c)
	return f.decide(c)
}

// run does the call, or not, as its fault says.
func (f *Faulty) run(op Op, key string, call func() error) error {
	fault := f.begin(op, key)
	if fault == nil {
		return call()
	}
	if fault.After {
		if err := call(); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s blob %s: %w", op, key, fault.Err)
}

// Stat implements blob.Store.
func (f *Faulty) Stat(ctx context.Context, key string) (info blob.Info, err error) {
	err = f.run(Stat, key, func() (err error) { info, err = f.inner.Stat(ctx, key); return err })
	return info, err
}

// Open implements blob.Store.
func (f *Faulty) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	fault := f.begin(Open, key)
	if fault != nil && fault.Cut == 0 {
		return nil, fmt.Errorf("open blob %s: %w", key, fault.Err)
	}
	r, err := f.inner.Open(ctx, key, offset, length)
	if err != nil || fault == nil {
		return r, err
	}
	return cut(r, fault), nil
}

// Put implements blob.Store.
func (f *Faulty) Put(ctx context.Context, key string, body blob.Body) error {
	fault := f.begin(Put, key)
	if fault != nil && !fault.After && fault.Cut == 0 {
		return fmt.Errorf("put blob %s: %w", key, fault.Err)
	}
	if fault != nil && fault.Cut > 0 {
		open := body.Open
		body.Open = func(ctx context.Context) (io.ReadCloser, error) {
			r, err := open(ctx)
			if err != nil {
				return nil, err
			}
			return cut(r, fault), nil
		}
	}
	if err := f.inner.Put(ctx, key, body); err != nil || fault == nil {
		return err
	}
	return fmt.Errorf("put blob %s: %w", key, fault.Err)
}

// List implements blob.Store.
func (f *Faulty) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		if fault := f.begin(List, prefix); fault != nil {
			yield(blob.Info{}, fmt.Errorf("list blobs %s: %w", prefix, fault.Err))
			return
		}
		f.inner.List(ctx, prefix)(yield)
	}
}

// Delete implements blob.Store.
func (f *Faulty) Delete(ctx context.Context, key string) error {
	return f.run(Delete, key, func() error { return f.inner.Delete(ctx, key) })
}

// ReadTagged implements blob.Conditional.
func (f *Faulty) ReadTagged(ctx context.Context, key string) (data []byte, tag blob.Tag, err error) {
	err = f.run(ReadTagged, key, func() (err error) { data, tag, err = f.inner.ReadTagged(ctx, key); return err })
	return data, tag, err
}

// PutIf implements blob.Conditional.
func (f *Faulty) PutIf(ctx context.Context, key string, data []byte, tag blob.Tag) error {
	return f.run(PutIf, key, func() error { return f.inner.PutIf(ctx, key, data, tag) })
}

// cut returns a reader of r that fails behind the bytes that fault lets through.
func cut(r io.ReadCloser, fault *Fault) io.ReadCloser {
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(r, fault.Cut), failing{fault.Err}), r}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
