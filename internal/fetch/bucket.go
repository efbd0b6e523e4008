package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// Buckets reads what has an s3:// URL. It retries by itself. What a bucket does not have,
// and answers that are no success, are a *StatusError; silence is a *NoAnswerError.
type Buckets interface {
	// Open reads an object from an offset on.
	Open(ctx context.Context, bucket, key string, offset int64) (io.ReadCloser, error)
	// List yields the objects whose keys start with prefix.
	List(ctx context.Context, bucket, prefix string) iter.Seq2[Object, error]
}

// Object is a file of a folder, or an object of a bucket.
type Object struct {
	Key  string // slash-separated; the path below the folder that was listed
	Size int64  // bytes
}

// IsBucket reports whether raw is an s3:// URL.
func IsBucket(raw string) bool {
	scheme, _, ok := strings.Cut(raw, "://")
	return ok && strings.EqualFold(scheme, "s3")
}

// publicBuckets is where objects of public buckets are read by HTTP. Mirrors of it are
// mirrors of the buckets.
const publicBuckets = "https://s3.amazonaws.com/"

// bucketAndKey takes an s3:// URL apart, whose path is escaped like any other.
func bucketAndKey(address string) (bucket, key string, err error) {
	u, err := url.Parse(address)
	if err != nil || u.RawQuery != "" {
		return "", "", fmt.Errorf("%w: %q is not s3://bucket/key", ErrURL, address)
	}
	return u.Host, strings.TrimPrefix(u.Path, "/"), nil
}

// object starts to read an object. The bucket's own reader goes on where an answer breaks
// off; a range asked for here is of content that a digest identifies.
func (c *Client) object(ctx context.Context, u *url.URL, address string, a ask) (*stream, error) {
	bucket, key, err := bucketAndKey(address)
	switch {
	case err != nil:
		return nil, err
	case c.buckets == nil:
		return nil, fmt.Errorf("%w: nothing here reads buckets", ErrURL)
	}
	turn, err := c.limits.acquire(ctx, "s3://"+bucket)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(c.header, func() { cancel(ErrTimeout) })
	end := func(bytes int64) {
		timer.Stop()
		cancel(nil)
		turn.end(bytes)
	}
	body, err := c.buckets.Open(ctx, bucket, key, a.offset)
	if err != nil {
		if ended := context.Cause(ctx); errors.Is(ended, ErrTimeout) {
			err = &NoAnswerError{Err: ended}
			turn.slow()
		}
		end(0)
		return nil, err
	}
	s := &stream{
		body: body, end: end, origin: u.String(), offset: a.offset, size: -1,
		cause: func(err error) error { return bodyCause(ctx, err) },
		beat:  func() { timer.Reset(c.idle) },
	}
	s.beat()
	return s, nil
}

// List yields the files below a folder of a bucket, whose URL ends in a slash. Errors are
// of type *Error.
func (c *Client) List(ctx context.Context, raw string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		for o, err := range c.list(ctx, raw) {
			if err != nil {
				yield(Object{}, &Error{URL: raw, Err: err})
				return
			}
			if !yield(o, nil) {
				return
			}
		}
	}
}

func (c *Client) list(ctx context.Context, raw string) iter.Seq2[Object, error] {
	fail := func(err error) iter.Seq2[Object, error] {
		return func(yield func(Object, error) bool) { yield(Object{}, err) }
	}
	u, err := parseURL(raw)
	if err != nil {
		return fail(err)
	}
	p, err := locate(c.mirrors, u)
	switch {
	case err != nil:
		return fail(err)
	case p.folder != "":
		return walk(ctx, filepath.Join(p.folder, p.file))
	case !IsBucket(p.url):
		return fail(fmt.Errorf("%w: the files of %s cannot be listed", ErrURL, p.url))
	case c.buckets == nil:
		return fail(fmt.Errorf("%w: nothing here reads buckets", ErrURL))
	}
	bucket, prefix, err := bucketAndKey(p.url)
	if err != nil {
		return fail(err)
	}
	return func(yield func(Object, error) bool) {
		for o, err := range c.buckets.List(ctx, bucket, prefix) {
			o.Key = strings.TrimPrefix(o.Key, prefix)
			if (err != nil || o.Key != "") && !yield(o, err) {
				return
			}
		}
	}
}

// walk yields the files of a mirror's folder.
func walk(ctx context.Context, folder string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		err := filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
			if err == nil {
				err = context.Cause(ctx)
			}
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			below, err := filepath.Rel(folder, name)
			if err == nil && !yield(Object{Key: path.Clean(filepath.ToSlash(below)), Size: info.Size()}, nil) {
				return fs.SkipAll
			}
			return err
		})
		switch {
		case errors.Is(err, fs.ErrNotExist):
			yield(Object{}, &StatusError{Code: http.StatusNotFound})
		case err != nil:
			yield(Object{}, err)
		}
	}
}
