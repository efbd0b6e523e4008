package sharedcache_test

import (
	"net/http"
	"testing"

	"github.com/sandwich-build/sandwich/internal/s3test"
	"github.com/sandwich-build/sandwich/internal/sharedcache"
	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/s3"
)

// bucketAt opens a bucket through a server or a proxy, as a build does.
func bucketAt(t *testing.T, endpoint, bucket string) blob.Store {
	t.Helper()
	store, _, err := sharedcache.OpenStore(t.Context(), "s3://"+bucket, s3.Options{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// onceAt is bucketAt, and makes each request once: to make it again is to wait, where all of
// them fail.
func onceAt(t *testing.T, endpoint, bucket string) blob.Store {
	t.Helper()
	store, err := s3.New(t.Context(), bucket, s3.Options{Endpoint: endpoint, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// What TestFaultAtEveryRequest shows of a store that fails as planned holds of a real server
// behind a connection that does: each request of a machine that produces, and of one that
// reads, is refused, cut off, or loses its answer, in turn and with all that follow.
func TestFaultAtEveryRequestOfS3(t *testing.T) {
	server := s3test.Start(t)
	proxy := server.NewProxy(t)
	want := reference(t)
	full := server.NewBucket(t, false)
	newMachine(t, bucketAt(t, server.Endpoint, full)).build(small())
	for _, f := range []struct {
		name string
		kill bool // with all that follow
		what s3test.Fault
	}{
		{"once cut off", false, s3test.Fault{}},
		{"once cut off in the answer", false, s3test.Fault{Cut: 100}},
		{"once without an answer", false, s3test.Fault{After: true}},
		{"cut off from then on", true, s3test.Fault{}},
		{"refused from then on", true, s3test.Fault{Status: http.StatusForbidden}},
	} {
		faulty := bucketAt
		if f.kill {
			faulty = onceAt
		}
		plan := func(n int) {
			proxy.Plan(func(r s3test.Request) *s3test.Fault {
				if r.N == n || f.kill && r.N > n {
					return &f.what
				}
				return nil
			})
		}
		step := 1
		if testing.Short() {
			step = 5
		}
		t.Run("write "+f.name, func(t *testing.T) {
			n := 1
			for ; ; n += step {
				bucket := server.NewBucket(t, false)
				plan(n)
				m, s := newMachine(t, faulty(t, proxy.Endpoint, bucket)), small()
				m.build(s)
				seen := len(proxy.Requests())
				if len(m.warnings()) > 1 {
					t.Errorf("request %d: warned %q", n, m.warnings())
				}
				direct := bucketAt(t, server.Endpoint, bucket)
				wantWhole(t, direct)
				newMachine(t, direct).packaged(s, want)
				if seen < n {
					break
				}
			}
			if n < 15 {
				t.Errorf("a build made %d requests only", n-1)
			}
		})
		t.Run("read "+f.name, func(t *testing.T) {
			s, n := small(), 1
			for ; ; n += step {
				plan(n)
				m := newMachine(t, faulty(t, proxy.Endpoint, full), readOnly)
				m.packaged(s, want)
				if len(m.warnings()) > 1 {
					t.Errorf("request %d: warned %q", n, m.warnings())
				}
				if len(proxy.Requests()) < n {
					break
				}
			}
			if n < 6 {
				t.Errorf("a build made %d requests only", n-1)
			}
		})
	}
}
