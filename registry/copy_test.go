package registry_test

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/sandwich-build/sandwich/internal/s3test"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/blob/s3"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

// promote pushes the latest revision of a package in one registry to another one.
func promote(t *testing.T, from, to *registry.Registry) (quilt.TopHash, bool) {
	t.Helper()
	top, created, err := to.Push(t.Context(), name, from.Revision(load(t, from, registry.Ref{Name: name})), registry.PushOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return top, created
}

// A package that is pushed from one registry to another keeps its hash, whatever the two
// are; and between buckets the files do not pass through here.
func TestPromote(t *testing.T) {
	server := s3test.Start(t)
	files := map[string]string{"README.md": "# é", "empty": "", "a b+c/ü#.txt": "x", "large": noise(17 << 20)}
	folderOf := func(t *testing.T, _ *s3test.Proxy) *registry.Registry { return openFolder(t, t.TempDir()) }
	bucketOf := func(versioned bool) func(*testing.T, *s3test.Proxy) *registry.Registry {
		return func(t *testing.T, proxy *s3test.Proxy) *registry.Registry {
			return openBucket(t, server.NewBucket(t, versioned), s3.Options{Endpoint: proxy.Endpoint})
		}
	}
	sorts := map[string]func(*testing.T, *s3test.Proxy) *registry.Registry{"folder": folderOf, "versions": bucketOf(true), "no versions": bucketOf(false)}
	for fromLabel, openFrom := range sorts {
		for toLabel, openTo := range sorts {
			t.Run(fromLabel+" to "+toLabel, func(t *testing.T) {
				proxy := server.NewProxy(t)
				from, to := openFrom(t, proxy), openTo(t, proxy)
				meta, err := quilt.ValueOf(map[string]string{"k": "v"})
				if err != nil {
					t.Fatal(err)
				}
				rev := revision("message", files)
				rev.Meta, rev.Dirs, rev.Files[0].Meta = meta, []quilt.Dir{{Key: "a b+c", Meta: meta}}, quilt.ObjectValue(quilt.Member{Key: "user_meta", Value: meta})
				top, _, err := from.Push(t.Context(), name, rev, registry.PushOptions{})
				if err != nil {
					t.Fatal(err)
				}
				proxy.Plan(nil)
				if got, created := promote(t, from, to); got != top || !created {
					t.Errorf("pushed %v, %v, want %v", got, created, top)
				}
				if n := proxy.Sent(); fromLabel != "folder" && toLabel != "folder" && n > 16<<10 {
					t.Errorf("%d bytes were sent", n)
				}
				p := load(t, to, registry.Ref{Name: name})
				if len(p.Content.Dirs) != 1 {
					t.Errorf("metadata of folders: %v", p.Content.Dirs)
				}
				dest := filepath.Join(t.TempDir(), "dest")
				install(t, to, p, dest)
				wantTree(t, dest, files)
				if _, created := promote(t, from, to); created {
					t.Error("promoted twice")
				}
			})
		}
	}
}

// What T4 pushed gets the hashes of today. Where a file has one chunk only, these follow
// from its own.
func TestPromoteOldHashes(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.NewBucket(t, true)
	store, err := s3.New(t.Context(), bucket, s3.Options{})
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"small": "abc", "large": noise(9 << 20)}
	var entries []quilt.Entry
	for key, data := range files {
		write(t, store, "old/"+key, data)
		hash := quilt.Hash{Type: quilt.SHA256, Value: fmt.Sprintf("%x", sha256.Sum256([]byte(data)))}
		entries = append(entries, quilt.NewEntry(key, "s3://"+bucket+"/old/"+key, int64(len(data)), hash, quilt.Value{}))
	}
	ref := plant(t, store, entries...)
	from, to := openBucket(t, bucket, s3.Options{}), openBucket(t, server.NewBucket(t, true), s3.Options{})
	top, _, err := to.Push(t.Context(), name, from.Revision(load(t, from, ref)), registry.PushOptions{})
	if err != nil || top.String() == ref.Hash {
		t.Fatal(top, err)
	}
	dest := filepath.Join(t.TempDir(), "dest")
	install(t, to, load(t, to, registry.Ref{Name: name}), dest)
	wantTree(t, dest, files)
}
