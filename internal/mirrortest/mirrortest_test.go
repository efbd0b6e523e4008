package mirrortest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/mirrortest"
)

const photoURL = "https://farm1.staticflickr.com/5/photo_o.jpg"

// photo is long enough to arrive in several pieces.
var photo = bytes.Repeat([]byte("0123456789abcdef"), 4<<10)

func start(t *testing.T) *mirrortest.Server {
	t.Helper()
	s := mirrortest.Start(t)
	s.Put(photoURL, photo)
	return s
}

// client follows no redirect, and keeps no connection that a fault has broken.
var client = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Transport:     &http.Transport{DisableKeepAlives: true},
}

// answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error // of the connection, or the body
}

// get asks the server for a URL, or for a range of it.
func get(ctx context.Context, t *testing.T, s *mirrortest.Server, rawURL, byteRange string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL(rawURL), nil)
	if err != nil {
		t.Fatal(err)
	}
	if byteRange != "" {
		request.Header.Set("Range", byteRange)
	}
	response, err := client.Do(request)
	if err != nil {
		return answer{err: err}
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return answer{status: response.StatusCode, header: response.Header, body: body, err: err}
}

func TestServesFilesUnderTheirURLs(t *testing.T) {
	s := start(t)
	s.PutFS(t, "https://storage.googleapis.com/openimages/", fstest.MapFS{
		"v4/classes.csv": {Data: []byte("/m/0cdn1,Hamburger\n")},
	})
	if got := get(t.Context(), t, s, photoURL, ""); got.status != http.StatusOK || !bytes.Equal(got.body, photo) || got.header.Get("ETag") == "" {
		t.Errorf("got status %d, %d bytes, %v; want the photo", got.status, len(got.body), got.header)
	}
	if got := get(t.Context(), t, s, photoURL, "bytes=16-31"); got.status != http.StatusPartialContent || string(got.body) != "0123456789abcdef" {
		t.Errorf("got status %d, %q; want a part of the photo", got.status, got.body)
	}
	if got := get(t.Context(), t, s, "https://storage.googleapis.com/openimages/v4/classes.csv", ""); string(got.body) != "/m/0cdn1,Hamburger\n" {
		t.Errorf("got %q, want the class list", got.body)
	}
	if got := get(t.Context(), t, s, "https://storage.googleapis.com/openimages/v4/boxes.csv", ""); got.status != http.StatusNotFound {
		t.Errorf("got status %d for what is not there, want 404", got.status)
	}
	if s.Requests(photoURL) != 2 || s.Total() != 4 {
		t.Errorf("counted %d requests for the photo and %d in all, want 2 and 4", s.Requests(photoURL), s.Total())
	}
}

// TestMirrors asks as a client does that was told the mirrors: by putting them in the
// place of the scheme and the host.
func TestMirrors(t *testing.T) {
	s := start(t)
	s.Put("http://example.org/a b?size=1", []byte("spaces"))
	mirrors := s.Mirrors()
	if len(mirrors) != 4 {
		t.Errorf("got %v, want http and https of 2 hosts", mirrors)
	}
	for rawURL, want := range map[string]string{
		"https://farm1.staticflickr.com/5/photo_o.jpg": string(photo),
		"http://farm1.staticflickr.com/5/photo_o.jpg":  string(photo),
		"https://example.org/a%20b":                    "spaces",
	} {
		u, err := url.Parse(rawURL)
		if err != nil {
			t.Fatal(err)
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, mirrors[u.Scheme+"://"+u.Host]+u.EscapedPath(), nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if err := errors.Join(err, response.Body.Close()); err != nil || string(body) != want {
			t.Errorf("%s: got %d bytes, %v; want %d", rawURL, len(body), err, len(want))
		}
	}
}

func TestFaults(t *testing.T) {
	for _, test := range []struct {
		name   string
		fault  mirrortest.Fault
		asked  string // range
		status int
		body   string // how it begins
		size   int
		broken bool
		header map[string]string
	}{
		{name: "status", fault: mirrortest.Status(503), status: 503, body: "Service Unavailable", size: 20},
		{name: "retry after", fault: mirrortest.RetryAfter(429, "7"), status: 429, body: "Too Many", size: 18, header: map[string]string{"Retry-After": "7"}},
		{name: "redirect", fault: mirrortest.Redirect("https://example.org/x"), status: 302, body: "<a href", size: 44, header: map[string]string{"Location": "https://example.org/x"}},
		{name: "body", fault: mirrortest.Body("image/jpeg", []byte("no")), status: 200, body: "no", size: 2, header: map[string]string{"Content-Type": "image/jpeg"}},
		{name: "html", fault: mirrortest.HTML(), status: 200, body: "<!DOCTYPE html>", size: 53},
		{name: "cut", fault: mirrortest.Cut(1000), status: 200, body: "0123", size: 1000, broken: true},
		{name: "slow", fault: mirrortest.Slow(32<<10, time.Millisecond), status: 200, body: "0123", size: len(photo)},
		{name: "no range", fault: mirrortest.NoRange(), asked: "bytes=100-", status: 200, body: "0123", size: len(photo)},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t)
			s.Plan(photoURL, test.fault)
			got := get(t.Context(), t, s, photoURL, test.asked)
			if got.status != test.status || !strings.HasPrefix(string(got.body), test.body) || len(got.body) != test.size || (got.err != nil) != test.broken {
				t.Errorf("got status %d, %d bytes that begin %.20q, %v; want %+v", got.status, len(got.body), got.body, got.err, test)
			}
			for name, want := range test.header {
				if got.header.Get(name) != want {
					t.Errorf("%s is %q, want %q", name, got.header.Get(name), want)
				}
			}
			if again := get(t.Context(), t, s, photoURL, ""); !bytes.Equal(again.body, photo) || again.err != nil {
				t.Errorf("after the fault: %d bytes, %v; want the photo", len(again.body), again.err)
			}
			s.AssertFaultsHit(t)
		})
	}
}

// TestHangingFaults ends when the client gives up, however long the server would wait.
func TestHangingFaults(t *testing.T) {
	for name, fault := range map[string]mirrortest.Fault{"hang": mirrortest.Hang(), "stall": mirrortest.Stall(1000)} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			s.Break(photoURL, fault)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if got := get(ctx, t, s, photoURL, ""); !errors.Is(got.err, context.DeadlineExceeded) {
				t.Errorf("got status %d, %d bytes, %v; want no end", got.status, len(got.body), got.err)
			}
		})
	}
}

// TestEndOfTestFreesHangingHandlers leaves a request open: the server must stop anyway.
func TestEndOfTestFreesHangingHandlers(t *testing.T) {
	done := make(chan error, 1)
	t.Run("server", func(t *testing.T) {
		s := start(t)
		s.Break(photoURL, mirrortest.Hang())
		asked := make(chan struct{})
		s.Observe(func(string) { close(asked) })
		go func() { done <- get(context.WithoutCancel(t.Context()), t, s, photoURL, "").err }()
		<-asked
	})
	if err := <-done; err == nil {
		t.Error("the open request ended without an error")
	}
}

func TestPlanBreakAndRepair(t *testing.T) {
	s := start(t)
	statuses := func(n int) []int {
		var got []int
		for range n {
			got = append(got, get(t.Context(), t, s, photoURL, "").status)
		}
		return got
	}
	s.Plan(photoURL, mirrortest.Status(500), mirrortest.Status(503))
	s.Plan(photoURL, mirrortest.Status(429))
	s.Break(photoURL, mirrortest.Status(404))
	if diff := cmp.Diff([]int{500, 503, 429, 404, 404}, statuses(5)); diff != "" {
		t.Errorf("planned, then broken (-want +got):\n%s", diff)
	}
	s.Repair(photoURL)
	if diff := cmp.Diff([]int{200, 200}, statuses(2)); diff != "" {
		t.Errorf("repaired (-want +got):\n%s", diff)
	}
}

func TestDeletedPhoto(t *testing.T) {
	s := start(t)
	s.DeletePhoto(photoURL)
	redirect := get(t.Context(), t, s, photoURL, "")
	if redirect.status != http.StatusFound || redirect.header.Get("Location") != mirrortest.PlaceholderURL {
		t.Errorf("got status %d to %q, want Flickr's placeholder", redirect.status, redirect.header.Get("Location"))
	}
	picture := get(t.Context(), t, s, mirrortest.PlaceholderURL, "")
	config, err := png.DecodeConfig(bytes.NewReader(picture.body))
	if err != nil || config.Width != 500 || config.Height != 374 {
		t.Errorf("the placeholder is %dx%d, %v; want a PNG of 500x374", config.Width, config.Height, err)
	}
}

// failures is a testing.TB that only takes notes.
type failures struct {
	testing.TB
	count int
}

func (*failures) Helper()                 {}
func (f *failures) Errorf(string, ...any) { f.count++ }

// TestAssertFaultsHit must fail for faults that were never met, and for no others.
func TestAssertFaultsHit(t *testing.T) {
	s := start(t)
	const other = "https://example.org/other"
	s.Plan(photoURL, mirrortest.Status(500), mirrortest.Status(500))
	s.Break(other, mirrortest.Status(404))
	for _, want := range []int{3, 2, 1, 0} {
		notes := &failures{TB: t}
		s.AssertFaultsHit(notes)
		if notes.count != want {
			t.Errorf("%d faults were not met, want %d", notes.count, want)
		}
		if want > 1 {
			get(t.Context(), t, s, photoURL, "")
		} else {
			get(t.Context(), t, s, other, "")
		}
	}
}

// TestMaxOpen opens three requests at once, which wait for each other.
func TestMaxOpen(t *testing.T) {
	s := start(t)
	var gate sync.WaitGroup
	gate.Add(3)
	s.Observe(func(hostAndPath string) {
		if hostAndPath != "farm1.staticflickr.com/5/photo_o.jpg" {
			t.Errorf("observed %q", hostAndPath)
		}
		gate.Done()
		gate.Wait()
	})
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() { get(t.Context(), t, s, photoURL, "") })
	}
	group.Wait()
	if got := s.MaxOpen(); got != 3 {
		t.Errorf("at most %d requests were open, want 3", got)
	}
}

func TestBehindAndSprinkle(t *testing.T) {
	s := mirrortest.Start(t)
	s.Behind(func(place string) (io.ReadSeekCloser, bool) {
		return mirrortest.Bytes([]byte(place)), strings.HasPrefix(place, "far.example/")
	})
	s.Put("https://near.example/a.jpg", []byte("a"))
	s.Stand("far.example")
	s.Sprinkle(0.25, 1, mirrortest.Status(http.StatusTeapot))
	first, second := map[int]int{}, map[int]int{}
	for i := range 200 {
		url := fmt.Sprintf("https://far.example/%d.jpg", i)
		first[get(t.Context(), t, s, url, "").status]++
		again := get(t.Context(), t, s, url, "")
		second[again.status]++
		if want := fmt.Sprintf("far.example/%d.jpg", i); string(again.body) != want {
			t.Fatalf("got %q at %s", again.body, want)
		}
	}
	if n := first[http.StatusTeapot]; n < 30 || n > 70 || first[http.StatusOK] != 200-n || second[http.StatusOK] != 200 {
		t.Errorf("answers: %v, then %v", first, second)
	}
	if got := get(t.Context(), t, s, "https://far.example/12.jpg", "bytes=4-6"); string(got.body) != "exa" {
		t.Errorf("a range of what is behind: %q", got.body)
	}
	if get(t.Context(), t, s, "https://near.example/b.jpg", "").status != http.StatusNotFound {
		t.Error("there is something that nobody has put there")
	}
	s.AssertFaultsHit(t)
	s.Sprinkle(0.5, 0, mirrortest.Status(http.StatusGone))
	var missed failures
	s.AssertFaultsHit(&missed)
	if missed.count != 1 {
		t.Errorf("%d faults were never met, want 1", missed.count)
	}
}
