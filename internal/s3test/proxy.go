package s3test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// Fault is what a proxy does to a request.
type Fault struct {
	Status int // answers with this instead of asking the server; 0 cuts the connection
	// After lets the server do what it was asked for, before the connection is cut.
	After bool
	// Cut lets so many bytes of the answer's body through before the connection is cut.
	Cut int64
	// Header is sent along with Status.
	Header map[string]string
}

// Request is a request as a proxy saw it.
type Request struct {
	N      int // counted from 1
	Method string
	Path   string // with the bucket
	Query  url.Values
}

// Proxy stands before a server, counts requests, and fails some.
type Proxy struct {
	Endpoint string
	forward  *httputil.ReverseProxy

	mu       sync.Mutex // guards what follows
	requests []Request
	sent     int64 // bytes of bodies
	decide   func(Request) *Fault
}

// NewProxy starts a proxy before the server, which ends with the test.
func (s *Server) NewProxy(tb testing.TB) *Proxy {
	tb.Helper()
	return NewProxy(tb, s.Endpoint)
}

// NewProxy starts a proxy before the server at a URL, which ends with the test.
func NewProxy(tb testing.TB, server string) *Proxy {
	tb.Helper()
	target, err := url.Parse(server)
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{}
	p.forward = &httputil.ReverseProxy{
		// The host stays that of the proxy: it is part of what is signed.
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
			r.Out.Host = r.In.Host
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	front := httptest.NewServer(p)
	tb.Cleanup(front.Close)
	p.Endpoint = front.URL
	return p
}

// Plan sets what happens to requests from now on, which are counted anew; nil lets all
// pass.
func (p *Proxy) Plan(decide func(Request) *Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests, p.sent, p.decide = nil, 0, decide
}

// Sent returns how many bytes of bodies of requests there were since the last Plan.
func (p *Proxy) Sent() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent
}

// Requests returns the requests since the last Plan.
func (p *Proxy) Requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Request(nil), p.requests...)
}

// Count returns how many requests since the last Plan had the method and part in their
// path.
func (p *Proxy) Count(method, part string) int {
	n := 0
	for _, r := range p.Requests() {
		if r.Method == method && strings.Contains(r.Path, part) {
			n++
		}
	}
	return n
}

func (p *Proxy) begin(r *http.Request) *Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	request := Request{N: len(p.requests) + 1, Method: r.Method, Path: r.URL.Path, Query: r.URL.Query()}
	p.requests = append(p.requests, request)
	p.sent += max(r.ContentLength, 0)
	if p.decide == nil {
		return nil
	}
	return p.decide(request)
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := p.begin(r)
	switch {
	case fault == nil:
		p.forward.ServeHTTP(w, r)
	case fault.Status != 0:
		drain(r.Body)
		for key, value := range fault.Header {
			w.Header().Set(key, value)
		}
		w.WriteHeader(fault.Status)
	case fault.After:
		p.forward.ServeHTTP(&cutter{header: http.Header{}}, r)
		panic(http.ErrAbortHandler)
	case fault.Cut > 0:
		p.forward.ServeHTTP(&cutter{ResponseWriter: w, header: w.Header(), left: fault.Cut}, r)
		panic(http.ErrAbortHandler)
	default:
		panic(http.ErrAbortHandler)
	}
}

// cutter lets a part of an answer through.
type cutter struct {
	http.ResponseWriter // nil lets nothing through
	header              http.Header
	left                int64
}

var errCut = errors.New("cut")

func (c *cutter) Header() http.Header { return c.header }

func (c *cutter) WriteHeader(status int) {
	if c.ResponseWriter != nil {
		c.ResponseWriter.WriteHeader(status)
	}
}

func (c *cutter) Write(data []byte) (int, error) {
	if c.ResponseWriter == nil {
		return len(data), nil
	}
	n, err := c.ResponseWriter.Write(data[:min(int64(len(data)), c.left)])
	c.left -= int64(n)
	if flusher, ok := c.ResponseWriter.(http.Flusher); ok {
		flusher.Flush()
	}
	if err == nil && c.left == 0 {
		err = errCut
	}
	return n, err
}

var _ io.Writer = (*cutter)(nil)
