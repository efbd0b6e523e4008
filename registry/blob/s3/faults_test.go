package s3_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/internal/s3test"
	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/s3"
)

func noise(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data) // never fails
	return data
}

// sums returns what Body.Sums holds of data.
func sums(data []byte) [][sha256.Size]byte {
	var all [][sha256.Size]byte
	for len(data) > 0 {
		n := min(len(data), 8<<20)
		all = append(all, sha256.Sum256(data[:n]))
		data = data[n:]
	}
	return all
}

// The bytes must have the sums that are known of them: the server compares, and nothing
// of other bytes is left.
func TestWrongSums(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.NewBucket(t, true)
	store := open(t, bucket, s3.Options{})
	for _, size := range []int{100, 8 << 20, 17 << 20} {
		data := noise(size)
		body := blob.Bytes(data)
		body.Chunk, body.Sums = 8<<20, sums(data)
		if err := store.Put(t.Context(), "right", body); err != nil {
			t.Errorf("%d bytes with the right sums: %v", size, err)
		}
		body.Sums[len(body.Sums)-1][0] ^= 1
		if err := store.Put(t.Context(), "wrong", body); !errors.Is(err, blob.ErrDiffers) {
			t.Errorf("%d bytes with a wrong sum: %v, want %v", size, err, blob.ErrDiffers)
		}
		if _, err := store.Stat(t.Context(), "wrong"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%d wrong bytes are there: %v", size, err)
		}
	}
	if n := server.Uploads(t, bucket); n > 0 {
		t.Errorf("%d unfinished uploads are left", n)
	}
}

// Each request of an upload and a download fails once, in every way; nobody notices.
func TestPassingFaults(t *testing.T) {
	server := s3test.Start(t)
	data := noise(8<<20 + 1)
	for label, fault := range map[string]s3test.Fault{
		"cut": {}, "cut behind the work": {After: true}, "cut in the answer": {Cut: 100}, "busy": {Status: http.StatusServiceUnavailable},
	} {
		t.Run(label, func(t *testing.T) {
			bucket := server.NewBucket(t, true)
			proxy := server.NewProxy(t)
			store := open(t, bucket, s3.Options{Endpoint: proxy.Endpoint})
			for n := 1; ; n++ {
				hit := false
				proxy.Plan(func(q s3test.Request) *s3test.Fault {
					if q.N != n {
						return nil
					}
					hit = true
					return &fault
				})
				key := fmt.Sprint("k", n)
				if err := store.Put(t.Context(), key, blob.Bytes(data)); err != nil {
					t.Fatalf("request %d: Put: %v", n, err)
				}
				got, err := blob.ReadAll(t.Context(), store, key, int64(len(data)))
				if err != nil || string(got) != string(data) {
					t.Fatalf("request %d: read %d bytes, %v", n, len(got), err)
				}
				if !hit {
					if n < 6 {
						t.Errorf("only %d requests", n)
					}
					break
				}
			}
			if n := server.Uploads(t, bucket); n > 0 && label != "cut behind the work" && label != "cut in the answer" {
				t.Errorf("%d unfinished uploads are left", n)
			}
		})
	}
}

// A pause that the server asks for is kept; what no repetition mends is not repeated.
func TestRetry(t *testing.T) {
	server := s3test.Start(t)
	proxy := server.NewProxy(t)
	store := open(t, server.NewBucket(t, false), s3.Options{Endpoint: proxy.Endpoint})
	proxy.Plan(func(q s3test.Request) *s3test.Fault {
		if q.N > 1 {
			return nil
		}
		return &s3test.Fault{Status: http.StatusServiceUnavailable, Header: map[string]string{"Retry-After": "1"}}
	})
	start := time.Now()
	if err := store.Put(t.Context(), "k", blob.Bytes(nil)); err != nil || time.Since(start) < time.Second {
		t.Errorf("Put = %v after %v, and the server asked for a second", err, time.Since(start))
	}
	for _, status := range []int{http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed} {
		proxy.Plan(func(s3test.Request) *s3test.Fault { return &s3test.Fault{Status: status} })
		var answer *s3.Error
		if err := store.Put(t.Context(), "k", blob.Bytes(nil)); !errors.As(err, &answer) || answer.Status != status {
			t.Errorf("Put = %v, want status %d", err, status)
		}
		if n := len(proxy.Requests()); n != 1 {
			t.Errorf("status %d: %d requests", status, n)
		}
	}
	proxy.Plan(func(s3test.Request) *s3test.Fault { return &s3test.Fault{} })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := store.Put(ctx, "k", blob.Bytes(nil)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Put = %v, want the end of its context", err)
	}
}

// Who has no credentials, or such as the server does not know, reads what is public.
func TestAnonymous(t *testing.T) {
	server := s3test.Start(t)
	public, private := server.NewBucket(t, false), server.NewBucket(t, false)
	for _, bucket := range []string{public, private} {
		if err := open(t, bucket, s3.Options{}).Put(t.Context(), "a/k", blob.Bytes([]byte("data"))); err != nil {
			t.Fatal(err)
		}
	}
	server.Publish(t, public)
	for label, id := range map[string]string{"none": "", "unknown": "AKIAUNKNOWN"} {
		t.Run(label, func(t *testing.T) {
			t.Setenv("AWS_ACCESS_KEY_ID", id)
			if id == "" {
				t.Setenv("AWS_SECRET_ACCESS_KEY", "")
			}
			store := open(t, public, s3.Options{})
			if data, err := blob.ReadAll(t.Context(), store, "a/k", 10); err != nil || string(data) != "data" {
				t.Errorf("read %q, %v", data, err)
			}
			for info, err := range store.List(t.Context(), "a/") {
				if err != nil || info.Key != "a/k" {
					t.Errorf("list %v, %v", info, err)
				}
			}
			err := store.Put(t.Context(), "b", blob.Bytes(nil))
			if err == nil || id == "" && !strings.Contains(err.Error(), "no AWS credentials") {
				t.Errorf("Put = %v", err)
			}
			_, err = blob.ReadAll(t.Context(), open(t, private, s3.Options{}), "a/k", 10)
			var answer *s3.Error
			if !errors.As(err, &answer) {
				t.Errorf("read of a private bucket = %v", err)
			}
		})
	}
}

func TestNoBucket(t *testing.T) {
	s3test.Start(t)
	store := open(t, "no-such-bucket", s3.Options{})
	var none *s3.NoBucketError
	if _, _, err := store.ReadTagged(t.Context(), "k"); !errors.As(err, &none) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadTagged = %v", err)
	}
	if err := store.Put(t.Context(), "k", blob.Bytes(nil)); !errors.As(err, &none) {
		t.Errorf("Put = %v", err)
	}
}

// plainServer keeps objects and knows nothing of checksums; how it takes conditions is
// refused says.
func plainServer(t *testing.T, refused bool) string {
	t.Helper()
	var mu sync.Mutex
	objects := map[string][]byte{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case r.Method == http.MethodPut && refused && r.Header.Get("If-None-Match")+r.Header.Get("If-Match") != "":
			w.WriteHeader(http.StatusNotImplemented)
		case r.Method == http.MethodPut:
			objects[r.URL.Path], _ = io.ReadAll(r.Body)
		case objects[r.URL.Path] == nil:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, "<Error><Code>NoSuchKey</Code></Error>")
		default:
			w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(objects[r.URL.Path])))
			_, _ = w.Write(objects[r.URL.Path])
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// Servers that can not do everything are said to, once, and do what they can.
func TestLosses(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "y")
	for label, refused := range map[string]bool{"refuses conditions": true, "ignores conditions": false} {
		t.Run(label, func(t *testing.T) {
			var said []string
			store := open(t, "bucket", s3.Options{Endpoint: plainServer(t, refused), Warn: func(m string) { said = append(said, m) }})
			for i := range 3 {
				_, tag, err := store.ReadTagged(t.Context(), "k")
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Fatal(err)
				}
				if err := store.PutIf(t.Context(), "k", []byte(fmt.Sprint(i)), tag); err != nil {
					t.Fatal(err)
				}
			}
			if err := store.PutIf(t.Context(), "k", []byte("late"), `"old"`); !errors.Is(err, blob.ErrChanged) {
				t.Errorf("PutIf with an old tag = %v", err)
			}
			if all := strings.Join(said, "\n"); len(said) != 2 || !strings.Contains(all, "conditional writes") || !strings.Contains(all, "SHA-256") {
				t.Errorf("said %q", said)
			}
			err := store.TryWrite(t.Context())
			if trial, ok := errors.AsType[*blob.TrialError](err); !ok || !trial.Works || !strings.Contains(err.Error(), "at the same moment") {
				t.Errorf("TryWrite = %v", err)
			}
		})
	}
}

// TestTryWrite leaves nothing but what nobody may remove.
func TestTryWrite(t *testing.T) {
	server := s3test.Start(t)
	for bucket, left := range map[string]int{server.NewBucket(t, false): 0, server.NewBucket(t, true): 0, server.NewLockedBucket(t): 2} {
		if err := open(t, bucket, s3.Options{}).TryWrite(t.Context()); err != nil {
			t.Errorf("%s: %v", bucket, err)
		}
		if keys := server.Versions(t, bucket); len(keys) != left {
			t.Errorf("%s: %q are left", bucket, keys)
		}
	}
}
