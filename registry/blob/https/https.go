// Package https is a blob store that a plain web server shows: a folder that it serves, or
// a public bucket. It can be read only.
//
// The URL of a blob is that of the store with the key behind it. Ranges are asked for as
// such, and a server that has none is read from the start. A download that was cut goes on
// where it was only if the server confirms, by entity tag or time, that the blob is still
// the same. Redirects are followed, but not from https to http.
//
// A web server lists nothing, unless it answers as S3 does; List says so with
// errors.ErrUnsupported. So does whatever would write.
package https

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/retry"
)

const (
	// answerTime is how long a server may take until it starts to answer.
	answerTime = time.Minute
	// maxRedirects is as many as Go's client follows.
	maxRedirects = 10
	// shortPage bounds what is read of a page that says that something is not there.
	shortPage = 64 << 10
	// maxIdle is how many connections are kept for the next request: as many as there are
	// requests at once at the most.
	maxIdle = 128
)

// Options say how a server is reached. The zero Options are fine.
type Options struct {
	Attempts  int               // tries of one request; 0 for the default
	Transport http.RoundTripper // makes the requests; nil for one of its own
	Slow      func()            // is told that the server asked for less, or did not answer in time
}

// Store is what a web server shows below a URL. It implements blob.Conditional, as far as
// that is reading.
type Store struct {
	base   *url.URL // its path ends without a slash
	sender http.RoundTripper
	policy retry.Policy
}

var _ blob.Conditional = (*Store)(nil)

// New returns the store below a URL of the scheme https or http. The server is not asked
// yet. A URL with a user, a query or a fragment is refused: each is a secret as often as
// not, and would be in every error.
func New(base string, opts Options) (*Store, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" ||
		u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return nil, errors.New("want a URL such as https://example.com/packages, without user, query and fragment")
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	transport := opts.Transport
	if transport == nil {
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.MaxIdleConns, own.MaxIdleConnsPerHost = maxIdle, maxIdle
		own.ResponseHeaderTimeout = answerTime
		own.DisableCompression = true // what is hashed, and cut into ranges, is the blob
		transport = own
	}
	return &Store{
		base:   u,
		sender: transport,
		policy: retry.Policy{Attempts: opts.Attempts, Passes: passes, Asked: asked, Slow: opts.Slow},
	}, nil
}

// follow makes a request, and those that it is redirected to. An http.Client would too, but
// its errors tell where a redirect leads to: such URLs are often signed.
func (s *Store) follow(req *http.Request) (*http.Response, error) {
	for range maxRedirects {
		resp, err := s.sender.RoundTrip(req)
		if err != nil {
			return nil, &url.Error{Op: req.Method, Err: err} // a connection that failed; see retry.Unreachable
		}
		switch resp.StatusCode {
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		default:
			return resp, nil
		}
		to, err := resp.Location()
		if err := resp.Body.Close(); err != nil {
			return nil, err
		}
		switch {
		case err != nil:
			return nil, &redirectError{"a redirect to no URL"}
		case to.Scheme != "https" && (to.Scheme != "http" || s.base.Scheme == "https"):
			return nil, &redirectError{"a redirect from " + s.base.Scheme + " to " + to.Scheme}
		}
		req = req.Clone(req.Context())
		req.URL, req.Host = to, ""
	}
	return nil, &redirectError{"a chain of redirects"}
}

// String returns the URL of the store.
func (s *Store) String() string { return s.base.String() }

// Stat implements blob.Store.
func (s *Store) Stat(ctx context.Context, key string) (blob.Info, error) {
	resp, err := s.get(ctx, request{op: "stat", method: http.MethodHead, key: key})
	if err != nil {
		return blob.Info{}, err
	}
	if err := resp.Body.Close(); err != nil {
		return blob.Info{}, err
	}
	if resp.ContentLength < 0 {
		return blob.Info{}, fmt.Errorf("stat %s: the server does not tell the size", s.at(key))
	}
	return blob.Info{Key: key, Size: resp.ContentLength}, nil
}

// Open implements blob.Store.
func (s *Store) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	return s.OpenVersion(ctx, key, "", offset, length)
}

// OpenVersion is Open of a certain version, which a bucket of S3 finds by its id.
func (s *Store) OpenVersion(ctx context.Context, key, id string, offset, length int64) (io.ReadCloser, error) {
	if length == 0 {
		_, err := s.Stat(ctx, key)
		return http.NoBody, err
	}
	q := request{op: "get", method: http.MethodGet, key: key, version: id, offset: offset, length: length}
	resp, err := s.get(ctx, q)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return http.NoBody, resp.Body.Close() // it starts behind the end
	}
	q.same = validator(resp.Header)
	body := s.policy.Reader(ctx, resp.Body, func(read int64) (io.ReadCloser, error) {
		if q.same == "" {
			return nil, errors.New("the connection was cut, and the server does not tell whether the blob is still the same")
		}
		rest := q
		rest.offset += read
		if length > 0 {
			rest.length -= read
		}
		resp, err := s.get(ctx, rest)
		if err != nil {
			return nil, err
		}
		return resp.Body, nil
	})
	return retry.Explain(ctx, body, func(err error) error { return s.explain(ctx, "get", key, err) }), nil
}

// ReadTagged implements blob.Conditional.
func (s *Store) ReadTagged(ctx context.Context, key string) ([]byte, blob.Tag, error) {
	var data []byte
	var tag string
	err := check(ctx, key)
	if err == nil {
		err = s.policy.Do(ctx, func(ctx context.Context) error {
			resp, err := s.try(ctx, request{method: http.MethodGet, key: key, length: -1})
			if err != nil {
				return err
			}
			tag = validator(resp.Header)
			data, err = io.ReadAll(io.LimitReader(resp.Body, blob.MaxTagged+1))
			return errors.Join(err, resp.Body.Close())
		})
	}
	if err == nil && len(data) > blob.MaxTagged {
		err = fmt.Errorf("%w: more than %d bytes", blob.ErrTooLarge, blob.MaxTagged)
	}
	if err != nil {
		return nil, "", s.explain(ctx, "get", key, err)
	}
	return data, blob.Tag(cmp.Or(tag, "unknown")), nil
}

// Put implements blob.Store.
func (s *Store) Put(_ context.Context, key string, _ blob.Body) error { return s.readOnly("put", key) }

// PutIf implements blob.Conditional.
func (s *Store) PutIf(_ context.Context, key string, _ []byte, _ blob.Tag) error {
	return s.readOnly("put", key)
}

// Delete implements blob.Store.
func (s *Store) Delete(_ context.Context, key string) error { return s.readOnly("delete", key) }

func (s *Store) readOnly(op, key string) error {
	return fmt.Errorf("%s %s: what a web server shows can only be read: %w", op, s.at(key), errors.ErrUnsupported)
}

// List implements blob.Store, where the server is a bucket that everybody may list.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for next := ""; ; {
			page, err := s.listPage(ctx, prefix, next)
			if err != nil {
				yield(blob.Info{}, err)
				return
			}
			for _, object := range page.Contents {
				key, err := url.QueryUnescape(object.Key)
				if err != nil || blob.CheckKey(key) != nil {
					continue // such as the "folders" that some tools make
				}
				if !yield(blob.Info{Key: key, Size: object.Size}, nil) {
					return
				}
			}
			if next = page.NextContinuationToken; !page.IsTruncated || next == "" {
				return
			}
		}
	}
}

// request is one request of the store.
type request struct {
	op, method     string
	key, version   string
	offset, length int64  // length < 0: to the end
	same           string // validator of the blob that it must still be
}

// get makes a request and returns an answer with what was asked for. The status is
// 416 where that starts behind the end.
func (s *Store) get(ctx context.Context, q request) (*http.Response, error) {
	if err := check(ctx, q.key); err != nil {
		return nil, s.explain(ctx, q.op, q.key, err)
	}
	var resp *http.Response
	err := s.policy.Do(ctx, func(ctx context.Context) (err error) {
		resp, err = s.try(ctx, q) //nolint:bodyclose // who asked for it does
		return err
	})
	if err != nil {
		return nil, s.explain(ctx, q.op, q.key, err)
	}
	return resp, nil
}

// try makes a request once.
func (s *Store) try(ctx context.Context, q request) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, q.method, s.at(q.key), http.NoBody)
	if err != nil {
		return nil, err
	}
	if q.version != "" {
		req.URL.RawQuery = url.Values{"versionId": {q.version}}.Encode()
	}
	req.Header.Set("Accept-Encoding", "identity")
	ranged := q.method == http.MethodGet && (q.offset > 0 || q.length > 0)
	if ranged {
		text := fmt.Sprintf("bytes=%d-", q.offset)
		if q.length > 0 {
			text += fmt.Sprint(q.offset + q.length - 1)
		}
		req.Header.Set("Range", text)
	}
	if q.same != "" {
		req.Header.Set("If-Range", q.same)
	}
	resp, err := s.follow(req)
	if err != nil {
		return nil, err
	}
	if err := s.accept(q, resp, ranged); err != nil {
		// With what is left of a short page, the connection can be used again.
		_, _ = io.CopyN(io.Discard, resp.Body, shortPage)
		_ = resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// accept returns an error unless an answer has what was asked for. Of a server without
// ranges it leaves out what stands before.
func (s *Store) accept(q request, resp *http.Response, ranged bool) error {
	// Asked for a folder, a web server redirects to its URL with a slash, and lists it.
	if strings.HasSuffix(resp.Request.URL.Path, "/") && path.Base(q.key) != "index.html" {
		return fs.ErrNotExist
	}
	switch status := resp.StatusCode; {
	case status == http.StatusNotFound || status == http.StatusGone:
		return fs.ErrNotExist
	case status == http.StatusPartialContent && ranged:
		var start int64
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-", &start); err != nil || start != q.offset {
			return errors.New("the server sent another range than it was asked for")
		}
		if q.same != "" && validator(resp.Header) != q.same && validator(resp.Header) != "" {
			return blob.ErrChanged
		}
		return nil
	case status == http.StatusRequestedRangeNotSatisfiable && ranged && q.same == "":
		return nil
	case status == http.StatusOK && q.same != "" && validator(resp.Header) != q.same:
		return blob.ErrChanged
	case status == http.StatusOK && ranged:
		return skip(resp, q.offset, q.length)
	case status == http.StatusOK:
		return nil
	}
	return &Error{Status: resp.StatusCode, pause: retry.After(resp.Header)}
}

// skip makes a range of the body of an answer that has all of it.
func skip(resp *http.Response, offset, length int64) error {
	if _, err := io.CopyN(io.Discard, resp.Body, offset); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if length > 0 {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, length), resp.Body}
	}
	return nil
}

// validator returns what names the content of an answer: its entity tag, or the time of
// the last change where that is long enough ago that no other change can have the same. It
// is "" where nothing does.
func validator(header http.Header) string {
	if tag := header.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		return tag
	}
	changed, err := http.ParseTime(header.Get("Last-Modified"))
	if err != nil {
		return ""
	}
	// RFC 9110, section 8.8.2.2.
	if sent, err := http.ParseTime(header.Get("Date")); err != nil || sent.Sub(changed) < time.Second {
		return ""
	}
	return header.Get("Last-Modified")
}

// at returns the URL of a key.
func (s *Store) at(key string) string { return s.base.String() + "/" + escape(key) }

// escape writes all but the characters that no server takes for something else. S3 reads a
// plus as a space.
func escape(key string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(key) {
		switch c := key[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("/-._~", c) >= 0:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

func check(ctx context.Context, key string) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return blob.CheckKey(key)
}
