package photo

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"

	"golang.org/x/sync/semaphore"
)

// Budget bounds the memory of all pictures that are decoded at the same time. Whoever
// decodes reserves Header.Memory before the goroutine that decodes is started: a
// goroutine that waits for memory holds some already.
//
// Reserve may be called while another reservation is held (a file's bytes before its
// pixels) by one goroutine only; two that do so could wait for each other for ever.
type Budget struct {
	capacity int64
	memory   *semaphore.Weighted

	mu      sync.Mutex
	used    int64 // guarded by mu: reserved now
	garbage int64 // guarded by mu: given back since the last collection, perhaps not freed yet
}

// NewBudget returns a budget of that many bytes.
func NewBudget(capacity int64) *Budget {
	return &Budget{capacity: capacity, memory: semaphore.NewWeighted(capacity)}
}

// Reserve waits until n bytes are free and returns the function that gives them back,
// which must be called once. The error says that n exceeds the whole budget or is the
// cause of ctx's end.
//
// Pixels that nobody uses any more still occupy memory until the collector runs, and
// left alone it lets a heap grow to twice what is in use. So Reserve collects before
// reservations and garbage together exceed the budget: often for huge photos, where a
// collection is nothing beside the decoding, and once in dozens for usual ones. For the
// huge it also returns free memory to the system: what is free in pieces does not hold
// them.
func (b *Budget) Reserve(ctx context.Context, n int64) (release func(), err error) {
	if n > b.capacity {
		return nil, fmt.Errorf("reserve %d bytes: the budget is %d", n, b.capacity)
	}
	if err := b.memory.Acquire(ctx, n); err != nil {
		return nil, context.Cause(ctx)
	}
	switch full := b.take(n); {
	case full && n > b.capacity/4:
		debug.FreeOSMemory()
	case full:
		runtime.GC()
	}
	return func() { b.giveBack(n) }, nil
}

// take books a reservation and says whether the budget, garbage included, is full.
func (b *Budget) take(n int64) (full bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used += n
	if b.used+b.garbage <= b.capacity {
		return false
	}
	b.garbage = 0
	return true
}

func (b *Budget) giveBack(n int64) {
	b.mu.Lock()
	b.used -= n
	b.garbage += n
	b.mu.Unlock()
	b.memory.Release(n)
}
