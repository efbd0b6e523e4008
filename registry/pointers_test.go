package registry_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/shared"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/blob/mem"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

func resolved(t *testing.T, r *registry.Registry, ref string) string {
	t.Helper()
	parsed, err := registry.ParseRef(ref)
	if err != nil {
		t.Fatal(err)
	}
	top, err := r.Resolve(t.Context(), parsed)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return top.String()
}

func TestPointersEverywhere(t *testing.T) {
	everywhere(t, func(t *testing.T, r *registry.Registry) {
		ctx := t.Context()
		one, two := push(t, r, "one", first), push(t, r, "two", next)
		push(t, r, "three", first)
		if err := r.Tag(ctx, name, "stable", one, false); err != nil {
			t.Fatal(err)
		}
		if err := r.Tag(ctx, name, "stable", one, false); err != nil {
			t.Errorf("the same tag again: %v", err)
		}
		if err := r.Tag(ctx, name, "stable", two, false); !errors.As(err, new(*registry.TagError)) {
			t.Errorf("a tag was moved: %v", err)
		}
		if err := r.Tag(ctx, name, "stable", two, true); err != nil || resolved(t, r, name+":stable") != two.String() {
			t.Errorf("a tag was not moved: %v", err)
		}
		for _, tag := range []string{"latest", "1700000000", "a/b", ""} {
			if err := r.Tag(ctx, name, tag, one, true); err == nil {
				t.Errorf("tag %q was set", tag)
			}
		}
		if err := r.Tag(ctx, name, "none", quilt.TopHash{1}, false); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a tag of nothing: %v", err)
		}
		want := []registry.Listing{{Name: name, Revisions: 3, Pushed: time.Unix(1_700_000_002, 0).UTC(), Tags: []string{"stable"}}}
		if got, err := r.List(ctx); err != nil || cmp.Diff(want, got) != "" {
			t.Errorf("List = %+v, %v", got, err)
		}
		before := resolved(t, r, name)
		if was, err := r.Rollback(ctx, name, one); err != nil || was.String() != before || resolved(t, r, name) != one.String() {
			t.Errorf("Rollback = %v, %v", was, err)
		}
		if _, err := r.Rollback(ctx, name, quilt.TopHash{1}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Rollback to nothing = %v", err)
		}
		if _, err := r.Rollback(ctx, "no/such", one); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Rollback of nothing = %v", err)
		}
		testRemove(t, r, one, two, before)
	})
}

// testRemove starts with one as the latest of three pushes, and two tagged stable.
func testRemove(t *testing.T, r *registry.Registry, one, two quilt.TopHash, three string) {
	t.Helper()
	for _, step := range []struct {
		ref     string
		removed int
		latest  string // afterwards
	}{
		{name + "@" + one.String(), 1, three}, // the newest that is left takes its place
		{name + ":stable", 1, three},
		{name + "@" + two.String()[:10], 1, three},
		{name, 2, ""},
	} {
		ref, err := registry.ParseRef(step.ref)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := r.Remove(t.Context(), ref); err != nil || n != step.removed || resolved(t, r, name) != step.latest {
			t.Errorf("Remove(%s) = %d, %v; latest is %q, want %d and %q", step.ref, n, err, resolved(t, r, name), step.removed, step.latest)
		}
		if _, err := r.Remove(t.Context(), ref); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Remove(%s) again = %v", step.ref, err)
		}
	}
	if _, err := r.Load(t.Context(), registry.Ref{Name: name, Hash: one.String()}); err != nil {
		t.Errorf("what was removed can not be had by its hash: %v", err)
	}
}

func TestParseURI(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(shared.Dir(t), "vectors", "quilt", "quilt_uri.json"))
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		URI    string
		Error  string
		Parsed struct{ Bucket, Name, Tag, Hash, Path string }
	}
	if err := json.Unmarshal(text, &vectors); err != nil || len(vectors) == 0 {
		t.Fatal(len(vectors), err)
	}
	for _, v := range vectors {
		got, err := registry.ParseURI(v.URI)
		if strings.Contains(v.URI, "100%25") { // which the catalog decodes twice
			v.Error, v.Parsed.Bucket, v.Parsed.Name, v.Parsed.Path = "", "b", "a/b", "100%"
		}
		if v.Error != "" {
			if err == nil {
				t.Errorf("ParseURI(%s) = %+v, want an error: %s", v.URI, got, v.Error)
			}
			continue
		}
		want := registry.URI{
			Registry: "s3://" + v.Parsed.Bucket, Path: v.Parsed.Path,
			Ref: registry.Ref{Name: v.Parsed.Name, Hash: v.Parsed.Hash, Tag: v.Parsed.Tag},
		}
		if err != nil || got != want {
			t.Errorf("ParseURI(%s) = %+v, %v, want %+v", v.URI, got, err, want)
		}
	}
}

func FuzzParseURI(f *testing.F) {
	f.Add("quilt+s3://b#package=a/b@012345&path=x%2Fy")
	f.Add("quilt+s3://b#package=a/b:tag&path=%ff")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := registry.ParseURI(s)
		if err == nil && (quilt.CheckName(u.Ref.Name) != nil || u.Path != "" && quilt.CheckKey(u.Path) != nil) {
			t.Errorf("ParseURI(%q) = %+v", s, u)
		}
	})
}

// A part of a package is installed by itself, and updated.
func TestInstallPart(t *testing.T) {
	r := open(t, &mem.Store{})
	push(t, r, "one", first)
	old := load(t, r, registry.Ref{Name: name})
	push(t, r, "two", map[string]string{"data/a.jpg": "new", "data/n": "n"})
	fresh := load(t, r, registry.Ref{Name: name})
	dest := filepath.Join(t.TempDir(), "dest")
	for _, step := range []struct {
		pkg  *registry.Package
		path string
		want map[string]string
	}{
		{old, "data", map[string]string{"a.jpg": "aaaa", "sub/b c+é.jpg": "bb"}},
		{fresh, "data", map[string]string{"a.jpg": "new", "n": "n"}},
		{old, "data/a.jpg", map[string]string{"a.jpg": "aaaa"}},
	} {
		part, err := step.pkg.Part(step.path)
		if err != nil {
			t.Fatal(err)
		}
		install(t, r, part, dest)
		wantTree(t, dest, step.want)
	}
	for _, path := range []string{"nope", "dat", "data/a.jpg/x", ""} {
		if part, err := old.Part(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Part(%q) = %v, %v", path, part, err)
		}
	}
}
