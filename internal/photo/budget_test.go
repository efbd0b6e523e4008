package photo_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sandwich-build/sandwich/internal/photo"
)

func TestBudget(t *testing.T) {
	const capacity = 100
	budget := photo.NewBudget(capacity)
	var used, most atomic.Int64
	var wg sync.WaitGroup
	for i := range int64(200) {
		n := 1 + i*7%60
		release, err := budget.Reserve(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		most.Store(max(most.Load(), used.Add(n)))
		wg.Go(func() {
			used.Add(-n)
			release()
		})
	}
	wg.Wait()
	if most.Load() > capacity {
		t.Errorf("%d reserved at a time, want at most %d", most.Load(), capacity)
	}
	if release, err := budget.Reserve(t.Context(), capacity); err != nil {
		t.Errorf("the whole budget, after all was given back: %v", err)
	} else {
		release()
	}
}

func TestBudgetErrors(t *testing.T) {
	budget := photo.NewBudget(10)
	if _, err := budget.Reserve(t.Context(), 11); err == nil {
		t.Error("more than the budget is reserved")
	}
	release, err := budget.Reserve(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	if _, err := budget.Reserve(ctx, 1); !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
}
