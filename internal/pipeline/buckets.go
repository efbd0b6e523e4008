package pipeline

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"sync"

	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/registry/blob/s3"
)

// buckets reads s3:// URLs with the AWS SDK: with the credentials that there are, and as
// anybody where there are none or where they are refused.
type buckets struct {
	mu     sync.Mutex // guards stores
	stores map[string]*s3.Store
}

func (b *buckets) store(ctx context.Context, bucket string) (*s3.Store, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s, ok := b.stores[bucket]; ok {
		return s, nil
	}
	s, err := s3.New(context.WithoutCancel(ctx), bucket, s3.Options{})
	if err != nil {
		return nil, err
	}
	if b.stores == nil {
		b.stores = map[string]*s3.Store{}
	}
	b.stores[bucket] = s
	return s, nil
}

// Open implements fetch.Buckets.
func (b *buckets) Open(ctx context.Context, bucket, key string, offset int64) (io.ReadCloser, error) {
	s, err := b.store(ctx, bucket)
	if err != nil {
		return nil, err
	}
	body, err := s.Open(ctx, key, offset, -1)
	if err != nil {
		return nil, answer(ctx, err)
	}
	return body, nil
}

// List implements fetch.Buckets.
func (b *buckets) List(ctx context.Context, bucket, prefix string) iter.Seq2[fetch.Object, error] {
	return func(yield func(fetch.Object, error) bool) {
		s, err := b.store(ctx, bucket)
		if err != nil {
			yield(fetch.Object{}, err)
			return
		}
		for info, err := range s.List(ctx, prefix) {
			if err != nil {
				yield(fetch.Object{}, answer(ctx, err))
				return
			}
			if !yield(fetch.Object{Key: info.Key, Size: info.Size}, nil) {
				return
			}
		}
	}
}

// answer tells an error of a bucket in the words of package fetch.
func answer(ctx context.Context, err error) error {
	if ended := context.Cause(ctx); ended != nil {
		return ended
	}
	if said, ok := errors.AsType[*s3.Error](err); ok {
		return &fetch.StatusError{Code: said.Status}
	}
	if _, ok := errors.AsType[*s3.NoBucketError](err); ok || errors.Is(err, fs.ErrNotExist) {
		return &fetch.StatusError{Code: http.StatusNotFound}
	}
	return &fetch.NoAnswerError{Err: err}
}
