package items

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

var scope = Scope{Kind: "kind", Version: 1, Environment: "env"}

// lossy is a store that can lose blobs, and counts what is put into it.
type lossy struct {
	*cas.Memory
	lost map[cas.Digest]bool
	puts int
}

func newStore() *lossy { return &lossy{Memory: cas.NewMemory(), lost: map[cas.Digest]bool{}} }

func (l *lossy) Open(ctx context.Context, d cas.Digest) (io.ReadCloser, error) {
	if l.lost[d] {
		return nil, &cas.BlobError{Digest: d, Err: cas.ErrLost}
	}
	return l.Memory.Open(ctx, d)
}

func (l *lossy) Missing(ctx context.Context, ds []cas.Digest) ([]cas.Digest, error) {
	missing, err := l.Memory.Missing(ctx, ds)
	for _, d := range ds {
		if l.lost[d] {
			missing = append(missing, d)
		}
	}
	return missing, err
}

func (l *lossy) Put(ctx context.Context, r io.Reader) (cas.Digest, error) {
	d, err := l.Memory.Put(ctx, r)
	l.puts++
	delete(l.lost, d)
	return d, err
}

// world is items: name to key. An item's outcome is a function of the two.
type world map[string]int

func outcome(tb testing.TB, store cas.Store, name string, key int) Outcome {
	tb.Helper()
	o := Outcome{Data: fmt.Appendf(nil, "%s=%d", name, key)}
	for i := range key % 3 { // some have no blob, some have two
		d, err := cas.PutBytes(tb.Context(), store, fmt.Appendf(nil, "%s %d %d", name, key, i))
		if err != nil {
			tb.Fatal(err)
		}
		o.Blobs = append(o.Blobs, d)
	}
	return o
}

// run goes through the items of a world, of which it does at most limit, and returns
// the book and which it did.
func run(tb testing.TB, store cas.Store, w world, limit int, earlier ...cas.Tree) (*Book, []string) {
	tb.Helper()
	ctx := tb.Context()
	b := NewBook(store, scope, earlier)
	set, err := b.Set(ctx, "things", 1)
	if err != nil {
		tb.Fatal(err)
	}
	var did []string
	for _, name := range sortedKeys(w) {
		item, err := set.Begin(ctx, name, w[name])
		if err != nil {
			tb.Fatal(err)
		}
		o, known := item.Known()
		if !known {
			if len(did) == limit {
				break
			}
			did = append(did, name)
			o = outcome(tb, store, name, w[name])
			if err := item.Done(ctx, o); err != nil {
				tb.Fatal(err)
			}
		}
		if string(o.Data) != fmt.Sprintf("%s=%d", name, w[name]) || len(o.Blobs) != w[name]%3 {
			tb.Fatalf("item %s of key %d has the outcome %q, %v", name, w[name], o.Data, o.Blobs)
		}
		if missing, err := store.Missing(ctx, o.Blobs); err != nil || len(missing) > 0 {
			tb.Fatalf("item %s lacks %v, %v", name, missing, err)
		}
	}
	return b, did
}

func sortedKeys(w world) []string {
	var names []string
	for name := range w {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func commit(tb testing.TB, b *Book) cas.Tree {
	tb.Helper()
	tree, err := b.Commit(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return tree
}

const all = 1 << 30

// change returns a world in which some items of w differ, are gone, or are new.
func change(random *rand.Rand, w world) world {
	next := world{}
	for name, key := range w {
		switch random.IntN(20) {
		case 0:
		case 1:
			next[name] = key + 1
		default:
			next[name] = key
		}
	}
	for range random.IntN(50) {
		next[fmt.Sprintf("%05x", random.IntN(1<<20))] = random.IntN(4)
	}
	return next
}

// TestOnlyWhatDiffers holds runs with the books of earlier ones against the naive thing,
// a map of what these knew; and that they write what a run without books would.
func TestOnlyWhatDiffers(t *testing.T) {
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 1))
		store := newStore()
		w := world{}
		for range random.IntN(3000) {
			w[fmt.Sprintf("%05x", random.IntN(1<<20))] = random.IntN(4)
		}
		type pair struct {
			name string
			key  int
		}
		var books []cas.Tree
		known := map[pair]bool{}
		for range 4 {
			book, did := run(t, store, w, all, books...)
			var want []string
			for _, name := range sortedKeys(w) {
				if !known[pair{name, w[name]}] {
					want = append(want, name)
				}
				known[pair{name, w[name]}] = true
			}
			if diff := cmp.Diff(want, did); diff != "" {
				t.Fatalf("seed %d: done (-want +got)\n%s", seed, diff)
			}
			warm := commit(t, book)
			cold, _ := run(t, store, w, all)
			if cold := commit(t, cold); warm.ID() != cold.ID() {
				t.Fatalf("seed %d: the book is %s, without earlier ones %s", seed, warm.ID(), cold.ID())
			}
			books = append(books, warm)
			w = change(random, w)
		}
	}
}

// TestInterruptedAgainAndAgain ends runs in their midst, also before they have reached
// what the run before had come to: what was done is never done again.
func TestInterruptedAgainAndAgain(t *testing.T) {
	store := newStore()
	w := world{}
	for i := range 5000 {
		w[fmt.Sprintf("%05d", i*7919%5000)] = i
	}
	var books []cas.Tree
	total, runs := 0, 0
	for limit := 900; ; runs++ {
		delete(w, fmt.Sprintf("%05d", runs)) // the world goes on, too
		w[fmt.Sprintf("%05d", runs+100)] += 3
		book, did := run(t, store, w, limit, books...)
		total += len(did)
		if len(did) < limit {
			commit(t, book)
			break
		}
		snapshot, err := book.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		books = []cas.Tree{snapshot}
	}
	if want := 5000 + runs + 1; runs < 4 || total > want {
		t.Errorf("%d items done in %d runs, want no more than %d", total, runs, want)
	}

	// A run that is ended early, by its first change, keeps what it did not reach.
	first, _ := run(t, store, w, all)
	books = []cas.Tree{commit(t, first)}
	w["00200"] += 3
	w["00300"] += 3
	book, _ := run(t, store, w, 1, books...)
	snapshot, err := book.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, did := run(t, store, w, all, snapshot); !slices.Equal(did, []string{"00300"}) {
		t.Errorf("did %q after an early end", did)
	}
}

// TestSnapshotOfNothing is about a run that has not done any item.
func TestSnapshotOfNothing(t *testing.T) {
	store := newStore()
	w := world{"a": 1}
	book, _ := run(t, store, w, all)
	again, _ := run(t, store, w, all, commit(t, book))
	for _, b := range []*Book{again, NewBook(store, scope, nil)} {
		if tree, err := b.Snapshot(t.Context()); err != nil || !tree.ID().IsZero() {
			t.Errorf("snapshot is %v, %v", tree.ID(), err)
		}
	}
	if tree := commit(t, NewBook(store, scope, nil)); !tree.ID().IsZero() {
		t.Errorf("a book without sets is %v", tree.ID())
	}
}

// TestLostBlobs loses each of the blobs that a book needs, one after the other.
func TestLostBlobs(t *testing.T) {
	store := newStore()
	w := world{}
	for i := range 3000 {
		w[fmt.Sprintf("%05d", i)] = i
	}
	book, _ := run(t, store, w, all)
	tree := commit(t, book)
	lose := func(d cas.Digest) []string {
		store.lost[d] = true
		again, did := run(t, store, w, all, tree)
		if got := commit(t, again); got.ID() != tree.ID() {
			t.Errorf("without %s the book is another one", d)
		}
		delete(store.lost, d)
		return did
	}
	blob := outcome(t, store, "00500", 500).Blobs[0]
	if did := lose(blob); !slices.Equal(did, []string{"00500"}) {
		t.Errorf("a lost outcome: did %q", did)
	}
	n := 0
	err := tree.Reach(t.Context(), func(d cas.Digest) bool {
		if n++; n%400 < 2 {
			lose(d)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if did := lose(tree.ID().Digest()); len(did) != len(w) {
		t.Errorf("a lost book: did %d", len(did))
	}
}

// TestWhatIsAKey changes each thing that decides an outcome.
func TestWhatIsAKey(t *testing.T) {
	store := newStore()
	begin := func(s Scope, set string, params, key any, earlier ...cas.Tree) (*Book, *Item) {
		b := NewBook(store, s, earlier)
		things, err := b.Set(t.Context(), set, params)
		if err != nil {
			t.Fatal(err)
		}
		item, err := things.Begin(t.Context(), "name", key)
		if err != nil {
			t.Fatal(err)
		}
		return b, item
	}
	b, item := begin(scope, "things", "p", "k")
	if err := item.Done(t.Context(), Outcome{Data: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	earlier := commit(t, b)
	if _, item := begin(scope, "things", "p", "k", earlier); !item.known {
		t.Error("the same item is not known")
	}
	for name, differs := range map[string]func() *Item{
		"kind":        func() *Item { _, i := begin(Scope{"other", 1, "env"}, "things", "p", "k", earlier); return i },
		"version":     func() *Item { _, i := begin(Scope{"kind", 2, "env"}, "things", "p", "k", earlier); return i },
		"environment": func() *Item { _, i := begin(Scope{"kind", 1, "other"}, "things", "p", "k", earlier); return i },
		"set":         func() *Item { _, i := begin(scope, "others", "p", "k", earlier); return i },
		"params":      func() *Item { _, i := begin(scope, "things", "q", "k", earlier); return i },
		"key":         func() *Item { _, i := begin(scope, "things", "p", "l", earlier); return i },
	} {
		if _, known := differs().Known(); known {
			t.Errorf("another %s is taken for the same", name)
		}
	}
}

// TestOneChangeWritesLittle counts what is stored for one change among many.
func TestOneChangeWritesLittle(t *testing.T) {
	store := newStore()
	w := world{}
	for i := range 20_000 {
		w[fmt.Sprintf("%05d", i)] = 3 // no blobs
	}
	book, _ := run(t, store, w, all)
	before := commit(t, book)
	store.puts = 0
	w["1"] = 3 // an item that is new moves all behind it
	book, _ = run(t, store, w, all, before)
	commit(t, book)
	if store.puts > 4 { // rows, chunk, table, root
		t.Errorf("%d blobs are stored for one new item, want 4", store.puts)
	}
}

// TestMistakes are those of a kind.
func TestMistakes(t *testing.T) {
	ctx := t.Context()
	b := NewBook(newStore(), scope, nil)
	set, err := b.Set(ctx, "things", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Set(ctx, "things", nil); err == nil {
		t.Error("a set is begun twice")
	}
	if _, err := b.Set(ctx, "a/b", nil); err == nil {
		t.Error("a set has a path for a name")
	}
	if _, err := b.Set(ctx, "bad", make(chan int)); err == nil {
		t.Error("parameters are no JSON")
	}
	item, err := set.Begin(ctx, "b", 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if _, err := set.Begin(ctx, name, 1); err == nil {
			t.Errorf("%s comes after b", name)
		}
	}
	if _, err := set.Begin(ctx, "c", make(chan int)); err == nil {
		t.Error("a key is no JSON")
	}
	if _, err := b.Commit(ctx); err == nil {
		t.Error("a book is committed with an item that is not done")
	}
	if err := item.Done(ctx, Outcome{}); err != nil {
		t.Error(err)
	}
	if err := item.Done(ctx, Outcome{}); err == nil {
		t.Error("an item is done twice")
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := set.Begin(ended, "c", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("an item begins after the end: %v", err)
	}
}

// TestBounded holds back the first item: Begin waits before memory fills up, and goes on
// when it is done.
func TestBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		set, err := NewBook(newStore(), scope, nil).Set(ctx, "things", nil)
		if err != nil {
			t.Fatal(err)
		}
		begin := func(ctx context.Context, i int) (*Item, error) { return set.Begin(ctx, fmt.Sprintf("%06d", i), i) }
		first, err := begin(ctx, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := 1; i < maxOpen; i++ {
			item, err := begin(ctx, i)
			if err == nil {
				err = item.Done(ctx, Outcome{})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		ended, cancel := context.WithCancel(ctx)
		began := make(chan error)
		go func() { _, err := begin(ended, maxOpen); began <- err }()
		synctest.Wait()
		select {
		case err := <-began:
			t.Fatalf("one too many began: %v", err)
		default:
		}
		cancel()
		if err := <-began; !errors.Is(err, context.Canceled) {
			t.Errorf("waiting ends with %v", err)
		}
		go func() { _, err := begin(ctx, maxOpen); began <- err }()
		synctest.Wait()
		if err := first.Done(ctx, Outcome{}); err != nil {
			t.Fatal(err)
		}
		if err := <-began; err != nil || len(set.open) != 1 {
			t.Errorf("%d items are open, %v", len(set.open), err)
		}
	})
}

// FuzzRows holds that rows are read back as they were written, and that nothing else
// makes a panic.
func FuzzRows(f *testing.F) {
	f.Add("name", []byte("data"), uint8(2), []byte{})
	f.Add("", []byte{}, uint8(0), []byte{1, 'a'})
	f.Fuzz(func(t *testing.T, name string, data []byte, blobs uint8, junk []byte) {
		store := cas.NewMemory()
		w := writer{store: store}
		want := row{name: name, key: sha256.Sum256(data), outcome: Outcome{Data: data}}
		for i := range blobs {
			want.outcome.Blobs = append(want.outcome.Blobs, cas.Sum([]byte{i}))
		}
		if len(data) > maxChunkData/2 {
			return
		}
		for range 2 {
			if err := w.add(t.Context(), want); err != nil {
				t.Fatal(err)
			}
		}
		chunks, err := w.chunksSoFar(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []row
		for _, id := range chunks {
			rows, err := readChunk(t.Context(), cas.NewTree(store, id))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, rows...)
		}
		for _, r := range got {
			if r.name != want.name || r.key != want.key || !bytes.Equal(r.outcome.Data, data) || !slices.Equal(r.outcome.Blobs, want.outcome.Blobs) {
				t.Errorf("got %v, want %v", r, want)
			}
		}
		if len(got) != 2 {
			t.Errorf("got %d rows", len(got))
		}
		_, _ = parseRows(junk, want.outcome.Blobs)
	})
}

// BenchmarkWarm goes through items that are all known, on a disk.
func BenchmarkWarm(b *testing.B) {
	store, err := disk.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	w := world{}
	for i := range 100_000 {
		w[fmt.Sprintf("%016x", i*2654435761)] = 1 // one blob each
	}
	names := sortedKeys(w)
	book, _ := run(b, store, w, all)
	tree := commit(b, book)
	for b.Loop() {
		book := NewBook(store, scope, []cas.Tree{tree})
		set, err := book.Set(b.Context(), "things", 1)
		if err != nil {
			b.Fatal(err)
		}
		for _, name := range names {
			item, err := set.Begin(b.Context(), name, w[name])
			if err != nil {
				b.Fatal(err)
			}
			if _, known := item.Known(); !known {
				b.Fatalf("%s is not known", name)
			}
		}
		commit(b, book)
	}
	b.ReportMetric(float64(len(names)*b.N)/b.Elapsed().Seconds(), "items/s")
}
