// Package mirrortest is the world in a test, a benchmark or a trial by hand: a server that
// stands for many hosts, serves files under their URLs, and fails as planned.
//
// A URL https://host/path is served at <server>/host/path, and s3://bucket/key at
// <server>/bucket/key; Mirrors says so to a client.
// The server counts requests, and a test that plans a fault can assert that it was hit:
// a fault that nobody met tests nothing.
package mirrortest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server serves files as if it were many hosts. It is an http.Handler.
type Server struct {
	root string        // of its URLs, without a slash at the end
	done chan struct{} // closed when the server ends, so that no handler hangs

	mu       sync.Mutex // guards what follows
	files    map[string][]byte
	hosts    map[string]bool    // and whether it is a bucket
	plans    map[string][]Fault // for the next requests, one each
	broken   map[string]Fault   // for every request that has no plan
	hit      map[string]bool    // of broken
	requests map[string]int
	open     int
	maxOpen  int
	observe  func(rawURL string)
	behind   func(place string) (io.ReadSeekCloser, bool)
	often    []*sprinkling
}

// Start starts a server that ends with the test.
func Start(tb testing.TB) *Server {
	tb.Helper()
	s := New("")
	server := httptest.NewServer(s)
	s.root = server.URL
	tb.Cleanup(func() {
		s.Close()
		server.Close()
	})
	return s
}

// New returns a server for whoever listens at root, a URL such as http://127.0.0.1:8080.
func New(root string) *Server {
	return &Server{
		root:     root,
		done:     make(chan struct{}),
		files:    make(map[string][]byte),
		hosts:    make(map[string]bool),
		plans:    make(map[string][]Fault),
		broken:   make(map[string]Fault),
		hit:      make(map[string]bool),
		requests: make(map[string]int),
	}
}

// Close ends the requests that hang.
func (s *Server) Close() { close(s.done) }

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

// Behind makes the server ask find for what was not Put. A place is the host and path of a
// URL; what find opens is closed when it is served.
func (s *Server) Behind(find func(place string) (io.ReadSeekCloser, bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behind = find
}

// Stand makes the server stand for hosts of which nothing was Put.
func (s *Server) Stand(hosts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, host := range hosts {
		s.hosts[host] = true
	}
}

// Sprinkle makes a share of all URLs of photos, from 0 to 1, fail: the first requests, so many
// times, or each of them if times is 0. Which URLs they are depends on the URLs alone.
func (s *Server) Sprinkle(share float64, times int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.often = append(s.often, &sprinkling{share: share, times: times, fault: f})
}

// sprinkling is a fault of a share of all photos.
type sprinkling struct {
	share float64
	times int
	fault Fault
	hit   bool
}

// meets reports whether the request for a place, which is the n-th, has the fault; i is the
// number of the sprinkling, so that two do not meet the same photos.
func (f *sprinkling) meets(place string, n, i int) bool {
	if path.Ext(place) != ".jpg" || (f.times > 0 && n > f.times) {
		return false
	}
	sum := sha256.Sum256(strconv.AppendInt([]byte(place), int64(i), 10))
	return float64(binary.BigEndian.Uint64(sum[:]))/(1<<64) < f.share
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
	for host, bucket := range s.hosts {
		if bucket {
			mirrors["s3://"+host] = s.root + "/" + host
			continue
		}
		mirrors["http://"+host] = s.root + "/" + host
		mirrors["https://"+host] = s.root + "/" + host
	}
	return mirrors
}

// URL returns the server's own address of rawURL.
func (s *Server) URL(rawURL string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.root + "/" + s.key(rawURL)
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
	for _, f := range s.often {
		if !f.hit {
			missed = append(missed, fmt.Sprintf("a share of %g: %s", f.share, f.fault.name))
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
	s.hosts[u.Host] = u.Scheme == "s3"
	return path.Join(u.Host, u.Path)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.URL.Path, "/")
	open, fault, observe := s.begin(key)
	defer s.finish()
	if observe != nil {
		observe(key)
	}
	healthy := func(w http.ResponseWriter) {
		file, found := open(key)
		if !found {
			http.NotFound(w, r)
			return
		}
		defer file.Close() //nolint:errcheck // it was only read
		serveFile(w, r, key, file)
	}
	if fault.serve == nil {
		healthy(w)
		return
	}
	fault.serve(exchange{w: w, r: r, done: s.done, healthy: healthy})
}

func (s *Server) begin(key string) (open func(string) (io.ReadSeekCloser, bool), f Fault, observe func(string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[key]++
	s.open++
	s.maxOpen = max(s.maxOpen, s.open)
	open = s.behind
	if data, found := s.files[key]; found || open == nil {
		open = func(string) (io.ReadSeekCloser, bool) { return Bytes(data), found }
	}
	if plan := s.plans[key]; len(plan) > 0 {
		f, s.plans[key] = plan[0], plan[1:]
	} else if b, ok := s.broken[key]; ok {
		f, s.hit[key] = b, true
	}
	for i, often := range s.often {
		if f.serve == nil && often.meets(key, s.requests[key], i) {
			f, often.hit = often.fault, true
		}
	}
	return open, f, s.observe
}

func (s *Server) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}

// Bytes is a file in memory.
func Bytes(data []byte) io.ReadSeekCloser { return inMemory{bytes.NewReader(data)} }

type inMemory struct{ *bytes.Reader }

func (inMemory) Close() error { return nil }

// serveFile serves a file as a static file server does: with a strong tag and ranges.
func serveFile(w http.ResponseWriter, r *http.Request, name string, file io.ReadSeeker) {
	tag := sha256.New()
	if f, ok := file.(*os.File); ok { // which may be large
		if info, err := f.Stat(); err == nil {
			fmt.Fprint(tag, info.Size(), info.ModTime().UnixNano())
		}
	} else {
		_, _ = io.Copy(tag, file) // memory
		_, _ = file.Seek(0, io.SeekStart)
	}
	w.Header().Set("ETag", `"`+hex.EncodeToString(tag.Sum(nil)[:8])+`"`)
	http.ServeContent(w, r, path.Base(name), time.Time{}, file)
}
