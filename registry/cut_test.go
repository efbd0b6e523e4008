package registry_test

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandwich-build/sandwich/internal/s3test"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/blob/s3"
)

// cutFiles follows on next with three new contents, one of which goes in parts.
func cutFiles() map[string]string {
	files := maps.Clone(next)
	files["README.md"], files["new"], files["large"] = "three", "nnn", noise(9<<20)
	return files
}

// dead is a server that can not be reached from request n on; with after, it still does
// what that request asks for.
func dead(n int, after bool) func(s3test.Request) *s3test.Fault {
	return func(q s3test.Request) *s3test.Fault {
		if q.N < n {
			return nil
		}
		return &s3test.Fault{After: after && q.N == n}
	}
}

// The connection is cut at every request of a push, before and after the server has done
// what it was asked for, and stays cut. What is visible is complete, and pushing again
// sends nothing that had arrived.
func TestPushCutAtEveryRequest(t *testing.T) {
	server := s3test.Start(t)
	for label, versioned := range map[string]bool{"with versions": true, "without versions": false} {
		for mode, after := range map[string]bool{"before": false, "after": true} {
			t.Run(label+", "+mode, func(t *testing.T) {
				if testing.Short() && after == versioned {
					t.Skip("takes seconds; the other two are run")
				}
				n := 1
				for cutPush(t, server, versioned, n, after) {
					n++
				}
				if n < 15 {
					t.Errorf("a push has %d requests only", n-1)
				}
			})
		}
	}
}

// cutPush cuts a push at request n and pushes again. It reports whether there was a
// request n.
func cutPush(t *testing.T, server *s3test.Server, versioned bool, n int, after bool) bool {
	bucket := server.NewBucket(t, versioned)
	direct := openBucket(t, bucket, s3.Options{})
	push(t, direct, "one", next)
	proxy := server.NewProxy(t)
	r := openBucket(t, bucket, s3.Options{Endpoint: proxy.Endpoint, Attempts: 1})
	rev, opts := revision("two", cutFiles()), registry.PushOptions{Workers: 1}
	before := contents(t, server, bucket)

	proxy.Plan(dead(n, after))
	_, _, err := r.Push(t.Context(), name, rev, opts)
	reached := len(proxy.Requests()) >= n
	if err == nil && reached && !after {
		t.Fatalf("request %d was cut, and the push succeeded", n)
	}
	checkWhole(t, direct)
	arrived := contents(t, server, bucket) - before

	proxy.Plan(nil)
	if _, _, err := r.Push(t.Context(), name, rev, opts); err != nil {
		t.Fatalf("request %d: push again: %v", n, err)
	}
	checkWhole(t, direct)
	if sent := contents(t, server, bucket) - before; sent != 3 {
		t.Errorf("request %d: of 3 contents %d had arrived, %d were sent in all", n, arrived, sent)
	}
	entries, err := direct.Log(t.Context(), name)
	if err != nil || len(entries) != 2 || entries[0].Message != "two" || !entries[0].Latest {
		t.Errorf("request %d: log = %+v, %v", n, entries, err)
	}
	return reached
}

// contents returns how many contents of files a bucket holds, all versions counted.
func contents(t *testing.T, server *s3test.Server, bucket string) int {
	t.Helper()
	n := 0
	for _, key := range server.Versions(t, bucket) {
		if !strings.HasPrefix(key, ".quilt/") {
			n++
		}
	}
	return n
}

// The connection is cut at every request of an install, at its start and within the
// answer. The folder is absent until it is complete, and what had arrived is kept.
func TestInstallCutAtEveryRequest(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.NewBucket(t, true)
	files := cutFiles()
	files["ranges"] = noise(33 << 20)
	push(t, openBucket(t, bucket, s3.Options{}), "one", files)
	proxy := server.NewProxy(t)
	r := openBucket(t, bucket, s3.Options{Endpoint: proxy.Endpoint, Attempts: 1})
	for _, cut := range []int64{0, 1} {
		for n := 1; ; n++ {
			dest := filepath.Join(t.TempDir(), "dest")
			proxy.Plan(func(q s3test.Request) *s3test.Fault {
				if q.N < n {
					return nil
				}
				return &s3test.Fault{Cut: cut}
			})
			opts := registry.InstallOptions{Workers: 1}
			p, err := r.Load(t.Context(), registry.Ref{Name: name})
			if err == nil {
				_, err = r.Install(t.Context(), p, dest, opts)
			}
			first := len(proxy.Requests())
			if first < n {
				if n < 12 {
					t.Errorf("an install has %d requests only", n-1)
				}
				break
			}
			if err == nil && cut == 0 || err != nil && exists(dest) {
				t.Fatalf("request %d was cut: %v, the folder is there: %v", n, err, exists(dest))
			}
			proxy.Plan(nil)
			install(t, r, load(t, r, registry.Ref{Name: name}), dest)
			// Two requests are for the package itself. Of the others, those before the cut
			// are not made again.
			total := len(files) + 4 // the ranges of one of them
			if again, want := proxy.Count("GET", bucket+"/"+name+"/"), total-max(0, n-1-3); again > want && cut == 0 {
				t.Errorf("request %d: %d objects and ranges were read again, want %d", n, again, want)
			}
			if got := tree(t, dest); !maps.Equal(got, files) {
				t.Fatalf("request %d: other files are there", n)
			}
		}
	}
}
