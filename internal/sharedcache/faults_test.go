package sharedcache_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/blobtest"
	"github.com/sandwich-build/sandwich/registry/blob/mem"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// small is a sample that is built in a few milliseconds.
func small() sample { return sample{photos: 12, size: 2000, large: 300_000, runs: new(runs)} }

// filled is a shared cache that has a sample, and the tree of its package.
func filled(t *testing.T, s sample) (*mem.Store, cas.TreeID) {
	t.Helper()
	store := new(mem.Store)
	b := newMachine(t, store).build(s)
	return store, b.Steps[2].Result.Tree
}

// packaged builds a sample and reads all of its package, making again what is lost, as a
// build that pushes does. It returns how many attempts that took.
func (m *machine) packaged(s sample, want cas.TreeID) (attempts int) {
	m.t.Helper()
	e := stages.Engine{Store: m.cache, Cache: m.cache, Environment: "test", Workers: 2}
	var losses stages.Losses
	for {
		attempts++
		b, err := e.Build(m.t.Context(), s.plan(m.t))
		if err != nil {
			m.t.Fatal(err)
		}
		if got := b.Steps[2].Result.Tree; got != want {
			m.t.Fatalf("another package: %s, want %s", got, want)
		}
		err = push(m.t.Context(), b.Tree("pack"))
		if err == nil {
			return attempts
		}
		if !losses.New(err) {
			m.t.Fatal(err)
		}
		if err := e.Forget(m.t.Context(), b); err != nil {
			m.t.Fatal(err)
		}
	}
}

// push reads every file.
func push(ctx context.Context, tree cas.Tree) error {
	for f, err := range tree.Files(ctx) {
		if err != nil {
			return err
		}
		r, err := tree.Open(ctx, f.Path)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r)
		if err = errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	return nil
}

// wantOneWarning wants a warning that holds all of the words.
func wantOneWarning(t *testing.T, m *machine, words ...string) {
	t.Helper()
	got := m.warnings()
	if len(got) != 1 {
		t.Errorf("%d warnings, want 1: %q", len(got), got)
	}
	for _, w := range words {
		if !strings.Contains(strings.Join(got, "\n"), w) {
			t.Errorf("warnings %q do not say %q", got, w)
		}
	}
}

// Each request fails in turn, alone or with all that follow, before it takes effect or after,
// at its start or within its answer: of a machine that produces, and of one that reads. Every
// build ends well, with one word about it at most, and what others find is whole.
func TestFaultAtEveryRequest(t *testing.T) {
	for _, f := range []struct {
		name string
		kill bool // with all that follow
		what blobtest.Fault
	}{
		{"once", false, blobtest.Fault{Err: syscall.ECONNRESET}},
		{"once, answer lost", false, blobtest.Fault{Err: syscall.ECONNRESET, After: true}},
		{"once, cut", false, blobtest.Fault{Err: io.ErrUnexpectedEOF, Cut: 100}},
		{"from then on", true, blobtest.Fault{Err: syscall.ECONNRESET}},
		{"from then on, cut", true, blobtest.Fault{Err: io.ErrUnexpectedEOF, Cut: 100}},
	} {
		decide := func(n int) func(blobtest.Call) *blobtest.Fault {
			return func(c blobtest.Call) *blobtest.Fault {
				if c.N == n || f.kill && c.N > n {
					return &f.what
				}
				return nil
			}
		}
		t.Run("write "+f.name, func(t *testing.T) {
			want := reference(t)
			n := 1
			for ; ; n++ {
				inner := new(mem.Store)
				store := blobtest.Intercept(inner, decide(n))
				m, s := newMachine(t, store), small()
				m.build(s)
				if len(m.warnings()) > 1 {
					t.Errorf("request %d: warned %q", n, m.warnings())
				}
				wantWhole(t, inner)
				newMachine(t, inner).packaged(s, want)
				if len(store.Calls()) < n {
					break
				}
			}
			if n < 15 {
				t.Errorf("a build made %d requests only", n-1)
			}
		})
		t.Run("read "+f.name, func(t *testing.T) {
			s := small()
			inner, want := filled(t, s)
			n := 1
			for ; ; n++ {
				store := blobtest.Intercept(inner, decide(n))
				m := newMachine(t, store, readOnly)
				m.packaged(s, want)
				if len(m.warnings()) > 1 {
					t.Errorf("request %d: warned %q", n, m.warnings())
				}
				if len(store.Calls()) < n {
					break
				}
			}
			if n < 6 {
				t.Errorf("a build made %d requests only", n-1)
			}
		})
	}
}

// reference is the tree that a sample comes to without a shared cache.
func reference(t *testing.T) cas.TreeID {
	t.Helper()
	store := cas.NewMemory()
	e := stages.Engine{Store: store, Cache: store, Environment: "test", Workers: 1}
	b, err := e.Build(t.Context(), small().plan(t))
	if err != nil {
		t.Fatal(err)
	}
	return b.Steps[2].Result.Tree
}

// wantWhole wants every result in a shared cache to have all its blobs there.
func wantWhole(t *testing.T, store blob.Store) {
	t.Helper()
	const prefix = "cache/v1/results/"
	m := newMachine(t, store, readOnly)
	for info, err := range store.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		result, err := m.cache.Result(t.Context(), actionOf(t, store, info.Key))
		if err == nil {
			err = push(t.Context(), cas.NewTree(m.cache, result.Tree))
		}
		if err != nil {
			t.Errorf("%s: %v", info.Key, err)
		}
	}
	wantSilence(t, m)
}

// actionOf returns the action of a result's object.
func actionOf(t *testing.T, store blob.Store, key string) cas.Digest {
	t.Helper()
	data, err := blob.ReadAll(t.Context(), store, key, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(data), "\n")
	var entry struct{ Action string }
	if err := json.Unmarshal([]byte(body), &entry); err != nil {
		t.Fatal(err)
	}
	sum, size, _ := strings.Cut(entry.Action, "/")
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	d, err := cas.NewDigest(sum, n)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A shared cache that is not there, of which nothing may be read, that answers slowly or not
// at all: the build goes on, says so once, and makes few requests.
func TestUnreachable(t *testing.T) {
	for name, err := range map[string]error{
		"connection refused": syscall.ECONNREFUSED, "access denied": fs.ErrPermission, "no such host": errors.New("no such host"),
	} {
		t.Run(name, func(t *testing.T) {
			store := blobtest.Intercept(new(mem.Store), func(blobtest.Call) *blobtest.Fault { return &blobtest.Fault{Err: err} })
			m, s := newMachine(t, store), small()
			m.build(s)
			wantRuns(t, s, "photos 1, crops 1, pack 1")
			wantOneWarning(t, m, "s3://team/cache is not used any more", err.Error())
			if n := len(store.Calls()); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// stalled is a store that never answers.
type stalled struct{ blob.Store }

func (stalled) Open(ctx context.Context, _ string, _, _ int64) (io.ReadCloser, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// A shared cache that does not answer costs as long as it is given, once.
func TestStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, stalled{new(mem.Store)})
		start := time.Now()
		s := small()
		m.build(s)
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("it cost %v", took)
		}
		wantOneWarning(t, m, "it takes too long: no answer within 10s")
		m.cache.Close()
	})
}

// trickling is a store whose packs come a byte a second.
type trickling struct{ blob.Store }

func (s trickling) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	r, err := s.Store.Open(ctx, key, offset, length)
	if err != nil || !strings.Contains(key, "/packs/") {
		return r, err
	}
	return struct {
		io.Reader
		io.Closer
	}{slowReader{ctx, r}, r}, nil
}

type slowReader struct {
	ctx context.Context //nolint:containedctx // a fake body
	r   io.Reader
}

func (s slowReader) Read(p []byte) (int, error) {
	select {
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	case <-time.After(time.Second):
		return s.r.Read(p[:min(len(p), 1)])
	}
}

// Bytes that come too slowly are made here instead: after three requests no more are made.
func TestTrickling(t *testing.T) {
	s := small()
	store, want := filled(t, s)
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, trickling{store}, readOnly)
		start := time.Now()
		m.packaged(s, want)
		if took := time.Since(start); took > 40*time.Second {
			t.Errorf("it cost %v", took)
		}
		wantOneWarning(t, m, "it takes too long")
		m.cache.Close()
	})
}

// A shared cache that is full, or that may only be read, takes nothing; what it has is used.
func TestNoWrites(t *testing.T) {
	for name, err := range map[string]error{"full": syscall.ENOSPC, "read-only credentials": fs.ErrPermission} {
		t.Run(name, func(t *testing.T) {
			s := small()
			inner, _ := filled(t, s)
			store := blobtest.Intercept(inner, func(c blobtest.Call) *blobtest.Fault {
				if c.Op == blobtest.Put {
					return &blobtest.Fault{Err: err}
				}
				return nil
			})
			m := newMachine(t, store)
			s.seed = 5
			m.build(s)
			wantRuns(t, s, "photos 1, crops 2, pack 2")
			wantOneWarning(t, m, "nothing more is put into the shared cache s3://team/cache", err.Error())
			if n := store.Count(blobtest.Put, ""); n > 3 {
				t.Errorf("%d attempts to write", n)
			}
			other := newMachine(t, store)
			s.seed = 0
			if b := other.build(s); b.Steps[1].From == "" {
				t.Error("what is there was not used")
			}
		})
	}
}

// lie changes the objects of a shared cache whose key holds part.
func lie(t *testing.T, store *mem.Store, part string, change func(key string, data []byte) []byte) {
	t.Helper()
	changed := 0
	var keys []string
	for info, err := range store.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	for _, key := range keys {
		if !strings.Contains(key, part) {
			continue
		}
		data, err := blob.ReadAll(t.Context(), store, key, 64<<20)
		if err != nil {
			t.Fatal(err)
		}
		if data = change(key, data); data == nil {
			err = store.Delete(t.Context(), key)
		} else {
			err = store.Put(t.Context(), key, blob.Bytes(data))
		}
		if err != nil {
			t.Fatal(err)
		}
		changed++
	}
	if changed == 0 {
		t.Fatalf("there is no object with %s in its key", part)
	}
}

// A shared cache that lies costs time only: the package is right, a word is said once, and
// with a machine that writes the shared cache is right again afterwards.
func TestLies(t *testing.T) {
	garbage := func(_ string, data []byte) []byte { return noise(99, len(data)) }
	flip := func(_ string, data []byte) []byte {
		data = append([]byte(nil), data...)
		data[len(data)/2] ^= 1
		return data
	}
	cut := func(_ string, data []byte) []byte { return data[:len(data)/2] }
	gone := func(string, []byte) []byte { return nil }
	var first []byte
	swapped := func(_ string, data []byte) []byte {
		if first == nil {
			first = data
		}
		return first
	}
	huge := func(_ string, data []byte) []byte { return append(noise(1, 20<<20), data...) }
	// A result that is sound and says what is not so.
	claim := func(change func(entry map[string]any)) func(string, []byte) []byte {
		return func(_ string, data []byte) []byte {
			_, body, _ := bytes.Cut(data, []byte("\n"))
			entry := map[string]any{}
			if err := json.Unmarshal(body, &entry); err != nil {
				t.Fatal(err)
			}
			change(entry)
			body, err := json.Marshal(entry)
			if err != nil {
				t.Fatal(err)
			}
			return append(fmt.Appendf(nil, "%x\n", sha256.Sum256(body)), body...)
		}
	}
	nowhere := strings.Repeat("ab", 32)
	for name, l := range map[string]struct {
		part   string
		change func(string, []byte) []byte
		quiet  bool // nothing can be noticed
		twice  bool // it takes two builds until everything is found out
	}{
		"results are garbage":           {part: "/results/", change: garbage},
		"results have a flipped bit":    {part: "/results/", change: flip},
		"results are cut":               {part: "/results/", change: cut},
		"results are of other actions":  {part: "/results/", change: swapped},
		"results are huge":              {part: "/results/", change: huge, quiet: true},
		"results are empty":             {part: "/results/", change: func(string, []byte) []byte { return []byte{} }},
		"tables are garbage":            {part: "/tables/", change: garbage},
		"tables are cut":                {part: "/tables/", change: cut},
		"tables are gone":               {part: "/tables/", change: gone},
		"tables are of other results":   {part: "/tables/", change: swapped},
		"packs are garbage":             {part: "/packs/", change: garbage},
		"packs have a flipped bit":      {part: "/packs/", change: flip},
		"packs are cut":                 {part: "/packs/", change: cut},
		"packs are gone":                {part: "/packs/", change: gone},
		"packs are swapped":             {part: "/packs/", change: swapped},
		"pointers are garbage":          {part: "/latest/", change: garbage, quiet: true},
		"everything is garbage":         {part: "", change: garbage, twice: true},
		"results without a table":       {part: "/results/", change: claim(func(e map[string]any) { delete(e, "table") }), quiet: true},
		"results with a far table":      {part: "/results/", change: claim(func(e map[string]any) { e["table"] = nowhere + "/12" })},
		"results with an endless table": {part: "/results/", change: claim(func(e map[string]any) { e["table"] = nowhere + "/9223372036854775807" })},
		"results without a root":        {part: "/results/", change: claim(func(e map[string]any) { delete(e, "root") }), quiet: true},
		"results with another root":     {part: "/results/", change: claim(func(e map[string]any) { e["root"] = "AAAA" })},
		"results with another action":   {part: "/results/", change: claim(func(e map[string]any) { e["action"] = nowhere + "/12" })},
	} {
		t.Run(name, func(t *testing.T) {
			first = nil
			s := small()
			store, want := filled(t, s)
			lie(t, store, l.part, l.change)

			m := newMachine(t, store)
			if n := m.packaged(s, want); n > 4 {
				t.Errorf("it took %d attempts", n)
			}
			if l.quiet {
				wantSilence(t, m)
			} else {
				wantOneWarning(t, m, "s3://team/cache is damaged")
			}
			m.finish()
			if l.twice {
				another := newMachine(t, store)
				another.packaged(s, want)
				another.finish()
			}

			before := s.runs.String()
			other := newMachine(t, store)
			other.packaged(s, want)
			wantRuns(t, s, before)
		})
	}
}
