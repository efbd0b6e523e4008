package disk_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
	"github.com/sandwich-build/sandwich/stages/cas/pack"
)

// writerEnv makes the test binary a process that writes to a store until it is killed:
// "<folder> <seed>".
const writerEnv = "SANDWICH_TEST_WRITER"

func TestMain(m *testing.M) {
	if job := os.Getenv(writerEnv); job != "" {
		dir, seed, _ := strings.Cut(job, " ")
		if err := writeForever(dir, seed); err != nil {
			fmt.Println("error:", err)
		}
		return
	}
	os.Exit(m.Run())
}

// blobsOfTree is how many files each tree of writeForever has.
const blobsOfTree = 12

// content is what the i-th file of a writer is: mostly small, sometimes a file of its
// own, sometimes what the other writer stores too.
func content(seed string, i int) []byte {
	switch {
	case i%11 == 5:
		return bytes.Repeat(fmt.Appendf(nil, "large %s %d ", seed, i), pack.MaxBlob/10)
	case i%3 == 0:
		return fmt.Appendf(nil, "shared %d", i)
	default:
		return bytes.Repeat(fmt.Appendf(nil, "%s %d ", seed, i), i%200)
	}
}

// writeForever records trees, and says so in a line for each, after one for the store.
func writeForever(dir, seed string) error {
	s, err := disk.Open(dir)
	if err != nil {
		return err
	}
	fmt.Println("open")
	for round := 0; ; round++ {
		out := cas.NewBuilder(s)
		var wg sync.WaitGroup
		var mu sync.Mutex // guards err
		for i := range blobsOfTree {
			wg.Go(func() {
				e := out.PutBytes(neverDone{}, strconv.Itoa(i), content(seed, round*blobsOfTree+i))
				mu.Lock()
				defer mu.Unlock()
				err = errors.Join(err, e)
			})
		}
		wg.Wait()
		if err != nil {
			return err
		}
		tree, err := out.Commit(neverDone{})
		if err != nil {
			return err
		}
		if err := s.Record(neverDone{}, actionOf(seed, round), cas.Result{Tree: tree.ID()}); err != nil {
			return err
		}
		fmt.Println(round)
	}
}

// neverDone is the context of a process that only ends by being killed.
type neverDone struct{}

func (neverDone) Deadline() (time.Time, bool) { return time.Time{}, false }
func (neverDone) Done() <-chan struct{}       { return nil }
func (neverDone) Err() error                  { return nil }
func (neverDone) Value(any) any               { return nil }

func actionOf(seed string, round int) cas.Digest {
	return cas.Sum(fmt.Appendf(nil, "action %s %d", seed, round))
}

// TestKilled kills pairs of writers (SIGKILL) at moments spread over their work. What
// they have recorded must be there, to the byte, and no index may name bytes that are
// not. SANDWICH_KILLS is how many times; a thousand were tried by hand.
func TestKilled(t *testing.T) {
	kills := 30
	if n, err := strconv.Atoi(os.Getenv("SANDWICH_KILLS")); err == nil {
		kills = n
	}
	dir := t.TempDir()
	recorded := 0
	for kill := 0; kill < kills; kill += 2 {
		seeds := []string{fmt.Sprintf("a%d", kill), fmt.Sprintf("b%d", kill)}
		rounds := make([]int, len(seeds))
		var wg sync.WaitGroup
		for i, seed := range seeds {
			noise := cas.Sum([]byte(seed)).SHA256()
			wg.Go(func() {
				rounds[i] = killedWriter(t, dir, seed, int(noise[1])%4, time.Duration(noise[0])*100*time.Microsecond)
			})
		}
		wg.Wait()
		s := openDisk(t, dir)
		for i, seed := range seeds {
			recorded += rounds[i]
			checkRecorded(t, s, seed, rounds[i])
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	checkPlaces(t, openDisk(t, dir))
	packs, err := filepath.Glob(filepath.Join(dir, "packs", "*.pack"))
	if err != nil || len(packs) > 2 {
		t.Errorf("two writers at a time have made %d packs: %v", len(packs), err)
	}
	t.Logf("%d kills; %d results recorded, all whole", kills, recorded)
	if recorded == 0 {
		t.Error("every writer was killed before its first result: the test shows nothing")
	}
}

// killedWriter runs a writer, kills it some time after it has recorded a number of
// results, and returns how many it has told of by then.
func killedWriter(t *testing.T, dir, seed string, results int, after time.Duration) int {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), writerEnv+"="+dir+" "+seed)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Error(err)
		return 0
	}
	rounds := -1 // the first line says that the store is open
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "error") {
			t.Error(lines.Text())
			break
		}
		rounds++
		if rounds == results {
			time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
	}
	_ = cmd.Wait() // it was killed, and says so
	return max(rounds, 0)
}

func checkRecorded(t *testing.T, s *disk.Store, seed string, rounds int) {
	t.Helper()
	for round := range rounds {
		r, err := s.Result(t.Context(), actionOf(seed, round))
		if err != nil {
			t.Fatalf("%s %d: %v", seed, round, err)
		}
		tree := cas.NewTree(s, r.Tree)
		for i := range blobsOfTree {
			got, err := tree.ReadFile(t.Context(), strconv.Itoa(i))
			if err != nil || !bytes.Equal(got, content(seed, round*blobsOfTree+i)) {
				t.Fatalf("%s %d: file %d has %d bytes: %v", seed, round, i, len(got), err)
			}
		}
	}
}

// checkPlaces reads every blob of a store, in every place.
func checkPlaces(t *testing.T, s *disk.Store) {
	t.Helper()
	for l, err := range s.Blobs(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Check(t.Context(), l); err != nil {
			t.Errorf("%s at %d: %v", l.File, l.Offset, err)
		}
	}
}

// sample is a small store with everything in it.
type sample struct {
	dir    string
	store  *disk.Store
	blobs  map[cas.Digest]string
	action cas.Digest
	result cas.Result
}

func newSample(t *testing.T) sample { return newSampleIn(t, t.TempDir()) }

func newSampleIn(t *testing.T, dir string) sample {
	t.Helper()
	s := sample{dir: dir, blobs: map[cas.Digest]string{}, action: cas.Sum([]byte("action"))}
	s.store = openDisk(t, s.dir)
	out := cas.NewBuilder(s.store)
	for i, data := range []string{"", "a", strings.Repeat("bread", 20), strings.Repeat("ham", pack.MaxBlob/3+1)} {
		s.blobs[cas.Sum([]byte(data))] = data
		if err := out.PutBytes(t.Context(), fmt.Sprintf("dir/%d", i), []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := out.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.result = cas.Result{Tree: tree.ID(), Counters: map[string]int64{"crops": 3}}
	if err := errors.Join(s.store.Record(t.Context(), s.action, s.result), s.store.Note(t.Context(), "crop", s.action)); err != nil {
		t.Fatal(err)
	}
	return s
}

// look reads all of the sample. What it gets must be right, or be said to be missing or
// damaged; whole tells whether all of it was right.
func (s sample) look(t *testing.T, what string) (whole bool) {
	t.Helper()
	whole = true
	for d, want := range s.blobs {
		got, err := cas.ReadBlob(t.Context(), s.store, d)
		var bad *cas.BlobError
		if err == nil && string(got) != want || err != nil && !errors.As(err, &bad) {
			t.Fatalf("%s: read %d bytes of %s, %v", what, len(got), d, err)
		}
		whole = whole && err == nil
	}
	r, err := s.store.Result(t.Context(), s.action)
	if err == nil && (r.Tree != s.result.Tree || r.Counters["crops"] != 3) || err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%s: result %v, %v", what, r, err)
	}
	whole = whole && err == nil
	noted, err := s.store.Latest(t.Context(), "crop")
	if err == nil && noted != s.action || err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%s: noted is %s, %v", what, noted, err)
	}
	return whole && err == nil
}

// files returns the files that say something, with their content.
func (s sample) files(t *testing.T) map[string][]byte {
	files := map[string][]byte{}
	for _, dir := range []string{"packs", "blobs", "results", "latest"} {
		for _, name := range listFiles(t, filepath.Join(s.dir, dir)) {
			data, err := os.ReadFile(name)
			if err == nil {
				err = os.Chmod(name, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			files[name] = data
		}
	}
	return files
}

// restore makes the files what they were.
func (s sample) restore(t *testing.T, files map[string][]byte) {
	t.Helper()
	for name, data := range files {
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFlippedBits flips a bit of every byte of every file of a store in turn; of the file
// of a large blob a hundred, and where an index is a hole every 64th. Nothing wrong
// may come out, and what is stored again must be whole.
func TestFlippedBits(t *testing.T) {
	s := newSample(t)
	files := s.files(t)
	noticed := 0
	for name, good := range files {
		step := 1
		if len(good) > pack.MaxBlob {
			step = len(good) / 100
		}
		reads := s // all of it, or for a pack all that lies in one
		if filepath.Base(filepath.Dir(name)) == "packs" {
			reads.blobs = maps.Clone(s.blobs)
			maps.DeleteFunc(reads.blobs, func(d cas.Digest, _ string) bool { return d.Size() > pack.MaxBlob })
		}
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(good); at += step {
			if at%64 != 0 && bytes.Count(good[at:min(at+64, len(good))], []byte{0}) == 64 {
				continue
			}
			what := fmt.Sprintf("%s, byte %d", filepath.Base(name), at)
			if _, err := f.WriteAt([]byte{good[at] ^ 1<<(at%8)}, int64(at)); err != nil {
				t.Fatal(err)
			}
			whole := reads.look(t, what)
			if !whole {
				if noticed++; noticed%8 == 0 { // each waits for the disk
					s.heal(t, what)
				}
				s.restore(t, files)
				if f, err = reopen(f, name); err != nil {
					t.Fatal(err)
				}
			} else if _, err := f.WriteAt(good[at:at+1], int64(at)); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if noticed < 300 {
		t.Errorf("only %d of the flips were noticed: the test reads less than it should", noticed)
	}
}

// reopen opens a file that may have been replaced since.
func reopen(f *os.File, name string) (*os.File, error) {
	if err := f.Close(); err != nil {
		return nil, err
	}
	return os.OpenFile(name, os.O_RDWR, 0)
}

// heal stores all of the sample again, as a build does, after which it must be whole.
func (s sample) heal(t *testing.T, what string) {
	t.Helper()
	for _, data := range s.blobs {
		put(t, s.store, data)
	}
	if err := errors.Join(s.store.Record(t.Context(), s.action, s.result), s.store.Note(t.Context(), "crop", s.action)); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if !s.look(t, what+", stored again") {
		t.Fatalf("%s: not whole after it was stored again", what)
	}
}

// TestPowerCut loses what was not synced: the pack and its index end at any byte, or go
// on as zeros, after the last Record. What was recorded before stays; the rest is there
// whole, or missing.
func TestPowerCut(t *testing.T) {
	s := newSample(t)
	pack, index := filepath.Join(s.dir, "packs", "000001.pack"), filepath.Join(s.dir, "packs", "000001.index")
	synced := s.files(t)
	later := map[cas.Digest]string{}
	for i := range 5 {
		data := strings.Repeat("later", i+1)
		later[put(t, s.store, data)] = data
	}
	all := s.files(t)
	for name, step := range map[string]int{pack: 3, index: 101} {
		for cut := len(synced[name]); cut < len(all[name]); cut += step {
			for _, zeros := range []bool{false, true} {
				lost := bytes.Clone(all[name][:cut])
				if zeros {
					lost = append(lost, make([]byte, len(all[name])-cut)...)
				}
				s.restore(t, map[string][]byte{pack: all[pack], index: all[index]})
				s.restore(t, map[string][]byte{name: lost})
				what := fmt.Sprintf("%s cut at %d (zeros %t)", filepath.Base(name), cut, zeros)
				if !s.look(t, what) {
					t.Errorf("%s: what was recorded is lost", what)
				}
				sample{dir: s.dir, store: s.store, blobs: later, action: s.action, result: s.result}.look(t, what)
			}
		}
	}
	// A slot of the index may have arrived before the bytes that it names.
	s.restore(t, map[string][]byte{pack: synced[pack], index: all[index]})
	for d, data := range later {
		if got, err := cas.ReadBlob(t.Context(), s.store, d); err == nil {
			t.Errorf("read %q from behind the end of the pack", got)
		}
		if again := put(t, s.store, data); again != d {
			t.Errorf("stored as %s, then as %s", d, again)
		}
		if got, err := cas.ReadBlob(t.Context(), s.store, d); err != nil || string(got) != data {
			t.Errorf("after it was stored again: %q, %v", got, err)
		}
	}
}

// TestLostIndex removes the index of a pack. Its blobs are missing, and found again by
// Reindex.
func TestLostIndex(t *testing.T) {
	s := newSample(t)
	if err := errors.Join(s.store.Close(), os.Remove(filepath.Join(s.dir, "packs", "000001.index"))); err != nil {
		t.Fatal(err)
	}
	s.store = openDisk(t, s.dir)
	if s.look(t, "without its index") {
		t.Error("the index is of no use")
	}
	n, err := s.store.Reindex(t.Context())
	if err != nil || n != 5 { // three small files, two directories
		t.Errorf("Reindex = %d, %v", n, err)
	}
	if !s.look(t, "with a new index") {
		t.Error("not whole with a new index")
	}
	if n, err := s.store.Reindex(t.Context()); n != 0 || err != nil {
		t.Errorf("Reindex again = %d, %v", n, err)
	}
}

// TestClockJumps gives every file a time in the past, and in the future.
func TestClockJumps(t *testing.T) {
	for _, year := range []int{1970, 2100} {
		s := newSample(t)
		odd := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
		for _, name := range listFiles(t, s.dir) {
			if err := os.Chtimes(name, odd, odd); err != nil {
				t.Fatal(err)
			}
		}
		s.store = openDisk(t, s.dir)
		if !s.look(t, strconv.Itoa(year)) {
			t.Errorf("year %d: not whole", year)
		}
		for c, err := range s.store.Results(t.Context()) {
			if age := time.Since(c.Used); err != nil || age < -time.Minute || age > time.Minute {
				t.Errorf("year %d: a result in use was used at %s, %v", year, c.Used, err)
			}
		}
	}
}

// TestHandlesSeeEachOther opens a store twice, as two processes do. What one stores the
// other finds, in packs that did not exist when it opened the store.
func TestHandlesSeeEachOther(t *testing.T) {
	dir := t.TempDir()
	a, b := openDisk(t, dir), openDisk(t, dir)
	var wg sync.WaitGroup
	for i, pair := range [][2]*disk.Store{{a, b}, {b, a}} {
		wg.Go(func() {
			for n := range 500 {
				data := fmt.Sprintf("blob %d", n+i*250) // half of them are the other's too
				d, err := pair[0].Put(t.Context(), strings.NewReader(data))
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := cas.ReadBlob(t.Context(), pair[1], d); err != nil || string(got) != data {
					t.Errorf("the other reads %q, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
	packs, err := filepath.Glob(filepath.Join(dir, "packs", "*.pack"))
	if err != nil || len(packs) != 2 {
		t.Errorf("%d packs: %v", len(packs), err)
	}
}

// TestManyBlobs fills the tables of an index beyond the first two.
func TestManyBlobs(t *testing.T) {
	dir := t.TempDir()
	s := openDisk(t, dir)
	const n = 12_000
	ds := make([]cas.Digest, n)
	for i := range ds {
		ds[i] = put(t, s, strconv.Itoa(i))
	}
	for range 2 {
		if missing, err := s.Missing(t.Context(), ds); err != nil || len(missing) > 0 {
			t.Fatalf("%d are missing: %v", len(missing), err)
		}
		absent := cas.Sum([]byte("absent"))
		if missing, err := s.Missing(t.Context(), []cas.Digest{absent}); err != nil || len(missing) != 1 {
			t.Fatalf("missing: %v, %v", missing, err)
		}
		size := packSize(t, dir)
		put(t, s, "77") // what is there is not stored twice
		if now := packSize(t, dir); now != size {
			t.Errorf("the pack grew from %d to %d", size, now)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openDisk(t, dir)
	}
	if files := listFiles(t, dir); len(files) > 4 {
		t.Errorf("%d blobs take %d files", n, len(files))
	}
}

func packSize(t *testing.T, dir string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, "packs", "000001.pack"))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// FuzzPack makes the index of packs of any bytes. Every blob that comes out of one must
// be what its digest says.
func FuzzPack(f *testing.F) {
	dir := f.TempDir()
	s, err := disk.Open(dir)
	if err != nil {
		f.Fatal(err)
	}
	for _, data := range []string{"", "ham", strings.Repeat("egg", 10)} {
		if _, err := s.Put(f.Context(), strings.NewReader(data)); err != nil {
			f.Fatal(err)
		}
	}
	pack, err := os.ReadFile(filepath.Join(dir, "packs", "000001.pack"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pack)
	f.Add(pack[8:])
	f.Fuzz(func(t *testing.T, pack []byte) {
		dir := t.TempDir()
		err := errors.Join(
			os.Mkdir(filepath.Join(dir, "packs"), 0o777),
			os.WriteFile(filepath.Join(dir, "packs", "000001.pack"), pack, 0o666),
		)
		if err != nil {
			t.Fatal(err)
		}
		s := openDisk(t, dir)
		if _, err := s.Reindex(t.Context()); err != nil {
			t.Fatal(err)
		}
		for l, err := range s.Blobs(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			got, err := cas.ReadBlob(t.Context(), s, l.Digest)
			if _, bad := errors.AsType[*cas.BlobError](err); err == nil && cas.Sum(got) != l.Digest || err != nil && !bad {
				t.Errorf("%s: %d bytes, %v", l.Digest, len(got), err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
