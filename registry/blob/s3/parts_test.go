package s3_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/internal/s3test"
	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/s3"
)

func known(data []byte) blob.Body {
	body := blob.Bytes(data)
	body.Chunk, body.Sums = 8<<20, sums(data)
	return body
}

// An upload that was cut off goes on with the parts that are missing, and one of other
// bytes is left alone.
func TestUploadGoesOn(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.NewBucket(t, true)
	proxy := server.NewProxy(t)
	store := open(t, bucket, s3.Options{Endpoint: proxy.Endpoint, Attempts: 1})
	const sent, parts = 3, 5
	data := noise(parts*8<<20 - 1)
	isPart := func(r s3test.Request) bool { return r.Method == http.MethodPut && r.Query.Has("partNumber") }
	cut := func(n int) {
		proxy.Plan(func(r s3test.Request) *s3test.Fault {
			if !isPart(r) {
				return nil
			}
			if n--; n >= 0 {
				return nil
			}
			return &s3test.Fault{}
		})
	}
	others := append([]byte("x"), data...)
	for _, content := range [][]byte{others, data} {
		cut(sent)
		if err := store.Put(t.Context(), "k", known(content)); err == nil {
			t.Fatal("nothing was cut")
		}
	}
	if n := server.Uploads(t, bucket); n != 2 {
		t.Errorf("%d unfinished uploads, want 2", n)
	}
	proxy.Plan(nil)
	if err := store.Put(t.Context(), "k", known(data)); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, r := range proxy.Requests() {
		if isPart(r) {
			n++
		}
	}
	if n != parts-sent {
		t.Errorf("%d parts were sent, want %d", n, parts-sent)
	}
	if got, err := blob.ReadAll(t.Context(), store, "k", parts*8<<20); err != nil || string(got) != string(data) {
		t.Errorf("%d bytes are there, %v", len(got), err)
	}
	if v, err := store.StatVersion(t.Context(), "k"); err != nil || [32]byte(v.Sum) != sumOf(data) {
		t.Errorf("StatVersion = %+v, %v", v, err)
	}
	if n := server.Uploads(t, bucket); n != 1 {
		t.Errorf("%d unfinished uploads, want that of other bytes", n)
	}
}

// Somebody else finishes, removes or changes the upload that is gone on with: then all is
// sent in a new one.
func TestUploadIsTaken(t *testing.T) {
	server := s3test.Start(t)
	data := noise(20 << 20)
	for label, take := range map[string]func(t *testing.T, bucket string){
		"finished": func(t *testing.T, bucket string) {
			if err := open(t, bucket, s3.Options{}).Put(t.Context(), "k", known(data)); err != nil {
				t.Error(err)
			}
		},
		"removed": func(t *testing.T, bucket string) { server.AbortUploads(t, bucket) },
	} {
		t.Run(label, func(t *testing.T) {
			bucket := server.NewBucket(t, true)
			proxy := server.NewProxy(t)
			store := open(t, bucket, s3.Options{Endpoint: proxy.Endpoint, Attempts: 1})
			proxy.Plan(func(r s3test.Request) *s3test.Fault {
				if r.Query.Get("partNumber") == "3" {
					return &s3test.Fault{}
				}
				return nil
			})
			if err := store.Put(t.Context(), "k", known(data)); err == nil {
				t.Fatal("nothing was cut")
			}
			var once sync.Once
			proxy.Plan(func(r s3test.Request) *s3test.Fault {
				if r.Method == http.MethodPut {
					once.Do(func() { take(t, bucket) })
				}
				return nil
			})
			// A server that refuses a part may close the connection before it is sent.
			store = open(t, bucket, s3.Options{Endpoint: proxy.Endpoint})
			if err := store.Put(t.Context(), "k", known(data)); err != nil {
				t.Error(err)
			}
			if got, err := blob.ReadAll(t.Context(), store, "k", 20<<20); err != nil || string(got) != string(data) {
				t.Errorf("%d bytes are there, %v", len(got), err)
			}
			if n := server.Uploads(t, bucket); n != 0 {
				t.Errorf("%d unfinished uploads are left", n)
			}
		})
	}
}

// Of uploads of other bytes only those are removed that are of nobody any more, and only of
// the very key.
func TestAbandonedUploads(t *testing.T) {
	credentials(t)
	var mu sync.Mutex
	removed := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		query := r.URL.Query()
		switch {
		case r.Method == http.MethodGet && query.Has("uploads"):
			fmt.Fprint(w, "<ListMultipartUploadsResult>")
			for id, age := range map[string]time.Duration{"new": time.Hour, "week": 6 * 24 * time.Hour, "old": 8 * 24 * time.Hour, "other": 99 * 24 * time.Hour} {
				key := "a%20key"
				if id == "other" {
					key += "2"
				}
				fmt.Fprintf(w, "<Upload><Key>%s</Key><UploadId>%s</UploadId><Initiated>%s</Initiated></Upload>", key, id, time.Now().Add(-age).UTC().Format(time.RFC3339))
			}
			fmt.Fprint(w, "</ListMultipartUploadsResult>")
		case r.Method == http.MethodGet:
			fmt.Fprint(w, "<ListPartsResult><Part><PartNumber>1</PartNumber><Size>8388608</Size><ETag>e</ETag></Part></ListPartsResult>")
		case r.Method == http.MethodDelete && !removed[query.Get("uploadId")]:
			removed[query.Get("uploadId")] = true
			w.WriteHeader(http.StatusNoContent)
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer server.Close()
	store := open(t, "bucket", s3.Options{Endpoint: server.URL})
	var refused *s3.Error
	if err := store.Put(t.Context(), "a key", known(noise(9<<20))); !errors.As(err, &refused) {
		t.Errorf("Put = %v", err)
	}
	if len(removed) != 1 || !removed["old"] {
		t.Errorf("removed %v, want the old one", removed)
	}
}
