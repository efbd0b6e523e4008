package sharedcache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sandwich-build/sandwich/registry/blob"
)

const (
	// defaultPatience is how long an answer may take to begin with. The first one finds
	// credentials, too.
	defaultPatience = 10 * time.Second
	// slowest is how many bytes a second must move in the end. What is slower is not worth
	// waiting for.
	slowest = 256 << 10
	// maxMoved bounds how many bytes a request is given the time for: those of a day.
	maxMoved = slowest * 24 * 60 * 60
	// maxFailures is how many requests in a row may fail before no more are made. While none
	// was ever answered it is one.
	maxFailures = 3
)

// errOff says that no more requests are made.
var errOff = errors.New("the shared cache is not used any more")

// errSlow ends a request that takes too long.
var errSlow = errors.New("it takes too long")

// remote is the store that is shared, which may be slow, down or full. Each request has an
// end, and after a few that failed there are no more: what it costs at most is time, and
// not much of it.
type remote struct {
	store    blob.Store
	prefix   string // of all keys; empty or with a slash at its end
	patience time.Duration
	reading  breaker
	writing  breaker

	traffic traffic
}

// traffic counts what has moved.
type traffic struct {
	requests, downloaded, uploaded atomic.Int64
}

// breaker ends a sort of requests that fails.
type breaker struct {
	mu       sync.Mutex // guards what follows
	answered bool       // whether a request ever was
	row      int        // failures since the last answer
	open     bool       // no more requests
	warn     func(cause error)
}

func (b *breaker) off() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open
}

// note is told how a request ended. That there is no such object is an answer.
func (b *breaker) note(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		b.answered, b.row = true, 0
		return
	}
	b.row++
	if b.open || b.answered && b.row < maxFailures {
		return
	}
	b.open = true
	b.warn(err)
}

// try makes a request that moves up to size bytes.
func (r *remote) try(ctx context.Context, b *breaker, size int64, request func(context.Context) error) error {
	if r.reading.off() || b.off() {
		return errOff
	}
	limit := r.patience + time.Duration(min(size, maxMoved)/slowest)*time.Second
	limited, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w: no answer within %v", errSlow, limit))
	defer cancel()
	r.traffic.requests.Add(1)
	err := request(limited)
	var mine *ownError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil && limited.Err() != nil:
		err = context.Cause(limited)
	case errors.As(err, &mine):
		b.note(nil)
		return mine.err
	}
	b.note(err)
	return err
}

// ownError is an error of this machine's own store, which says nothing about the remote.
type ownError struct{ err error }

func (e *ownError) Error() string { return e.err.Error() }
func (e *ownError) Unwrap() error { return e.err }

// get reads a whole object of about size bytes, and of limit at the most.
func (r *remote) get(ctx context.Context, key string, size, limit int64) (data []byte, err error) {
	err = r.try(ctx, &r.reading, size, func(ctx context.Context) (err error) {
		data, err = blob.ReadAll(ctx, r.store, r.prefix+key, limit)
		if errors.Is(err, blob.ErrTooLarge) {
			return &ownError{err} // an answer, but none that is wanted
		}
		return err
	})
	r.traffic.downloaded.Add(int64(len(data)))
	return data, err
}

// open reads length bytes of an object from offset on.
func (r *remote) open(ctx context.Context, key string, offset, length int64, read func(io.Reader) error) error {
	return r.try(ctx, &r.reading, length, func(ctx context.Context) (err error) {
		body, err := r.store.Open(ctx, r.prefix+key, offset, length)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, body.Close()) }()
		return read(&counted{body, &r.traffic.downloaded})
	})
}

// counted counts what is read.
type counted struct {
	io.Reader
	n *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// stat describes an object.
func (r *remote) stat(ctx context.Context, key string) (info blob.Info, err error) {
	err = r.try(ctx, &r.reading, 0, func(ctx context.Context) (err error) {
		info, err = r.store.Stat(ctx, r.prefix+key)
		return err
	})
	return info, err
}

// put writes an object. What goes wrong with the body is not the remote's fault.
func (r *remote) put(ctx context.Context, key string, body blob.Body) error {
	err := r.try(ctx, &r.writing, body.Size, func(ctx context.Context) error {
		watched := body
		var own atomic.Pointer[ownError]
		watched.Open = func(ctx context.Context) (io.ReadCloser, error) {
			src, err := body.Open(ctx)
			if err != nil {
				own.Store(&ownError{err})
				return nil, err
			}
			return &watchedReader{src, &own}, nil
		}
		err := r.store.Put(ctx, r.prefix+key, watched)
		if e := own.Load(); err != nil && e != nil {
			return e
		}
		return err
	})
	if err == nil {
		r.traffic.uploaded.Add(body.Size)
	}
	return err
}

// watchedReader keeps the error of a reader.
type watchedReader struct {
	io.ReadCloser
	err *atomic.Pointer[ownError]
}

func (w *watchedReader) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err.Store(&ownError{err})
	}
	return n, err
}
