package registry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/blob/blobtest"
	"github.com/sandwich-build/sandwich/registry/blob/mem"
	"github.com/sandwich-build/sandwich/registry/folder"
	"github.com/sandwich-build/sandwich/registry/objects"
	"github.com/sandwich-build/sandwich/registry/quilt"
	"github.com/sandwich-build/sandwich/registry/transfer"
)

func install(t *testing.T, r *registry.Registry, p *registry.Package, dest string) folder.Installed {
	t.Helper()
	done, err := r.Install(t.Context(), p, dest, registry.InstallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func TestInstall(t *testing.T) {
	store := pass(&mem.Store{})
	r := open(t, store)
	push(t, r, "one", first)
	p := load(t, r, registry.Ref{Name: name})
	parent := t.TempDir()
	dest := filepath.Join(parent, "deep", "dest")
	var at transfer.State
	got, err := r.Install(t.Context(), p, dest, registry.InstallOptions{Progress: func(now transfer.State) { at = now }})
	if err != nil {
		t.Fatal(err)
	}
	if want := (folder.Installed{Fetched: 6, Bytes: 16}); got != want || at != (transfer.State{Files: 6, AllFiles: 6, Bytes: 16, AllBytes: 16}) {
		t.Errorf("Install = %+v, want %+v; progress %+v", got, want, at)
	}
	wantTree(t, filepath.Join(parent, "deep"), prefixed("dest/", first))

	opened := store.Count(blobtest.Open, "")
	if got, want := install(t, r, p, dest), (folder.Installed{Kept: 6}); got != want {
		t.Errorf("second Install = %+v, want %+v", got, want)
	}
	if n := store.Count(blobtest.Open, ""); n != opened {
		t.Errorf("the second install opened %d blobs", n-opened)
	}
}

func prefixed(prefix string, files map[string]string) map[string]string {
	out := map[string]string{}
	for key, data := range files {
		out[prefix+key] = data
	}
	return out
}

// Revisions follow each other in one folder, also where a file becomes a folder and the
// other way round. Files that stay are not touched.
func TestInstallUpdates(t *testing.T) {
	r := open(t, &mem.Store{})
	one, two := push(t, r, "one", first), push(t, r, "two", second)
	p1, p2 := load(t, r, registry.Ref{Name: name, Hash: one.String()}), load(t, r, registry.Ref{Name: name, Hash: two.String()})
	dest := t.TempDir() // exists, and is empty
	install(t, r, p1, dest)
	wantTree(t, dest, first)
	before, err := os.Stat(filepath.Join(dest, "data", "a.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := install(t, r, p2, dest), (folder.Installed{Fetched: 4, Bytes: 27, Kept: 2, Removed: 3}); got != want {
		t.Errorf("update = %+v, want %+v", got, want)
	}
	wantTree(t, dest, second)
	after, err := os.Stat(filepath.Join(dest, "data", "a.jpg"))
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("a file that stays was replaced: %v", err)
	}
	install(t, r, p1, dest)
	wantTree(t, dest, first)
	if err := os.Remove(filepath.Join(dest, "README.md")); err != nil {
		t.Fatal(err)
	}
	install(t, r, p1, dest) // repairs
	wantTree(t, dest, first)
}

func TestInstallEmptyFoldersGiveWay(t *testing.T) {
	r := open(t, &mem.Store{})
	push(t, r, "one", first)
	dest := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dest, "x", "y", "z"), 0o755); err != nil {
		t.Fatal(err)
	}
	install(t, r, load(t, r, registry.Ref{Name: name}), dest)
	wantTree(t, dest, first)
}

func TestInstallLeavesForeignFiles(t *testing.T) {
	r := open(t, &mem.Store{})
	push(t, r, "one", first)
	push(t, r, "two", second)
	p := load(t, r, registry.Ref{Name: name})
	for label, foreign := range map[string]map[string]string{
		"unknown":         {"mine.txt": "precious"},
		"edited":          {"README.md": "edited"},
		"below":           {"new/deep/mine": "precious"},
		"part of another": {"README.md": "one", "mine": "precious"},
		"in the way":      {"data/sub/mine": "precious"},
	} {
		t.Run(label, func(t *testing.T) {
			dest := t.TempDir()
			for key, data := range foreign {
				path := filepath.Join(dest, filepath.FromSlash(key))
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			var fault *folder.ForeignError
			if _, err := r.Install(t.Context(), p, dest, registry.InstallOptions{}); !errors.As(err, &fault) {
				t.Errorf("Install = %v, want a *ForeignError", err)
			} else if len(fault.Files) != 1 {
				t.Errorf("foreign files are %v", fault.Files)
			}
			wantTree(t, dest, foreign)
		})
	}
}

func TestInstallFollowsNoSymlinks(t *testing.T) {
	r := open(t, &mem.Store{})
	push(t, r, "one", first)
	p := load(t, r, registry.Ref{Name: name})
	target := t.TempDir()
	for _, link := range []string{"dest", "dest/data", "dest/README.md", "dest/data/sub", "dest/.sandwich-part", ".dest.sandwich-part"} {
		parent := t.TempDir()
		path := filepath.Join(parent, filepath.FromSlash(link))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Install(t.Context(), p, filepath.Join(parent, "dest"), registry.InstallOptions{}); err == nil {
			t.Errorf("Install through the link %s succeeded", link)
		}
		wantTree(t, parent, map[string]string{link: "-> " + target})
	}
	wantTree(t, target, map[string]string{})
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Install(t.Context(), p, file, registry.InstallOptions{}); err == nil {
		t.Error("Install over a file succeeded")
	}
}

// An install, into nothing and over another revision, is killed at every call of the
// store. The folder stays what it was, and installing again fetches only what is missing.
func TestInstallKilledAtEveryCall(t *testing.T) {
	store := &mem.Store{}
	r := open(t, store)
	one, two := push(t, r, "one", first), push(t, r, "two", second)
	p1, p2 := load(t, r, registry.Ref{Name: name, Hash: one.String()}), load(t, r, registry.Ref{Name: name, Hash: two.String()})
	for _, update := range []bool{false, true} {
		for n := 1; ; n++ {
			dest := filepath.Join(t.TempDir(), "dest")
			before := map[string]string{}
			if update {
				install(t, r, p1, dest)
				before = maps.Clone(first)
			}
			killed := blobtest.Kill(store, n, false)
			_, err := open(t, killed).Install(t.Context(), p2, dest, registry.InstallOptions{Workers: 1})
			if err == nil {
				if n < 4 {
					t.Errorf("only %d calls", n)
				}
				break
			}
			if !errors.Is(err, blobtest.ErrFault) {
				t.Fatal(err)
			}
			got := map[string]string{}
			if _, err := os.Stat(dest); !errors.Is(err, fs.ErrNotExist) {
				got = tree(t, dest)
			}
			staged := 0
			for key := range got {
				if strings.HasPrefix(key, ".sandwich-part/") {
					delete(got, key)
				}
			}
			if diff := cmp.Diff(before, got); diff != "" {
				t.Fatalf("update %v, call %d: the folder changed (-want +got):\n%s", update, n, diff)
			}
			for _, part := range []string{filepath.Join(dest, ".sandwich-part"), filepath.Join(filepath.Dir(dest), ".dest.sandwich-part")} {
				if files := filepath.Join(part, "files"); exists(files) {
					staged += len(tree(t, files))
				}
			}
			kept := 0
			if update {
				kept = 2
			}
			done := install(t, r, p2, dest)
			if done.Kept != kept+staged || done.Fetched != len(second)-kept-staged {
				t.Errorf("update %v, call %d: resumed with %+v, %d files had arrived", update, n, done, staged)
			}
			wantTree(t, filepath.Dir(dest), prefixed("dest/", second))
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Between two installs that were cut off, another revision may have been asked for; what
// is left of the first must not show up.
func TestInstallAfterAnotherWasCutOff(t *testing.T) {
	store := &mem.Store{}
	r := open(t, store)
	one, two := push(t, r, "one", first), push(t, r, "two", second)
	p1, p2 := load(t, r, registry.Ref{Name: name, Hash: one.String()}), load(t, r, registry.Ref{Name: name, Hash: two.String()})
	for n := 1; n <= len(first); n++ {
		dest := filepath.Join(t.TempDir(), "dest")
		killed := open(t, blobtest.Kill(store, n, false))
		if _, err := killed.Install(t.Context(), p1, dest, registry.InstallOptions{Workers: 1}); !errors.Is(err, blobtest.ErrFault) {
			t.Fatal(err)
		}
		install(t, r, p2, dest)
		wantTree(t, filepath.Dir(dest), prefixed("dest/", second))
	}
}

func TestInstallCutObject(t *testing.T) {
	inner := &mem.Store{}
	push(t, open(t, inner), "one", first)
	var plan []blobtest.Planned
	for range 3 {
		plan = append(plan, blobtest.Planned{Op: blobtest.Open, Key: ".sandwich/objects/", Fault: blobtest.Fault{Cut: 1}})
	}
	r := open(t, blobtest.Plan(t, inner, plan...))
	p := load(t, r, registry.Ref{Name: name})
	dest := filepath.Join(t.TempDir(), "dest")
	for try := 0; ; try++ {
		_, err := r.Install(t.Context(), p, dest, registry.InstallOptions{})
		if err == nil {
			break
		}
		if try == 5 || exists(dest) {
			t.Fatalf("try %d: %v, folder there: %v", try, err, exists(dest))
		}
	}
	wantTree(t, dest, first)
}

func TestRegistryMoved(t *testing.T) {
	parent := t.TempDir()
	old, moved := filepath.Join(parent, "old"), filepath.Join(parent, "moved")
	r := openFolder(t, old)
	one, two := push(t, r, "one", first), push(t, r, "two", second)
	if err := os.Rename(old, moved); err != nil {
		t.Fatal(err)
	}
	r = openFolder(t, moved)
	for i, want := range []map[string]string{first, second} {
		dest := filepath.Join(t.TempDir(), "dest")
		ref := registry.Ref{Name: name, Hash: []string{one.String(), two.String()}[i]}
		install(t, r, load(t, r, ref), dest)
		wantTree(t, dest, want)
	}
	if _, created, err := r.Push(t.Context(), name, revision("two", second), registry.PushOptions{}); err != nil || created {
		t.Errorf("the moved registry has another top hash: %v, %v", created, err)
	}
}

// What is read of files that are there is told of, by Verify and by an install over them.
func TestReadingIsToldOf(t *testing.T) {
	const size = 20 << 20
	r := open(t, &mem.Store{})
	push(t, r, "one", map[string]string{"large": noise(size), "lost": "now"})
	p := load(t, r, registry.Ref{Name: name})
	dest := filepath.Join(t.TempDir(), "dest")
	install(t, r, p, dest)
	if err := os.Remove(filepath.Join(dest, "lost")); err != nil {
		t.Fatal(err)
	}
	for _, read := range []func(tell func(transfer.State)) error{
		func(tell func(transfer.State)) error {
			_, err := folder.Verify(t.Context(), p.Content, dest, tell)
			return err
		},
		func(tell func(transfer.State)) error {
			_, err := r.Install(t.Context(), p, dest, registry.InstallOptions{Checking: tell})
			return err
		},
	} {
		var states []transfer.State
		if err := read(func(s transfer.State) { states = append(states, s) }); err != nil {
			t.Fatal(err)
		}
		if n := len(states); n < 3 || states[n-1] != (transfer.State{Files: 1, AllFiles: 1, Bytes: size, AllBytes: size}) {
			t.Errorf("%d states, the last of %+v", n, states[max(0, n-1):])
		}
	}
}

func TestVerifyFolder(t *testing.T) {
	r := open(t, &mem.Store{})
	push(t, r, "one", first)
	p := load(t, r, registry.Ref{Name: name})
	dest := filepath.Join(t.TempDir(), "dest")
	install(t, r, p, dest)
	verify := func() folder.Report {
		report, err := folder.Verify(t.Context(), p.Content, dest, nil)
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	if report := verify(); !report.OK(false) {
		t.Errorf("fresh install: %+v", report)
	}
	in := func(key string) string { return filepath.Join(dest, filepath.FromSlash(key)) }
	if err := errors.Join(
		os.WriteFile(in("extra"), nil, 0o644),
		os.MkdirAll(in(".sandwich-part"), 0o755),
	); err != nil {
		t.Fatal(err)
	}
	report := verify()
	if diff := cmp.Diff(folder.Report{Extra: []string{".sandwich-part", "extra"}}, report); diff != "" || report.OK(false) || !report.OK(true) {
		t.Errorf("extra files (-want +got):\n%s", diff)
	}
	if err := errors.Join(
		os.WriteFile(in("data/a.jpg"), []byte("aaab"), 0o644),
		os.WriteFile(in("README.md"), []byte("longer"), 0o644),
		os.Remove(in("empty")),
		os.Remove(in("copy.jpg")),
		os.Symlink(in("data/a.jpg"), in("copy.jpg")),
		os.Symlink(dest, in("data/loop")),
	); err != nil {
		t.Fatal(err)
	}
	report = verify()
	want := folder.Report{
		Missing: []string{"empty"},
		Changed: []string{"README.md", "copy.jpg", "data/a.jpg"},
		Extra:   []string{".sandwich-part", "data/loop", "extra"},
	}
	if diff := cmp.Diff(want, report); diff != "" || report.OK(true) {
		t.Errorf("damaged (-want +got):\n%s", diff)
	}
	if _, err := folder.Verify(t.Context(), p.Content, in("none"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent folder: %v", err)
	}
}

// Two installs at once in one folder: one may be refused, but what is there in the end is
// the package.
func TestInstallsAtOnce(t *testing.T) {
	r := open(t, &mem.Store{})
	files := map[string]string{}
	for i := range 50 {
		files[fmt.Sprintf("f%d", i)] = fmt.Sprint(i)
	}
	push(t, r, "many", files)
	p := load(t, r, registry.Ref{Name: name})
	dest := filepath.Join(t.TempDir(), "dest")
	errs := make(chan error)
	for range 3 {
		go func() {
			_, err := r.Install(t.Context(), p, dest, registry.InstallOptions{})
			errs <- err
		}()
	}
	failed := 0
	for range 3 {
		if err := <-errs; err != nil {
			failed++
		}
	}
	if failed == 3 {
		t.Error("no install went through")
	}
	install(t, r, p, dest)
	wantTree(t, dest, files)
}

// What this machine has already is taken from there if it is right, and otherwise fetched.
func TestInstallTakesWhatIsNearby(t *testing.T) {
	store := pass(&mem.Store{})
	r := open(t, store)
	large := strings.Repeat("0123456789abcdef", 9<<16)
	push(t, r, "one", map[string]string{"right": large, "wrong": "what it should be", "short": "longer", "none": "nnn"})
	p := load(t, r, registry.Ref{Name: name})
	elsewhere := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(elsewhere, []byte(large), 0o444); err != nil {
		t.Fatal(err)
	}
	near := func(_ context.Context, e quilt.Entry) (io.ReadCloser, error) {
		switch e.Key {
		case "right":
			return os.Open(elsewhere)
		case "wrong", "short":
			return io.NopCloser(strings.NewReader("what it is not")), nil
		}
		return nil, fs.ErrNotExist
	}
	dest := filepath.Join(t.TempDir(), "dest")
	var at transfer.State
	before := store.Count(blobtest.Open, objects.Prefix)
	got, err := r.Install(t.Context(), p, dest, registry.InstallOptions{Nearby: near, Progress: func(s transfer.State) { at = s }})
	if err != nil || got.Copied != 1 || got.Fetched != 3 {
		t.Errorf("Install = %+v, %v", got, err)
	}
	if n := store.Count(blobtest.Open, objects.Prefix) - before; n != 3 {
		t.Errorf("%d objects were read, want 3", n)
	}
	if at.Files != 4 || at.Bytes != at.AllBytes || at.There != int64(len(large)) {
		t.Errorf("progress ends at %+v", at)
	}
	wantTree(t, dest, map[string]string{"right": large, "wrong": "what it should be", "short": "longer", "none": "nnn"})
	// The copy is the owner's to write to, and what it was copied from does not change.
	f, err := os.OpenFile(filepath.Join(dest, "right"), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString("edited")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(elsewhere); err != nil || string(data) != large {
		t.Errorf("editing an installed file changed what it was copied from: %v", err)
	}
}
