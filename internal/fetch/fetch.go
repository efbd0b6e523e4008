// Package fetch turns a URL into bytes. It is the only place that talks to the
// network, and the only one that retries.
//
// A Client reads http, https and s3 URLs, file:// URLs and plain paths, after the
// manifest's mirrors. It bounds the requests that are open, in all and for each host,
// waits between attempts as servers ask, goes on at the offset reached when an answer
// breaks off, and verifies what it yields: a reader that ends with io.EOF has yielded
// the wanted bytes.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Options configure a Client. The zero value of each field means its default.
type Options struct {
	Mirrors   map[string]string // URL prefix -> URL prefix or folder to read instead
	Dir       string            // what relative paths are relative to; default the working directory
	PerHost   int               // most open requests for each host, which begin with fewer and adapt; default 64
	Total     int               // most open requests in all; default 64
	Attempts  int               // failures before a fetch is given up; default 4
	Wait      time.Duration     // before the second attempt, doubling and jittered from there; default 500 ms
	Header    time.Duration     // from a request to its answer's header; default 30 s
	Idle      time.Duration     // in which minProgress bytes must arrive; default 30 s
	UserAgent string            // default "sandwich"
	// Transport makes the requests; default a transport of the Client's own, which
	// honours the proxy variables of the environment.
	Transport http.RoundTripper
	Buckets   Buckets  // reads s3:// URLs; nil reads none
	OptOut    []string // directives of X-Robots-Tag, such as noai, that forbid to take what has them
}

// minProgress is what must arrive in each Options.Idle. Without it, a server that
// sends a byte now and then would hold a slot for days.
const minProgress = 4 << 10

// firstPerHost is how many requests a host gets at first: what a person's browser might
// open, with some haste.
const firstPerHost = 16

// maxRedirects is what browsers and curl allow in the same order of magnitude; Flickr
// needs two.
const maxRedirects = 10

// Client fetches. It is safe for concurrent use; Close it when done.
type Client struct {
	http      *http.Client
	limits    *limiter
	buckets   Buckets
	optOut    []string
	mirrors   []mirror
	dir       string
	attempts  int
	wait      time.Duration
	header    time.Duration
	idle      time.Duration
	userAgent string
	total     int
}

// New returns a client. The error says which mirror is unusable.
func New(o Options) (*Client, error) {
	mirrors, err := newMirrors(o.Mirrors, o.Dir)
	if err != nil {
		return nil, err
	}
	perHost, total := orDefault(o.PerHost, 64), orDefault(o.Total, 64)
	transport := o.Transport
	if transport == nil {
		transport = newTransport(perHost)
	}
	c := &Client{
		http: &http.Client{
			Transport: transport,
			// Redirects are followed here, because each goes through the mirrors and is
			// bounded by its own host.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		limits:    newLimiter(min(firstPerHost, perHost), perHost, total),
		buckets:   o.Buckets,
		optOut:    o.OptOut,
		mirrors:   mirrors,
		dir:       o.Dir,
		attempts:  orDefault(o.Attempts, 4),
		wait:      orDefault(o.Wait, 500*time.Millisecond),
		header:    orDefault(o.Header, 30*time.Second),
		idle:      orDefault(o.Idle, 30*time.Second),
		userAgent: o.UserAgent,
		total:     total,
	}
	if c.userAgent == "" {
		c.userAgent = "sandwich"
	}
	return c, nil
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

func newTransport(perHost int) *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: perHost,
		IdleConnTimeout:     30 * time.Second,
		// Digests are of the bytes as stored, and ranges count in them.
		DisableCompression: true,
	}
}

// Close closes the connections that are kept open for later requests.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Parallel returns how many requests the client keeps open at most, so that a caller
// knows how many goroutines are of use.
func (c *Client) Parallel() int { return c.total }

// Want is what is known about the bytes at a URL before they are read.
type Want struct {
	Size   int64  // bytes; 0 when unknown
	Limit  int64  // most bytes to accept when Size is unknown; 0 accepts any number
	SHA256 []byte // raw sum; nil when unknown
	MD5    []byte // raw sum; nil when unknown
}

// Open starts to read what is at a URL or path. The body is bound to ctx and must be
// closed. It ends in io.EOF only when all that want says holds. Errors, here and from
// the body, are of type *Error.
func (c *Client) Open(ctx context.Context, raw string, want Want) (*Body, error) {
	b := newBody(raw, want)
	if err := c.open(ctx, b); err != nil {
		return nil, b.error(err)
	}
	return b, nil
}

func (c *Client) open(ctx context.Context, b *Body) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if !isRemote(b.name) {
		file, err := localPath(b.name, c.dir)
		if err != nil {
			return err
		}
		b.attempts++
		s, err := openFile(place{file: file}, b.name)
		if err == nil {
			err = b.join(s)
		}
		return b.admit(err)
	}
	u, err := parseURL(b.name)
	if err != nil {
		return err
	}
	patience := newRetry(c.attempts, c.wait)
	b.connect = func(why error) error {
		for {
			if why != nil {
				b.noRange = b.noRange || errors.Is(why, errBadRange)
				if err := patience.after(ctx, why, b.offset); err != nil {
					return err
				}
			}
			b.attempts++
			s, err := c.exchange(ctx, u, b.request())
			if err == nil {
				err = b.join(s)
			}
			if err == nil {
				return nil
			}
			why = err
		}
	}
	return b.admit(b.connect(nil))
}

// ask is what one request asks for.
type ask struct {
	offset  int64  // where to start
	ifRange string // the state of the content that offset counts in; may be empty
}

// exchange makes one attempt: a request, and those that it is redirected to.
func (c *Client) exchange(ctx context.Context, u *url.URL, a ask) (*stream, error) {
	for range maxRedirects {
		p, err := locate(c.mirrors, u)
		if err != nil {
			return nil, err
		}
		if p.file != "" || p.folder != "" {
			s, err := openFile(p, u.String())
			if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrMirror) {
				err = &StatusError{Code: http.StatusNotFound}
			}
			return s, err
		}
		if IsBucket(p.url) {
			return c.object(ctx, u, p.url, a)
		}
		s, next, err := c.request(ctx, u, p.url, a)
		if err != nil || s != nil {
			return s, err
		}
		u = next
	}
	return nil, ErrRedirects
}

// request makes one HTTP request to address, which is where u is really read. It
// returns the answer's body, or where the answer redirects to.
func (c *Client) request(ctx context.Context, u *url.URL, address string, a ask) (_ *stream, next *url.URL, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		cancel(nil)
		return nil, nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	a.header(req.Header)
	req.Header.Set("User-Agent", c.userAgent)
	turn, err := c.limits.acquire(ctx, req.URL.Host)
	if err != nil {
		cancel(nil)
		return nil, nil, err
	}
	// The clock starts when the request does, not while it waits for its turn.
	timer := time.AfterFunc(c.header, func() { cancel(ErrTimeout) })
	end := func(bytes int64) {
		timer.Stop()
		cancel(nil)
		turn.end(bytes)
	}
	resp, err := c.http.Do(req) //nolint:bodyclose // the stream does
	if err != nil {
		if err = cause(ctx, err); errors.Is(err, ErrTimeout) {
			turn.slow()
		}
		end(0)
		return nil, nil, err
	}
	s := &stream{
		body:   resp.Body,
		end:    end,
		cause:  func(err error) error { return bodyCause(ctx, err) },
		beat:   func() { timer.Reset(c.idle) },
		origin: u.String(),
	}
	s.beat()
	next, err = s.accept(resp, a, c.optOut)
	if asksForLess(err) {
		turn.slow()
	}
	if err != nil || next != nil {
		_ = s.Close()
		return nil, next, err
	}
	return s, nil, nil
}

func (a ask) header(h http.Header) {
	h.Set("Accept-Encoding", "identity")
	if a.offset == 0 {
		return
	}
	h.Set("Range", fmt.Sprintf("bytes=%d-", a.offset))
	if a.ifRange != "" {
		h.Set("If-Range", a.ifRange)
	}
}

// asksForLess reports whether an answer says that there are too many requests.
func asksForLess(err error) bool {
	status, ok := errors.AsType[*StatusError](err)
	return ok && (status.Code == http.StatusTooManyRequests || status.Code == http.StatusServiceUnavailable)
}

// cause turns the error of a request that got no answer into one of this package. A
// request whose caller has given up is no news about the server.
func cause(ctx context.Context, err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if ended := context.Cause(ctx); ended != nil && !errors.Is(ended, ErrTimeout) {
		return ended
	} else if ended != nil {
		err = ended
	}
	return &NoAnswerError{Err: err}
}

// bodyCause is cause for an answer that has begun.
func bodyCause(ctx context.Context, err error) error {
	if ended := context.Cause(ctx); ended != nil {
		return ended
	}
	return err
}
