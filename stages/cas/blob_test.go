package cas_test

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// TestReadBlobMemory holds that a blob is read into as much memory as it needs.
func TestReadBlobMemory(t *testing.T) {
	const size = 8 << 20
	store := cas.NewMemory()
	d, err := store.Put(t.Context(), bytes.NewReader(make([]byte, size)))
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if data, err := cas.ReadBlob(t.Context(), store, d); err != nil || len(data) != size {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > size+size/8 {
		t.Errorf("%d bytes for %d", took, size)
	}
}
