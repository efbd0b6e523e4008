package https_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/internal/s3test"
	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/blobtest"
	"github.com/sandwich-build/sandwich/registry/blob/dir"
	"github.com/sandwich-build/sandwich/registry/blob/https"
	"github.com/sandwich-build/sandwich/registry/blob/s3"
)

func open(t *testing.T, url string, opts https.Options) *https.Store {
	t.Helper()
	s, err := https.New(url, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serve starts a web server of a folder below /data, and returns the store to write to.
func serve(t *testing.T, wrap func(http.Handler) http.Handler) (*httptest.Server, *dir.Store) {
	t.Helper()
	root := t.TempDir()
	handler := http.StripPrefix("/data", http.FileServer(http.Dir(root)))
	server := httptest.NewTLSServer(wrap(handler))
	t.Cleanup(server.Close)
	return server, dir.New(root)
}

func plain(h http.Handler) http.Handler { return h }

// withoutRanges is a web server that knows none.
func withoutRanges(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Range")
		h.ServeHTTP(w, r)
	})
}

func TestFileServer(t *testing.T) {
	for label, wrap := range map[string]func(http.Handler) http.Handler{"with ranges": plain, "without ranges": withoutRanges} {
		t.Run(label, func(t *testing.T) {
			blobtest.RunReadOnly(t, false, func(t *testing.T) (blob.Store, blob.Conditional) {
				server, w := serve(t, wrap)
				return w, open(t, server.URL+"/data/", https.Options{Transport: server.Client().Transport})
			})
		})
	}
}

// What everybody may read of a bucket can be read without speaking S3.
func TestPublicBucket(t *testing.T) {
	server := s3test.Start(t)
	blobtest.RunReadOnly(t, true, func(t *testing.T) (blob.Store, blob.Conditional) {
		bucket := server.NewBucket(t, true)
		server.Publish(t, bucket)
		w, err := s3.New(t.Context(), bucket, s3.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return w, open(t, server.Endpoint+"/"+bucket, https.Options{})
	})
}

// Every fourth request fails, in each way that requests do. What the suite promises stays
// true.
func TestUnderFaults(t *testing.T) {
	for label, fault := range map[string]s3test.Fault{"cut": {}, "cut in the answer": {Cut: 3}, "busy": {Status: http.StatusServiceUnavailable}} {
		t.Run(label, func(t *testing.T) {
			blobtest.RunReadOnly(t, false, func(t *testing.T) (blob.Store, blob.Conditional) {
				root := t.TempDir()
				server := httptest.NewServer(tagged(root))
				t.Cleanup(server.Close)
				proxy := s3test.NewProxy(t, server.URL)
				proxy.Plan(func(r s3test.Request) *s3test.Fault {
					if r.N%4 != 0 {
						return nil
					}
					return &fault
				})
				return dir.New(root), open(t, proxy.Endpoint, https.Options{})
			})
		})
	}
}

// tagged serves a folder with entity tags: of files that were written within one second,
// the time tells nothing.
func tagged(root string) http.Handler {
	files := http.FileServer(http.Dir(root))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if info, err := os.Stat(filepath.Join(root, filepath.FromSlash(r.URL.Path))); err == nil {
			w.Header().Set("ETag", fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size()))
		}
		files.ServeHTTP(w, r)
	})
}

const pattern = "0123456789abcdef"

// changing is a server whose answers are cut after a few bytes, and whose blob is another
// one from the second request on, when it is told to change.
func changing(t *testing.T, header http.Header, change bool) *https.Store {
	t.Helper()
	n := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		text := strings.Repeat(pattern, 1000)
		for key, values := range header {
			w.Header()[key] = values
		}
		if n > 1 && change {
			text = strings.ToUpper(text)
			w.Header().Set("ETag", `"new"`)
			w.Header().Set("Last-Modified", time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat))
		}
		if n > 1 {
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		_, _ = io.WriteString(w, text[:len(text)/2])
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(server.Close)
	return open(t, server.URL, https.Options{Attempts: 3})
}

// What was cut goes on only where the rest is surely of the same blob.
func TestNothingIsStitchedTogether(t *testing.T) {
	old, now := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	for label, tc := range map[string]struct {
		header http.Header
		change bool
		ok     bool
		err    error // when not ok
	}{
		"same tag":        {http.Header{"Etag": {`"a"`}}, false, true, nil},
		"same time":       {http.Header{"Last-Modified": {old}}, false, true, nil},
		"another tag":     {http.Header{"Etag": {`"a"`}}, true, false, blob.ErrChanged},
		"another time":    {http.Header{"Last-Modified": {old}}, true, false, blob.ErrChanged},
		"weak tag":        {http.Header{"Etag": {`W/"a"`}}, false, false, nil},
		"just changed":    {http.Header{"Last-Modified": {now}}, false, false, nil},
		"nothing is told": {nil, true, false, nil},
	} {
		t.Run(label, func(t *testing.T) {
			data, err := blob.ReadAll(t.Context(), changing(t, tc.header, tc.change), "k", 1<<20)
			if tc.ok && (err != nil || string(data) != strings.Repeat(pattern, 1000)) {
				t.Errorf("read %d bytes, %v", len(data), err)
			}
			if !tc.ok && (err == nil || tc.err != nil && !errors.Is(err, tc.err)) {
				t.Errorf("read %d bytes, %v, want %v", len(data), err, tc.err)
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	const secret = "X-Amz-Signature=verysecret"
	inner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/denied" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(pattern))
	}))
	defer inner.Close()
	targets := map[string]string{
		"/far": inner.URL + "/x?" + secret, "/near": "/far", "/denied": inner.URL + "/denied?" + secret, "/loop": "/loop?" + secret,
		"/nowhere": "http://127.0.0.1:1/?" + secret, "/bad": "http://[::1?" + secret, "/file": "file:///etc/passwd?" + secret, "/folder": "/folder/",
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to, ok := targets[r.URL.Path]
		if !ok {
			_, _ = io.WriteString(w, "a listing")
			return
		}
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	server, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer server.Close()
	defer secure.Close()
	s := open(t, server.URL, https.Options{Attempts: 1})
	for _, key := range []string{"far", "near"} {
		r, err := s.Open(t.Context(), key, 3, 4)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := io.ReadAll(r); err != nil || string(data) != pattern[3:7] || r.Close() != nil {
			t.Errorf("%s: %q, %v", key, data, err)
		}
	}
	if _, err := s.Stat(t.Context(), "folder"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder: %v", err)
	}
	strict := open(t, secure.URL, https.Options{Attempts: 1, Transport: secure.Client().Transport})
	for key, s := range map[string]*https.Store{"denied": s, "loop": s, "nowhere": s, "bad": s, "file": s, "far": strict} {
		_, statErr := s.Stat(t.Context(), key)
		_, openErr := s.Open(t.Context(), key, 0, -1)
		_, _, tagErr := s.ReadTagged(t.Context(), key)
		for _, err := range []error{statErr, openErr, tagErr} {
			if err == nil || strings.Contains(err.Error(), "verysecret") || !strings.Contains(err.Error(), s.String()+"/"+key) {
				t.Errorf("%s: %v", key, err)
			}
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, url := range []string{
		"", "https://", "ftp://host/x", "host/x", "https://user:verysecret@host/", "https://host/?sig=verysecret", "https://host/#verysecret", "https://host:verysecret",
	} {
		if s, err := https.New(url, https.Options{}); err == nil || strings.Contains(err.Error(), "verysecret") {
			t.Errorf("New(%q) = %v, %v", url, s, err)
		}
	}
}

// An answer that is no blob is an error that says which.
func TestErrors(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch filepath.Base(r.URL.Path) {
		case "other-range":
			w.Header().Set("Content-Range", "bytes 0-3/4")
			w.WriteHeader(http.StatusPartialContent)
		case "endless":
			w.(http.Flusher).Flush()
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer server.Close()
	s := open(t, server.URL, https.Options{})
	var answer *https.Error
	if _, err := s.Stat(t.Context(), "a b"); !errors.As(err, &answer) || answer.Status != http.StatusUnauthorized || answer.URL != server.URL+"/a%20b" {
		t.Errorf("Stat = %v", err)
	}
	if _, err := s.Open(t.Context(), "other-range", 2, 2); err == nil {
		t.Error("another range was taken")
	}
	if _, err := s.Stat(t.Context(), "endless"); err == nil {
		t.Error("a size was made up")
	}
}
