package fetch_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/internal/mirrortest"
)

const photoURL = "https://farm3.staticflickr.com/568/21452126474_ab12789b36_o.jpg"

// content is long enough to be cut anywhere.
var content = bytes.Repeat([]byte("Two slices of bread, and what lies between. "), 10_000)

func newClient(t *testing.T, o fetch.Options) *fetch.Client {
	t.Helper()
	if o.Wait == 0 {
		o.Wait = time.Millisecond
	}
	c, err := fetch.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func get(ctx context.Context, c *fetch.Client, url string, want fetch.Want) ([]byte, error) {
	b, err := c.Open(ctx, url, want)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(b)
	return data, errors.Join(err, b.Close())
}

func TestSourcesOfBytes(t *testing.T) {
	dir := t.TempDir()
	write := func(name string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("plain.csv")
	write("mirror/2018/a b.csv")
	write("mirror/q.csv?v=1")
	write("other/deep.csv")
	if err := os.Symlink("../plain.csv", filepath.Join(dir, "mirror", "link.csv")); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, fetch.Options{Dir: dir, Mirrors: map[string]string{
		"https://a.com/x":            "./mirror",
		"https://a.com/x/2018/other": filepath.Join(dir, "other"),
		"https://gone.com":           "./no-such-folder",
	}})
	for _, tt := range []struct{ url, want string }{
		{"plain.csv", "plain.csv"},
		{filepath.Join(dir, "plain.csv"), "plain.csv"},
		{"file://" + filepath.ToSlash(filepath.Join(dir, "plain.csv")), "plain.csv"},
		{"https://a.com/x/2018/a%20b.csv", "mirror/2018/a b.csv"},
		{"HTTPS://A.COM/x/2018/a%20b.csv#part", "mirror/2018/a b.csv"},
		{"https://a.com/x/q.csv?v=1", "mirror/q.csv?v=1"},
		{"https://a.com/x/2018/other/deep.csv", "other/deep.csv"},
	} {
		data, err := get(t.Context(), c, tt.url, fetch.Want{})
		if err != nil || string(data) != tt.want {
			t.Errorf("%s: got %q, %v; want %q", tt.url, data, err, tt.want)
		}
	}
	for _, tt := range []struct {
		url      string
		target   error
		definite bool
	}{
		{"no-such.csv", fs.ErrNotExist, true},
		{"mirror", fs.ErrNotExist, true}, // a folder
		{"file://elsewhere/x", fetch.ErrURL, true},
		{"ftp://a.com/x", fetch.ErrURL, true},
		{"", fetch.ErrURL, true},
		{"https://user:secret@a.com/x", fetch.ErrURL, true},
		{"https://a.com/x/../x/q.csv", fetch.ErrURL, true},
		{"https://a.com/x/%2e%2e/plain.csv", fetch.ErrURL, true},
		{"https://a.com/x/2018%2F..%2F../plain.csv", fetch.ErrURL, true},
		{"https://gone.com/x", fetch.ErrMirror, false},
	} {
		_, err := get(t.Context(), c, tt.url, fetch.Want{})
		if !errors.Is(err, tt.target) || fetch.Definite(err) != tt.definite {
			t.Errorf("%s: got %v (definite %v), want %v", tt.url, err, fetch.Definite(err), tt.target)
		}
	}
	for _, missing := range []string{
		"https://a.com/x/no-such.csv", "https://a.com/x", "https://a.com/x/2018", "https://a.com/x//etc/passwd",
	} {
		_, err := get(t.Context(), c, missing, fetch.Want{})
		if status, ok := errors.AsType[*fetch.StatusError](err); !ok || status.Code != http.StatusNotFound {
			t.Errorf("%s: got %v, want 404", missing, err)
		}
	}
	if data, err := get(t.Context(), c, "https://a.com/x/link.csv", fetch.Want{}); err == nil {
		t.Errorf("a link led out of the mirror folder, to %q", data)
	}
}

func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		name     string
		faults   []mirrortest.Fault
		requests int
	}{
		{"healthy", nil, 1},
		{"overloaded", []mirrortest.Fault{mirrortest.Status(500), mirrortest.Status(503), mirrortest.Status(429)}, 4},
		{"told to wait", []mirrortest.Fault{mirrortest.RetryAfter(429, "0")}, 2},
		{"cut at once", []mirrortest.Fault{mirrortest.Cut(0)}, 2},
		{"cut", []mirrortest.Fault{mirrortest.Cut(100_000)}, 2},
		{"cut, cut, cut", []mirrortest.Fault{mirrortest.Cut(100_000), mirrortest.Cut(10), mirrortest.Cut(70_000)}, 4},
		{"cut, no range", []mirrortest.Fault{mirrortest.Cut(100_000), mirrortest.NoRange()}, 2},
		{"cut, then 416", []mirrortest.Fault{mirrortest.Cut(100_000), mirrortest.Status(416)}, 3},
		{"silent", []mirrortest.Fault{mirrortest.Hang()}, 2},
		{"stalled", []mirrortest.Fault{mirrortest.Stall(50_000)}, 2},
		{"a byte now and then", []mirrortest.Fault{mirrortest.Slow(1, 20*time.Millisecond)}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := mirrortest.Start(t)
			server.Put(photoURL, content)
			c := newClient(t, fetch.Options{
				Mirrors: server.Mirrors(), Header: 200 * time.Millisecond, Idle: 200 * time.Millisecond,
			})
			for _, want := range []fetch.Want{{}, wantAll(content)} {
				server.Plan(photoURL, tt.faults...)
				data, err := get(t.Context(), c, photoURL, want)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(data, content) {
					t.Fatalf("got %d bytes that differ from the %d served", len(data), len(content))
				}
				server.AssertFaultsHit(t)
			}
			if got := server.Requests(photoURL); got != 2*tt.requests {
				t.Errorf("got %d requests for two fetches, want %d each", got, tt.requests)
			}
		})
	}
}

func wantAll(data []byte) fetch.Want {
	s, m := sha256.Sum256(data), md5.Sum(data)
	return fetch.Want{Size: int64(len(data)), SHA256: s[:], MD5: m[:]}
}

// A line that breaks off again and again is forgiven as long as much gets through.
func TestProgressForgives(t *testing.T) {
	server := mirrortest.Start(t)
	long := bytes.Repeat(content, 30) // 13 MB
	server.Put(photoURL, long)
	for range 8 {
		server.Plan(photoURL, mirrortest.Cut(3<<19))
	}
	c := newClient(t, fetch.Options{Mirrors: server.Mirrors(), Attempts: 2})
	data, err := get(t.Context(), c, photoURL, fetch.Want{})
	if err != nil || !bytes.Equal(data, long) {
		t.Errorf("got %d bytes of %d, %v", len(data), len(long), err)
	}
	server.AssertFaultsHit(t)
}

func TestErrors(t *testing.T) {
	status := func(code int) func(error) bool {
		return func(err error) bool {
			e, ok := errors.AsType[*fetch.StatusError](err)
			return ok && e.Code == code
		}
	}
	mismatch := func(what string) func(error) bool {
		return func(err error) bool {
			e, ok := errors.AsType[*fetch.MismatchError](err)
			return ok && e.What == what
		}
	}
	is := func(target error) func(error) bool {
		return func(err error) bool { return errors.Is(err, target) }
	}
	good := wantAll(content)
	size := int64(len(content))
	for _, tt := range []struct {
		name     string
		fault    mirrortest.Fault
		want     fetch.Want
		ok       func(error) bool
		requests int
		definite bool
	}{
		{"not found", mirrortest.Status(404), good, status(404), 1, true},
		{"gone", mirrortest.Status(410), good, status(410), 1, true},
		{"forbidden", mirrortest.Status(403), good, status(403), 1, true},
		{"not implemented", mirrortest.Status(501), good, status(501), 1, true},
		{"proxy wants a password", mirrortest.Status(407), good, status(407), 1, false},
		{"always overloaded", mirrortest.Status(500), good, status(500), 3, false},
		{"always cut", mirrortest.Cut(1000), good, is(io.ErrUnexpectedEOF), 3, false},
		{"always silent", mirrortest.Hang(), good, is(fetch.ErrTimeout), 3, false},
		{"redirect to itself", mirrortest.Redirect(photoURL), good, is(fetch.ErrRedirects), 10, true},
		{"redirect to a file", mirrortest.Redirect("file:///etc/passwd"), good, is(fetch.ErrURL), 1, true},
		{"redirect without a place", mirrortest.Status(302), good, status(302), 1, true},
		{"wrong bytes", mirrortest.Body("image/jpeg", content[1:]), good, mismatch("size"), 1, true},
		{"too many bytes", mirrortest.Body("image/jpeg", append(content[:size:size], '!')), good, mismatch("size"), 1, true},
		{"other bytes", mirrortest.Body("image/jpeg", append(content[1:size:size], '!')), good, mismatch("SHA-256"), 1, true},
		{"other bytes by MD5", mirrortest.Body("image/jpeg", append(content[1:size:size], '!')), fetch.Want{MD5: good.MD5}, mismatch("MD5"), 1, true},
		{"over the limit", mirrortest.Body("image/jpeg", content), fetch.Want{Limit: size - 1}, is(fetch.ErrTooLarge), 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := mirrortest.Start(t)
			server.Put(photoURL, content)
			server.Break(photoURL, tt.fault)
			c := newClient(t, fetch.Options{
				Mirrors: server.Mirrors(), Header: 100 * time.Millisecond, Idle: time.Second, Attempts: 3,
			})
			_, err := get(t.Context(), c, photoURL, tt.want)
			if err == nil || !tt.ok(err) {
				t.Errorf("got %v", err)
			}
			if fetch.Definite(err) != tt.definite {
				t.Errorf("%v: got definite %v", err, !tt.definite)
			}
			if got := server.Requests(photoURL); got != tt.requests {
				t.Errorf("got %d requests, want %d", got, tt.requests)
			}
		})
	}
}

// An empty body and one of unknown length are content like any other.
func TestLimitOfUnknownLength(t *testing.T) {
	server := mirrortest.Start(t)
	server.Put(photoURL, content)
	server.Break(photoURL, mirrortest.Slow(len(content)/2, 0)) // flushed, so chunked
	server.Put("https://a.com/empty", nil)
	c := newClient(t, fetch.Options{Mirrors: server.Mirrors()})
	if _, err := get(t.Context(), c, photoURL, fetch.Want{Limit: 1000}); !errors.Is(err, fetch.ErrTooLarge) {
		t.Errorf("got %v, want %v", err, fetch.ErrTooLarge)
	}
	if data, err := get(t.Context(), c, "https://a.com/empty", fetch.Want{Limit: 1000}); err != nil || len(data) != 0 {
		t.Errorf("got %q, %v; want nothing", data, err)
	}
}

func TestFinalURL(t *testing.T) {
	server := mirrortest.Start(t)
	server.DeletePhoto(photoURL)
	c := newClient(t, fetch.Options{Mirrors: server.Mirrors()})
	b, err := c.Open(t.Context(), photoURL, fetch.Want{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	if b.URL() != mirrortest.PlaceholderURL || b.Size() != int64(len(mirrortest.Placeholder())) {
		t.Errorf("got %s with %d bytes", b.URL(), b.Size())
	}
	server.AssertFaultsHit(t)
}

// Content that changes between two answers must not be sewn together, whether or not
// the server knows ranges.
func TestChangedWhileRead(t *testing.T) {
	for _, faults := range [][]mirrortest.Fault{
		{mirrortest.Cut(100_000)}, // If-Range names the old content
		{mirrortest.Cut(100_000), mirrortest.NoRange()},
	} {
		server := mirrortest.Start(t)
		server.Put(photoURL, content)
		server.Plan(photoURL, faults...)
		c := newClient(t, fetch.Options{Mirrors: server.Mirrors()})
		b, err := c.Open(t.Context(), photoURL, fetch.Want{})
		if err != nil {
			t.Fatal(err)
		}
		server.Put(photoURL, append([]byte("new "), content...))
		data, err := io.ReadAll(b)
		if !errors.Is(err, fetch.ErrChanged) || fetch.Definite(err) {
			t.Errorf("got %d bytes, %v; want %v", len(data), err, fetch.ErrChanged)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		server.AssertFaultsHit(t)
	}
}

// roundTrip is a transport in memory: with it, time is the test's own.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(code int, header http.Header, body string) *http.Response {
	return &http.Response{
		StatusCode: code, Header: header, ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewBufferString(body)),
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	for _, tt := range []struct {
		name     string
		header   func() string
		min, max time.Duration
	}{
		{"seconds", func() string { return "7" }, 7 * time.Second, 8 * time.Second},
		{"date", func() string { return time.Now().Add(9 * time.Second).UTC().Format(http.TimeFormat) }, 8 * time.Second, 10 * time.Second},
		{"capped", func() string { return "86400" }, 2 * time.Minute, 2*time.Minute + time.Second},
		{"nonsense", func() string { return "soon" }, 0, time.Second},
		{"past", func() string { return "Thu, 21 Oct 1999 07:28:00 GMT" }, 0, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked []time.Time
				c := newClient(t, fetch.Options{
					Wait: 500 * time.Millisecond,
					Transport: roundTrip(func(*http.Request) (*http.Response, error) {
						asked = append(asked, time.Now())
						if len(asked) == 1 {
							return answer(429, http.Header{"Retry-After": {tt.header()}}, ""), nil
						}
						return answer(200, http.Header{}, "bread"), nil
					}),
				})
				if _, err := get(t.Context(), c, photoURL, fetch.Want{}); err != nil {
					t.Fatal(err)
				}
				if wait := asked[1].Sub(asked[0]); wait < tt.min || wait > tt.max {
					t.Errorf("waited %v, want %v to %v", wait, tt.min, tt.max)
				}
			})
		})
	}
}

// A server that answers with another range than asked for is not believed; it is asked
// for everything, once.
func TestWrongRange(t *testing.T) {
	for _, header := range []string{"bytes 1-4/5", "bytes 0-4/5", "bytes 2-4", ""} {
		var asked []string
		c := newClient(t, fetch.Options{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			asked = append(asked, r.Header.Get("Range"))
			switch len(asked) {
			case 1:
				cut := answer(200, http.Header{"Etag": {`"1"`}}, "br")
				cut.Body = io.NopCloser(io.MultiReader(cut.Body, iotest.ErrReader(io.ErrUnexpectedEOF)))
				return cut, nil
			case 2:
				return answer(206, http.Header{"Content-Range": {header}}, "read"), nil
			}
			return answer(200, http.Header{}, "bread"), nil
		})})
		data, err := get(t.Context(), c, photoURL, fetch.Want{})
		if err != nil || string(data) != "bread" {
			t.Errorf("%q: got %q, %v", header, data, err)
		}
		if want := []string{"", "bytes=2-", ""}; !slices.Equal(asked, want) {
			t.Errorf("%q: asked for ranges %q, want %q", header, asked, want)
		}
	}
}

func TestNoAnswer(t *testing.T) {
	requests := 0
	c := newClient(t, fetch.Options{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		requests++
		return nil, errors.New("connection refused")
	})})
	_, err := get(t.Context(), c, photoURL, fetch.Want{})
	if _, ok := errors.AsType[*fetch.NoAnswerError](err); !ok || fetch.Definite(err) || requests != 4 {
		t.Errorf("got %v after %d requests", err, requests)
	}
	if want := "fetch " + photoURL + ": no answer: connection refused"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestCancel(t *testing.T) {
	cause := errors.New("enough")
	for _, tt := range []struct {
		name  string
		fault mirrortest.Fault
	}{
		{"silent server", mirrortest.Hang()},
		{"stalled body", mirrortest.Stall(1000)},
		{"long wait", mirrortest.RetryAfter(503, "100")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := mirrortest.Start(t)
			server.Put(photoURL, content)
			server.Break(photoURL, tt.fault)
			c := newClient(t, fetch.Options{Mirrors: server.Mirrors(), PerHost: 1})
			ctx, cancel := context.WithCancelCause(t.Context())
			var wg sync.WaitGroup
			for range 3 { // one is served, two wait for its slot
				wg.Go(func() {
					if _, err := get(ctx, c, photoURL, fetch.Want{}); !errors.Is(err, cause) {
						t.Errorf("got %v, want %v", err, cause)
					}
				})
			}
			for server.Total() == 0 {
				runtime.Gosched()
			}
			start := time.Now()
			cancel(cause)
			wg.Wait()
			if took := time.Since(start); took > time.Second {
				t.Errorf("cancelling took %v", took)
			}
		})
	}
}

func TestBounds(t *testing.T) {
	for _, o := range []fetch.Options{{PerHost: 3, Total: 64}, {PerHost: 64, Total: 3}} {
		server := mirrortest.Start(t)
		full := make(chan struct{})
		var open atomic.Int32
		server.Observe(func(string) {
			// Nobody is answered until the bound is reached; then one more would show.
			if open.Add(1) == 3 {
				close(full)
			}
			<-full
		})
		for i := range 40 {
			server.Put(fmt.Sprintf("https://a.com/%d", i), content)
		}
		o.Mirrors = server.Mirrors()
		c := newClient(t, o)
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				if _, err := get(t.Context(), c, fmt.Sprintf("https://a.com/%d", i), fetch.Want{}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := server.MaxOpen(); got != 3 {
			t.Errorf("per host %d, total %d: got %d open requests, want 3", o.PerHost, o.Total, got)
		}
	}
}

func TestNothingIsLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	func() {
		server := mirrortest.Start(t)
		server.Put(photoURL, content)
		server.Plan(photoURL, mirrortest.Cut(5), mirrortest.Status(500), mirrortest.Stall(9))
		c := newClient(t, fetch.Options{Mirrors: server.Mirrors(), Idle: 50 * time.Millisecond})
		if _, err := get(t.Context(), c, photoURL, fetch.Want{}); err != nil {
			t.Error(err)
		}
		b, err := c.Open(t.Context(), photoURL, fetch.Want{})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil { // unread
			t.Error(err)
		}
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
			t.Errorf("read after close: got %v", err)
		}
		c.Close()
	}()
	// The server's accept loop stays until the test ends.
	const server = 1
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > before+server && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if after := runtime.NumGoroutine(); after > before+server {
		buf := make([]byte, 1<<16)
		t.Errorf("%d goroutines before, %d after:\n%s", before, after, buf[:runtime.Stack(buf, true)])
	}
}
