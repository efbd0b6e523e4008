package upkeep_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
	"github.com/sandwich-build/sandwich/stages/cas/disk/disktest"
	"github.com/sandwich-build/sandwich/stages/cas/pack"
	"github.com/sandwich-build/sandwich/stages/cas/upkeep"
)

func actionOf(name string) cas.Digest { return cas.Sum([]byte("action " + name)) }

// large is the content of a blob that is a file of its own.
func large(name string) string { return strings.Repeat(name, pack.MaxBlob/len(name)+1) }

// record stores a tree of a file that all results share, 50 small files and a large one,
// and records it as what the action of that name produced, used so long ago.
func record(t *testing.T, s *disk.Store, name string, age time.Duration) {
	t.Helper()
	out := cas.NewBuilder(s)
	err := errors.Join(
		out.PutBytes(t.Context(), "shared", []byte("shared")),
		out.PutBytes(t.Context(), "large", []byte(large(name))),
	)
	for i := range 50 {
		err = errors.Join(err, out.PutBytes(t.Context(), fmt.Sprintf("small/%d", i), smallFile(name, i)))
	}
	tree, commitErr := out.Commit(t.Context())
	err = errors.Join(err, commitErr, s.Record(t.Context(), actionOf(name), cas.Result{Tree: tree.ID()}))
	if err != nil {
		t.Fatal(err)
	}
	for r, err := range s.Results(t.Context()) {
		if used := time.Now().Add(-age); err != nil || r.Action == actionOf(name) && os.Chtimes(r.File, used, used) != nil {
			t.Fatal(err)
		}
	}
}

func smallFile(name string, i int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%s %d ", name, i), 100)
}

// whole tells whether a result is there with all its files; anything between that and
// no result at all is an error.
func whole(t *testing.T, s *disk.Store, name string) bool {
	t.Helper()
	r, err := s.Result(t.Context(), actionOf(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for f, err := range cas.NewTree(s, r.Tree).Files(t.Context()) {
		if err == nil {
			_, err = cas.ReadBlob(t.Context(), s, f.Digest)
		}
		if err != nil {
			t.Fatalf("%s has a result, but: %v", name, err)
		}
		n++
	}
	if n != 52 {
		t.Fatalf("%s has %d files", name, n)
	}
	return true
}

func TestCollect(t *testing.T) {
	const day = 24 * time.Hour
	for name, test := range map[string]struct {
		policy upkeep.Policy
		kept   []string
	}{
		"everything is needed": {upkeep.Policy{}, []string{"new", "old", "older"}},
		"by age":               {upkeep.Policy{Unused: time.Now().Add(-10 * day)}, []string{"new", "old"}},
		"by budget":            {upkeep.Policy{MaxBytes: 2 * pack.MaxBlob}, []string{"new"}},
		"no room at all":       {upkeep.Policy{MaxBytes: 1}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := disktest.Open(t, dir)
			ages := map[string]time.Duration{"new": 0, "old": 5 * day, "older": 50 * day}
			for _, name := range []string{"older", "new", "old"} {
				record(t, s, name, ages[name])
			}
			junk, err := s.Put(t.Context(), strings.NewReader(strings.Repeat("junk", 10_000)))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, "tmp", "put-1"), []byte("left by a killed process"), 0o666)
			}
			if err != nil {
				t.Fatal(err)
			}
			before := snapshot(t, dir)
			forecast, err := upkeep.Collect(t.Context(), s, test.policy, true)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, snapshot(t, dir)); diff != "" {
				t.Errorf("a dry run has changed the store:\n%s", diff)
			}
			done, err := upkeep.Collect(t.Context(), s, test.policy, false)
			if err != nil || !cmp.Equal(done, forecast) {
				t.Errorf("Collect = %+v, %v; the dry run said %+v", done, err, forecast)
			}
			if done.Total().Results != len(test.kept) || done.Results != 3-len(test.kept) {
				t.Errorf("Collect = %+v", done)
			}
			for name := range ages {
				if got, want := whole(t, s, name), strings.Contains(strings.Join(test.kept, " ")+" ", name+" "); got != want {
					t.Errorf("%s is there: %t, want %t", name, got, want)
				}
			}
			if _, err := s.Open(t.Context(), junk); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("what no result needs is there: %v", err)
			}
			again, err := upkeep.Collect(t.Context(), s, test.policy, false)
			if err != nil || again.Results+again.Blobs != 0 {
				t.Errorf("Collect again = %+v, %v", again, err)
			}
			record(t, s, "after", 0) // the store is as good as before
			if !whole(t, disktest.Open(t, dir), "after") {
				t.Error("a store that was cleaned up does not store")
			}
		})
	}
}

// TestCollectKeepsRoots collects with no room and no age, but with roots. What they name
// stays, and is told under the first reason; what they name and the store lacks is no fault.
func TestCollectKeepsRoots(t *testing.T) {
	s := disktest.Open(t, t.TempDir())
	for _, name := range []string{"built", "other", "old"} {
		record(t, s, name, 50*24*time.Hour)
	}
	photo := []byte(strings.Repeat("the last copy of a photo", 10_000))
	d, err := s.Put(t.Context(), bytes.NewReader(photo))
	if err != nil {
		t.Fatal(err)
	}
	policy := upkeep.Policy{MaxBytes: 1, Unused: time.Now(), Roots: []upkeep.Root{
		{Reason: upkeep.ReasonInstalled, Name: "/lunch", Results: []cas.Digest{actionOf("built"), actionOf("never")}},
		{Reason: upkeep.ReasonLock, Name: "/b/manifest.lock", Blobs: []cas.Digest{cas.Sum([]byte("never stored")), d}},
		{Reason: upkeep.ReasonLock, Name: "/a/manifest.lock", Blobs: []cas.Digest{d}},
		{Reason: upkeep.ReasonHistory, Name: "a/b", Actions: []cas.Digest{actionOf("never")}},
	}}
	upkeep.SortRoots(policy.Roots)
	forecast, err := upkeep.Collect(t.Context(), s, policy, true)
	if err != nil {
		t.Fatal(err)
	}
	done, err := upkeep.Collect(t.Context(), s, policy, false)
	if err != nil || !cmp.Equal(done, forecast) {
		t.Errorf("Collect = %+v, %v; the dry run said %+v", done, err, forecast)
	}
	if len(done.Kept) != 2 || done.Kept[0] != (upkeep.Kept{Reason: upkeep.ReasonLock, Name: "/a/manifest.lock", Blobs: 1, Bytes: int64(len(photo))}) ||
		done.Kept[1].Reason != upkeep.ReasonInstalled || done.Kept[1].Results != 1 {
		t.Errorf("kept %+v", done.Kept)
	}
	if got, err := cas.ReadBlob(t.Context(), s, d); err != nil || !bytes.Equal(got, photo) {
		t.Errorf("the photo that a lock pins: %d bytes, %v", len(got), err)
	}
	if !whole(t, s, "built") || whole(t, s, "other") || whole(t, s, "old") {
		t.Error("not what the roots name is there")
	}
	if done, err = upkeep.Collect(t.Context(), s, upkeep.Policy{MaxBytes: 1}, false); err != nil || done.Total() != (upkeep.Kept{}) {
		t.Errorf("without roots: %+v, %v", done, err)
	}
}

// snapshot returns the size of every file of a store.
func snapshot(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	sizes := map[string]int64{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			sizes[name] = info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sizes
}

// collectorEnv makes the test binary a process that makes waste in the store of that
// folder and cleans it up, until it is killed.
const collectorEnv = "SANDWICH_TEST_COLLECTOR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(collectorEnv); dir != "" {
		fmt.Println(collectForever(context.Background(), dir))
		return
	}
	if job := os.Getenv(workerEnv); job != "" {
		fmt.Println(workForever(context.Background(), job))
		return
	}
	os.Exit(m.Run())
}

func collectForever(ctx context.Context, dir string) error {
	s, err := disk.Open(dir)
	if err != nil {
		return err
	}
	for {
		for i := range 100 {
			if _, err := s.Put(ctx, bytes.NewReader(smallFile("waste", i))); err != nil {
				return err
			}
		}
		fmt.Println("collect")
		if _, err := upkeep.Collect(ctx, s, upkeep.Policy{}, false); err != nil {
			return err
		}
	}
}

// TestKilledCollect kills gc (SIGKILL) while it copies what is needed from pack to pack.
// What is needed must be there afterwards, and the next gc must go on.
func TestKilledCollect(t *testing.T) {
	dir := t.TempDir()
	s := disktest.Open(t, dir)
	record(t, s, "kept", 0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for kill := range 12 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), collectorEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		rounds := 0
		for lines := bufio.NewScanner(out); lines.Scan(); rounds++ {
			if lines.Text() != "collect" {
				t.Error(lines.Text())
			}
			if rounds == kill%3 {
				time.AfterFunc(time.Duration(kill)*time.Millisecond, func() { _ = cmd.Process.Kill() })
			}
		}
		_ = cmd.Wait() // it was killed, and says so
		s := disktest.Open(t, dir)
		if !whole(t, s, "kept") {
			t.Fatalf("kill %d: what was needed is lost", kill)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s = disktest.Open(t, dir)
	if _, err := upkeep.Collect(t.Context(), s, upkeep.Policy{}, false); err != nil || !whole(t, s, "kept") {
		t.Errorf("after all kills: %v", err)
	}
	if packs, err := filepath.Glob(filepath.Join(dir, "packs", "*.pack")); err != nil || len(packs) != 1 {
		t.Errorf("%d packs are left: %v", len(packs), err)
	}
}

// TestCollectKeepsOutOfTheWay cleans up while a build has the store open and holds the
// lock of an action.
func TestCollectKeepsOutOfTheWay(t *testing.T) {
	dir := t.TempDir()
	mine, theirs := disktest.Open(t, dir), disktest.Open(t, dir)
	record(t, theirs, "theirs", 0)
	unlock, err := theirs.Lock(t.Context(), actionOf("next"), func(cas.Holder) {})
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, err := upkeep.Collect(t.Context(), mine, upkeep.Policy{MaxBytes: 1}, true); err != nil {
		t.Errorf("a dry run needs nobody's leave: %v", err)
	}
	_, err = upkeep.Collect(t.Context(), mine, upkeep.Policy{MaxBytes: 1}, false)
	busy, ok := errors.AsType[*disk.BusyError](err)
	if !ok || busy.By.PID != os.Getpid() || busy.Cleaning {
		t.Errorf("Collect = %v", err)
	}
	if !whole(t, theirs, "theirs") {
		t.Error("a build lost its result")
	}
}

// TestOpenWaitsForCollect opens a store that is being cleaned up.
func TestOpenWaitsForCollect(t *testing.T) {
	dir := t.TempDir()
	s := disktest.Open(t, dir)
	release, err := s.Alone()
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan error)
	go func() {
		second, err := disk.Open(dir)
		if err == nil {
			err = second.Close()
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		t.Errorf("the store was opened while another process had it alone: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

func TestVerify(t *testing.T) {
	dir := t.TempDir()
	s := disktest.Open(t, dir)
	record(t, s, "good", 0)
	record(t, s, "bad", 0)
	record(t, s, "worse", 0)
	progress := func(int64, int64) {}
	r, err := upkeep.Verify(t.Context(), s, progress)
	if err != nil || !r.OK() || r.Results != 3 || r.Blobs < 150 {
		t.Fatalf("Verify of a sound store = %+v, %v", r, err)
	}
	small, big := cas.Sum(smallFile("bad", 7)), cas.Sum([]byte(large("worse")))
	for l, err := range s.Blobs(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if l.Digest == small || l.Digest == big {
			flip(t, l.File, l.Offset+5)
		}
	}
	r, err = upkeep.Verify(t.Context(), s, progress)
	if err != nil || len(r.Damaged) != 2 || r.Forgotten != 2 {
		t.Errorf("Verify = %+v, %v", r, err)
	}
	if whole(t, s, "bad") || whole(t, s, "worse") || !whole(t, s, "good") {
		t.Error("the wrong results were forgotten")
	}
	r, err = upkeep.Verify(t.Context(), s, progress)
	if err != nil || !r.OK() || r.Results != 1 {
		t.Errorf("Verify again = %+v, %v", r, err)
	}
	st, err := upkeep.Measure(t.Context(), s)
	if err != nil || st.Damaged != 2 || st.Results != 1 || st.Packs != 1 || st.Blobs-st.Packed != 2 {
		t.Errorf("Measure = %+v, %v", st, err)
	}
}

func flip(t *testing.T, name string, at int64) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err == nil {
		data[at] ^= 1
		err = errors.Join(os.Chmod(name, 0o644), os.WriteFile(name, data, 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestExportAndImport(t *testing.T) {
	from, to := disktest.Open(t, t.TempDir()), disktest.Open(t, t.TempDir())
	record(t, from, "one", 0)
	record(t, from, "two", 0)
	var archive, again bytes.Buffer
	sent, err := upkeep.Export(t.Context(), from, &archive, []cas.Digest{actionOf("one")})
	if err != nil || sent.Results != 1 || sent.Blobs != 54 {
		t.Fatalf("Export = %+v, %v", sent, err)
	}
	got, err := upkeep.Import(t.Context(), to, bytes.NewReader(archive.Bytes()))
	if err != nil || got != sent {
		t.Errorf("Import = %+v, %v; want %+v", got, err, sent)
	}
	if !whole(t, to, "one") || whole(t, to, "two") {
		t.Error("the wrong results have arrived")
	}
	if _, err := upkeep.Export(t.Context(), to, &again, nil); err != nil || !bytes.Equal(archive.Bytes(), again.Bytes()) {
		t.Errorf("what was imported is exported as other bytes: %v", err)
	}
	if _, err := upkeep.Export(t.Context(), to, &again, []cas.Digest{actionOf("two")}); !errors.Is(err, upkeep.ErrNothing) {
		t.Errorf("Export of what is not there = %v", err)
	}
}

// TestImportRefuses damages an archive in many places, and cuts it. What arrives is
// whole, or there is an error; padding is the only part that may change.
func TestImportRefuses(t *testing.T) {
	from := disktest.Open(t, t.TempDir())
	record(t, from, "one", 0)
	var archive bytes.Buffer
	if _, err := upkeep.Export(t.Context(), from, &archive, nil); err != nil {
		t.Fatal(err)
	}
	good := archive.Bytes()
	for at := 0; at < len(good); at += len(good)/60 + 1 {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		for what, data := range map[string][]byte{"flipped": bad, "cut": good[:at]} {
			to := disktest.Open(t, t.TempDir())
			_, err := upkeep.Import(t.Context(), to, bytes.NewReader(data))
			if _, refused := errors.AsType[*upkeep.ArchiveError](err); !refused && !whole(t, to, "one") {
				t.Errorf("%s at %d: %v", what, at, err)
			}
		}
	}
}

func FuzzImport(f *testing.F) {
	s, err := disk.Open(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	tree, err := cas.NewBuilder(s).Commit(f.Context())
	if err == nil {
		err = s.Record(f.Context(), actionOf("empty"), cas.Result{Tree: tree.ID()})
	}
	var archive bytes.Buffer
	if err == nil {
		_, err = upkeep.Export(f.Context(), s, &archive, nil)
	}
	if err != nil {
		f.Fatal(err)
	}
	f.Add(archive.Bytes())
	f.Add([]byte("not a tar file"))
	f.Fuzz(func(t *testing.T, data []byte) {
		to := disktest.Open(t, t.TempDir())
		_, err := upkeep.Import(t.Context(), to, bytes.NewReader(data))
		if _, refused := errors.AsType[*upkeep.ArchiveError](err); err != nil && !refused {
			t.Error(err)
		}
		for r, err := range to.Results(t.Context()) {
			if err != nil || r.Damaged {
				t.Errorf("imported %+v, %v", r, err)
			}
		}
	})
}

// TestItems holds that what the items of a result came to is kept, moved and dropped with
// it, and that a result which loses its output keeps its items.
func TestItems(t *testing.T) {
	s := disktest.Open(t, t.TempDir())
	tree := func(content string) cas.TreeID {
		b := cas.NewBuilder(s)
		err := b.PutBytes(t.Context(), "file", []byte(content))
		built, commitErr := b.Commit(t.Context())
		if err := errors.Join(err, commitErr); err != nil {
			t.Fatal(err)
		}
		return built.ID()
	}
	kept := func(s *disk.Store, content string) bool {
		missing, err := s.Missing(t.Context(), []cas.Digest{cas.Sum([]byte(content))})
		if err != nil {
			t.Fatal(err)
		}
		return len(missing) == 0
	}
	collect := func(p upkeep.Policy) {
		if _, err := upkeep.Collect(t.Context(), s, p, false); err != nil {
			t.Fatal(err)
		}
	}
	full := cas.Result{Tree: tree("output"), Items: tree("item")}
	err := errors.Join(
		s.Record(t.Context(), actionOf("full"), full),
		s.Record(t.Context(), actionOf("interrupted"), cas.Result{Items: tree("half")}),
	)
	if err != nil {
		t.Fatal(err)
	}
	if collect(upkeep.Policy{}); !kept(s, "item") || !kept(s, "half") {
		t.Error("gc takes items of results that it keeps")
	}

	var archive bytes.Buffer
	if _, err := upkeep.Export(t.Context(), s, &archive, nil); err != nil {
		t.Fatal(err)
	}
	other := disktest.Open(t, t.TempDir())
	if _, err := upkeep.Import(t.Context(), other, &archive); err != nil {
		t.Fatal(err)
	}
	if r, err := other.Result(t.Context(), actionOf("full")); err != nil || r.Items != full.Items || !kept(other, "item") {
		t.Errorf("imported: %v, %v", r, err)
	}
	if _, err := other.Result(t.Context(), actionOf("interrupted")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an interrupted run is exported: %v", err)
	}

	gone := cas.Result{Tree: cas.NewTreeID(cas.Sum([]byte("gone"))), Items: full.Items}
	if err := s.Record(t.Context(), actionOf("full"), gone); err != nil {
		t.Fatal(err)
	}
	if r, err := upkeep.Verify(t.Context(), s, func(int64, int64) {}); err != nil || r.Forgotten != 1 {
		t.Errorf("verified: %+v, %v", r, err)
	}
	if r, err := s.Result(t.Context(), actionOf("full")); err != nil || r.Items != full.Items || !r.Tree.IsZero() {
		t.Errorf("after its output was lost, the result is %v, %v", r, err)
	}

	if collect(upkeep.Policy{Unused: time.Now().Add(time.Hour)}); kept(s, "item") || kept(s, "half") {
		t.Error("gc keeps items of results that it drops")
	}
}
