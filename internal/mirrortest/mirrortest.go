// Package mirrortest is the world in a test: a loopback server that stands for many
// hosts, serves real files under their URLs, and fails as planned.
//
// A URL https://host/path is served at <server>/host/path; Mirrors says so to a client.
// The server counts requests, and a test that plans a fault can assert that it was hit:
// a fault that nobody met tests nothing.
package mirrortest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server serves files as if it were many hosts.
type Server struct {
	http *httptest.Server
	done chan struct{} // closed when the test ends, so that no handler hangs

	mu       sync.Mutex // guards what follows
	files    map[string][]byte
	hosts    map[string]bool
	plans    map[string][]Fault // for the next requests, one each
	broken   map[string]Fault   // for every request that has no plan
	hit      map[string]bool    // of broken
	requests map[string]int
	open     int
	maxOpen  int
	observe  func(rawURL string)
}

// Start starts a server that ends with the test.
func Start(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{
		done:     make(chan struct{}),
		files:    make(map[string][]byte),
		hosts:    make(map[string]bool),
		plans:    make(map[string][]Fault),
		broken:   make(map[string]Fault),
		hit:      make(map[string]bool),
		requests: make(map[string]int),
	}
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	tb.Cleanup(func() {
		close(s.done)
		s.http.Close()
	})
	return s
}

// Put serves data at rawURL.
func (s *Server) Put(rawURL string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[s.key(rawURL)] = data
}

// PutFS serves every file of fsys below rawURL.
func (s *Server) PutFS(tb testing.TB, rawURL string, fsys fs.FS) {
	tb.Helper()
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(fsys, name)
		if err == nil {
			s.Put(strings.TrimRight(rawURL, "/")+"/"+name, data)
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// Plan makes the next requests for rawURL fail, one fault a request, in order. After
// them the URL is served as it should be.
func (s *Server) Plan(rawURL string, faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.key(rawURL)
	s.plans[key] = append(s.plans[key], faults...)
}

// Break makes every request for rawURL fail from now on.
func (s *Server) Break(rawURL string, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken[s.key(rawURL)] = f
}

// Repair takes back what Plan and Break did to rawURL.
func (s *Server) Repair(rawURL string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.key(rawURL)
	delete(s.plans, key)
	delete(s.broken, key)
}

// DeletePhoto makes rawURL a photo that was deleted on Flickr: every request is
// redirected to a placeholder that arrives as a healthy PNG.
func (s *Server) DeletePhoto(rawURL string) {
	s.Put(PlaceholderURL, Placeholder())
	s.Break(rawURL, Redirect(PlaceholderURL))
}

// Mirrors returns what a client must be told: for every host that the server stands
// for, the URL prefix to read instead.
func (s *Server) Mirrors() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	mirrors := make(map[string]string, 2*len(s.hosts))
	for host := range s.hosts {
		mirrors["http://"+host] = s.http.URL + "/" + host
		mirrors["https://"+host] = s.http.URL + "/" + host
	}
	return mirrors
}

// URL returns the server's own address of rawURL.
func (s *Server) URL(rawURL string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.http.URL + "/" + s.key(rawURL)
}

// Requests returns how often rawURL was asked for.
func (s *Server) Requests(rawURL string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[s.key(rawURL)]
}

// Total returns how many requests there were.
func (s *Server) Total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	total := 0
	for _, n := range s.requests {
		total += n
	}
	return total
}

// MaxOpen returns how many requests were open at the same time at most.
func (s *Server) MaxOpen() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.maxOpen
}

// Observe makes the server call f with the host and path of each request before it is
// answered. f may block.
func (s *Server) Observe(f func(hostAndPath string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observe = f
}

// AssertFaultsHit fails the test when a planned fault was never met.
func (s *Server) AssertFaultsHit(tb testing.TB) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var missed []string
	for key, faults := range s.plans {
		for _, f := range faults {
			missed = append(missed, key+": "+f.name)
		}
	}
	for key, f := range s.broken {
		if !s.hit[key] {
			missed = append(missed, key+": "+f.name)
		}
	}
	slices.Sort(missed)
	for _, m := range missed {
		tb.Errorf("planned fault never met: %s", m)
	}
}

// key is the server's path of a URL, without the first slash. It notes the host.
func (s *Server) key(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return rawURL
	}
	s.hosts[u.Host] = true
	return path.Join(u.Host, u.Path)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.URL.Path, "/")
	data, found, fault, observe := s.begin(key)
	defer s.finish()
	if observe != nil {
		observe(key)
	}
	healthy := func(w http.ResponseWriter) {
		if !found {
			http.NotFound(w, r)
			return
		}
		serveFile(w, r, key, data)
	}
	if fault.serve == nil {
		healthy(w)
		return
	}
	fault.serve(exchange{w: w, r: r, done: s.done, healthy: healthy})
}

func (s *Server) begin(key string) (data []byte, found bool, f Fault, observe func(string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[key]++
	s.open++
	s.maxOpen = max(s.maxOpen, s.open)
	data, found = s.files[key]
	if plan := s.plans[key]; len(plan) > 0 {
		f, s.plans[key] = plan[0], plan[1:]
	} else if b, ok := s.broken[key]; ok {
		f, s.hit[key] = b, true
	}
	return data, found, f, s.observe
}

func (s *Server) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}

// serveFile serves data as a static file server does: with a strong tag and ranges.
func serveFile(w http.ResponseWriter, r *http.Request, name string, data []byte) {
	sum := sha256.Sum256(data)
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:8])+`"`)
	http.ServeContent(w, r, path.Base(name), time.Time{}, bytes.NewReader(data))
}
