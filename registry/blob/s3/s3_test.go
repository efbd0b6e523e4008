package s3_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/sandwich-build/sandwich/internal/s3test"
	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/blobtest"
	"github.com/sandwich-build/sandwich/registry/blob/s3"
)

func open(t *testing.T, bucket string, opts s3.Options) *s3.Store {
	t.Helper()
	store, err := s3.New(t.Context(), bucket, opts)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestStore(t *testing.T) {
	server := s3test.Start(t)
	for label, versioned := range map[string]bool{"with versions": true, "without versions": false} {
		t.Run(label, func(t *testing.T) {
			blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, server.NewBucket(t, versioned), s3.Options{}) })
			blobtest.RunFaults(t, func(t *testing.T) blob.Conditional {
				return open(t, server.NewBucket(t, versioned), s3.Options{})
			})
		})
	}
}

// Every few requests one fails, in each way that requests do, with or without effect. The
// store makes it again, and keeps all its promises.
func TestStoreUnderFaults(t *testing.T) {
	server := s3test.Start(t)
	for label, fault := range map[string]s3test.Fault{"busy": {Status: http.StatusServiceUnavailable}, "answer lost": {After: true}} {
		t.Run(label, func(t *testing.T) {
			blobtest.RunLossy(t, func(t *testing.T) blob.Store {
				proxy := server.NewProxy(t)
				proxy.Plan(func(r s3test.Request) *s3test.Fault {
					if r.N%7 != 0 {
						return nil
					}
					return &fault
				})
				return open(t, server.NewBucket(t, true), s3.Options{Endpoint: proxy.Endpoint})
			})
		})
	}
}

// A bucket with Object Lock takes whatever the store writes, and keeps what it deletes.
func TestObjectLock(t *testing.T) {
	server := s3test.Start(t)
	store := open(t, server.NewLockedBucket(t), s3.Options{})
	if err := store.PutIf(t.Context(), "pointer", []byte("1"), ""); err != nil {
		t.Error(err)
	}
	for _, size := range []int{0, 5, 9 << 20} {
		data := noise(size)
		id, err := store.PutVersion(t.Context(), "k", known(data))
		if err != nil || id == "" {
			t.Errorf("PutVersion of %d bytes = %q, %v", size, id, err)
		}
		if err := store.Delete(t.Context(), "k"); err != nil {
			t.Errorf("Delete of %d bytes: %v", size, err)
		}
		r, err := store.OpenVersion(t.Context(), "k", id, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || string(got) != string(data) || r.Close() != nil {
			t.Errorf("%d of %d bytes are kept, %v", len(got), size, err)
		}
	}
}
