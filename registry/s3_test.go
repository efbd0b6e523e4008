package registry_test

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/s3test"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/blob/mem"
	"github.com/sandwich-build/sandwich/registry/blob/s3"
	"github.com/sandwich-build/sandwich/registry/folder"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

// everywhere runs a test on an empty registry of each sort.
func everywhere(t *testing.T, test func(*testing.T, *registry.Registry)) {
	t.Run("memory", func(t *testing.T) { test(t, open(t, &mem.Store{})) })
	t.Run("folder", func(t *testing.T) { test(t, openFolder(t, t.TempDir())) })
	t.Run("s3", func(t *testing.T) {
		server := s3test.Start(t)
		t.Run("with versions", func(t *testing.T) { test(t, openBucket(t, server.NewBucket(t, true), s3.Options{})) })
		t.Run("without versions", func(t *testing.T) { test(t, openBucket(t, server.NewBucket(t, false), s3.Options{})) })
	})
}

func openBucket(t *testing.T, bucket string, opts s3.Options) *registry.Registry {
	t.Helper()
	r, err := registry.Open(t.Context(), "s3://"+bucket, registry.Options{Now: clock, S3: opts})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// next follows on first. No folder takes the place of a file: the server keeps objects as
// files, and old versions beside them.
var next = map[string]string{"README.md": "two", "data/a.jpg": "aaaa", "data/sub/ü/x": "deep", "empty": "", "moved.jpg": "bb"}

// A package goes through its life, in every sort of registry alike.
func TestEverywhere(t *testing.T) {
	everywhere(t, func(t *testing.T, r *registry.Registry) {
		ctx := t.Context()
		if _, err := r.Load(ctx, registry.Ref{Name: name}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Load from an empty registry: %v", err)
		}
		one, two := push(t, r, "one", first), push(t, r, "two", next)
		if _, created, err := r.Push(ctx, name, revision("two", next), registry.PushOptions{}); err != nil || created {
			t.Errorf("pushing again = %v, %v", created, err)
		}
		if back := push(t, r, "one", first); back != one {
			t.Errorf("the first revision again is %v, was %v", back, one)
		}
		entries, err := r.Log(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		var tops []quilt.TopHash
		for _, e := range entries {
			tops = append(tops, e.TopHash)
		}
		if diff := cmp.Diff([]quilt.TopHash{one, two, one}, tops); diff != "" || !entries[0].Latest || entries[0].Size != 16 {
			t.Errorf("log %+v", entries)
		}
		dest := filepath.Join(t.TempDir(), "dest")
		for hash, want := range map[quilt.TopHash]map[string]string{two: next, one: first} {
			p := load(t, r, registry.Ref{Name: name, Hash: hash.String()[:8]})
			install(t, r, p, dest)
			wantTree(t, dest, want)
			if report, err := r.VerifyObjects(ctx, p, nil); err != nil || !report.OK(false) {
				t.Errorf("VerifyObjects = %+v, %v", report, err)
			}
			if report, err := folder.Verify(ctx, p.Content, dest, nil); err != nil || !report.OK(false) {
				t.Errorf("VerifyFolder = %+v, %v", report, err)
			}
			if done := install(t, r, p, dest); done.Fetched != 0 {
				t.Errorf("installing again = %+v", done)
			}
		}
		if _, _, err := r.Push(ctx, name, revision("three", first), registry.PushOptions{Expect: &two}); !errors.As(err, new(*registry.ConflictError)) {
			t.Errorf("push on top of an old revision = %v", err)
		}
	})
}

// noise returns bytes that differ everywhere.
func noise(n int) string {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data) // never fails
	return string(data)
}

// What is read in ranges, and sent in parts, is what was pushed, at every edge.
func TestLargeFilesEverywhere(t *testing.T) {
	const mib = 1 << 20
	data := noise(41*mib + 17)
	files := map[string]string{
		"below": data[:8*mib-1], "one part": data[:8*mib], "above": data[:8*mib+1],
		"below ranges": data[:32*mib-1], "ranges": data[:32*mib], "more ranges": data,
	}
	everywhere(t, func(t *testing.T, r *registry.Registry) {
		push(t, r, "m", files)
		p := load(t, r, registry.Ref{Name: name})
		dest := filepath.Join(t.TempDir(), "dest")
		install(t, r, p, dest)
		got := tree(t, dest)
		for key, want := range files {
			if got[key] != want {
				t.Errorf("%s is not what was pushed", key)
			}
		}
	})
}

// S3 keeps, of what was pushed, the very hash that is in the package.
func TestS3ChecksumIsTheHash(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.NewBucket(t, true)
	r := openBucket(t, bucket, s3.Options{})
	push(t, r, "m", map[string]string{"large": noise(20 << 20), "edge": noise(8 << 20)})
	for _, e := range load(t, r, registry.Ref{Name: name}).Content.Entries {
		got := server.Checksum(t, bucket, name+"/"+e.Key)
		if sum, parts, ok := strings.Cut(got, "-"); sum != e.Hash().Value || !ok || parts == "" {
			t.Errorf("%s: the server keeps %s, the package has %s", e.Key, got, e.Hash().Value)
		}
	}
}

// In a bucket with versions, files lie where Quilt puts them, and a second push sends
// only what changed and makes few requests.
func TestS3Layout(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.NewBucket(t, true)
	proxy := server.NewProxy(t)
	r := openBucket(t, bucket, s3.Options{Endpoint: proxy.Endpoint})
	files := many("x")
	push(t, r, "one", files)
	for _, e := range load(t, r, registry.Ref{Name: name}).Content.Entries {
		if start := "s3://" + bucket + "/" + name + "/" + e.Key + "?versionId="; !strings.HasPrefix(e.PhysicalKey, start) {
			t.Errorf("%s lies at %s", e.Key, e.PhysicalKey)
		}
	}
	files["d0/f0"] = "changed"
	files["renamed"] = files["d1/f1"]
	delete(files, "d1/f1")
	proxy.Plan(nil)
	push(t, r, "two", files)
	if sent := proxy.Count("PUT", bucket+"/"+name+"/"); sent != 1 {
		t.Errorf("%d objects were sent, want the changed one", sent)
	}
	if n := len(proxy.Requests()); n > 13 {
		t.Errorf("%d requests: %v", n, proxy.Requests())
	}
	dest := filepath.Join(t.TempDir(), "dest")
	install(t, r, load(t, r, registry.Ref{Name: name}), dest)
	wantTree(t, dest, files)
	proxy.Plan(nil)
	if _, created, err := r.Push(t.Context(), name, revision("two", files), registry.PushOptions{}); err != nil || created {
		t.Error(created, err)
	}
	if n := len(proxy.Requests()); n != 1 {
		t.Errorf("a push of what is there made %d requests", n)
	}
}

// Without versions, a hundred files are looked up in one listing.
func TestS3LooksUpInAListing(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.NewBucket(t, false)
	proxy := server.NewProxy(t)
	r := openBucket(t, bucket, s3.Options{Endpoint: proxy.Endpoint})
	files := many("x")
	push(t, r, "one", files)
	proxy.Plan(nil)
	push(t, r, "two", files)
	if n := len(proxy.Requests()); n > 11 {
		t.Errorf("%d requests: %v", n, proxy.Requests())
	}
}

// A large file goes on where its install was cut off.
func TestInstallGoesOnWithinALargeFile(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.NewBucket(t, true)
	proxy := server.NewProxy(t)
	r := openBucket(t, bucket, s3.Options{Endpoint: proxy.Endpoint, Attempts: 1})
	data := noise(80 << 20)
	push(t, r, "m", map[string]string{"large": data})
	p := load(t, r, registry.Ref{Name: name})
	dest := filepath.Join(t.TempDir(), "dest")
	proxy.Plan(func(q s3test.Request) *s3test.Fault {
		if q.N > 6 {
			return &s3test.Fault{}
		}
		return nil
	})
	if _, err := r.Install(t.Context(), p, dest, registry.InstallOptions{Workers: 1}); err == nil {
		t.Fatal("the install was not cut off")
	}
	proxy.Plan(nil)
	if done := install(t, r, p, dest); done.Fetched != 1 {
		t.Errorf("Install = %+v", done)
	}
	if n := proxy.Count("GET", "large"); n != 4 {
		t.Errorf("%d of 10 ranges were read again, want 4", n)
	}
	wantTree(t, dest, map[string]string{"large": data})
}

func TestOpenBucket(t *testing.T) {
	for _, location := range []string{"s3://", "s3://b/path", "s3://a b", "s3://bucket/../x"} {
		if r, err := registry.Open(t.Context(), location, registry.Options{}); err == nil {
			t.Errorf("Open(%q) = %v", location, r)
		}
	}
	for _, location := range []string{"s3://bucket", "s3://bucket/"} {
		if r, err := registry.Open(t.Context(), location, registry.Options{}); err != nil || r.String() != "s3://bucket" {
			t.Errorf("Open(%q) = %v, %v", location, r, err)
		}
	}
}

// A package must not make its reader fetch what its credentials give access to elsewhere.
func TestS3StaysInItsBucket(t *testing.T) {
	server := s3test.Start(t)
	own, other := server.NewBucket(t, false), server.NewBucket(t, false)
	for _, bucket := range []string{own, other} {
		store, err := s3.New(t.Context(), bucket, s3.Options{})
		if err != nil {
			t.Fatal(err)
		}
		write(t, store, "secret", "secret")
		ref := plant(t, store, entry(t, "a", "s3://"+other+"/secret", "secret"))
		r := openBucket(t, bucket, s3.Options{})
		data, err := r.ReadFile(t.Context(), load(t, r, ref), "a")
		if inside := bucket == other; inside != (err == nil) || inside != bytes.Equal(data, []byte("secret")) {
			t.Errorf("from %s: %q, %v", bucket, data, err)
		}
	}
}
