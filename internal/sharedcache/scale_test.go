package sharedcache_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/registry/blob/dir"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// A result of many small blobs goes up and comes down in few requests and in bounded memory.
// SANDWICH_BLOBS=100000 go test ./internal/sharedcache -run Scale -v measures a large one.
func TestScale(t *testing.T) {
	blobs := 1000
	if n, err := strconv.Atoi(os.Getenv("SANDWICH_BLOBS")); err == nil {
		blobs = n
	}
	store := counting(dir.New(t.TempDir()))
	first := onDisk(t, t.TempDir(), store)
	b := cas.NewBuilder(first.cache)
	for i := range blobs {
		if err := b.PutBytes(t.Context(), fmt.Sprintf("crops/%d/%06d.jpg", i%7, i), noise(uint64(i), 4096)); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := b.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	action := cas.Sum([]byte("an action"))
	requests := func(do func()) (n int, peak uint64, took time.Duration) {
		before, start := len(store.Calls()), time.Now()
		peak = peakOf(t.Context(), do)
		return len(store.Calls()) - before, peak, time.Since(start)
	}
	up, upPeak, upTook := requests(func() {
		if err := first.cache.Record(t.Context(), action, cas.Result{Tree: tree.ID()}); err != nil {
			t.Fatal(err)
		}
		if err := first.cache.Note(t.Context(), "crops", action); err != nil {
			t.Fatal(err)
		}
		first.finish()
	})
	other := onDisk(t, t.TempDir(), store)
	down, downPeak, downTook := requests(func() {
		r, err := other.cache.Result(t.Context(), action)
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := other.read(r.Tree); n != blobs {
			t.Errorf("%d of %d blobs came", n, blobs)
		}
	})
	t.Logf("%d blobs: up %d requests, %d MiB, %v; down %d requests, %d MiB, %v",
		blobs, up, upPeak>>20, upTook.Round(time.Millisecond), down, downPeak>>20, downTook.Round(time.Millisecond))
	packs := blobs*4096>>25 + 1
	if most := 12*packs + 10; up > most || down > most {
		t.Errorf("%d requests up and %d down for %d packs", up, down, packs)
	}
	if most := uint64(64<<20 + 1000*blobs); upPeak > most || downPeak > most {
		t.Errorf("%d MiB up and %d MiB down", upPeak>>20, downPeak>>20)
	}
	wantSilence(t, first, other)
}

// peakOf returns how far the heap grew while do ran, in bytes.
func peakOf(ctx context.Context, do func()) (peak uint64) {
	runtime.GC()
	var base runtime.MemStats
	runtime.ReadMemStats(&base)
	ctx, cancel := context.WithCancel(ctx)
	watched := make(chan uint64)
	go func() {
		var most uint64
		for ctx.Err() == nil {
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
			time.Sleep(10 * time.Millisecond)
		}
		watched <- most
	}()
	do()
	cancel()
	return max(<-watched, base.HeapAlloc) - base.HeapAlloc
}
