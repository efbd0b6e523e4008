package s3_test

import (
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
