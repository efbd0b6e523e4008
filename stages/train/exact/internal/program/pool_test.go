package program

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// stepsOf returns a run of a program of one step.
func stepsOf(t testing.TB, p *Pool, units, grain int, work Work) (*Program, *Run) {
	t.Helper()
	b := &Builder{}
	b.Do(units, grain, work)
	program := b.Build(&Memory{}, p)
	t.Cleanup(program.Close)
	return program, program.Start()
}

// Every unit is done once, by whoever finds it, also when the helpers sleep by then.
func TestPool(t *testing.T) {
	for _, size := range []int{1, 2, 3, 8} {
		pool := NewPool(size)
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() {
				var done [1000]atomic.Int64
				program, run := stepsOf(t, pool, len(done), 7, func(_ *Run, _ *Scratch, lo, hi int) {
					for i := lo; i < hi; i++ {
						done[i].Add(1)
					}
				})
				const times = 50
				for i := range times {
					if i%10 == 0 {
						time.Sleep(2 * patience)
					}
					program.Do(run)
				}
				for i := range done {
					if n := done[i].Load(); n != times {
						t.Errorf("%d workers: unit %d was done %d times, want %d", size, i, n, times)
						return
					}
				}
			})
		}
		callers.Wait()
		pool.Close()
	}
}

// BenchmarkPool is a step of 2 × 20 µs of work, after 30 µs in which there is none.
func BenchmarkPool(b *testing.B) {
	pool := NewPool(2)
	defer pool.Close()
	program, run := stepsOf(b, pool, 2, 1, func(*Run, *Scratch, int, int) { busy(20 * time.Microsecond) })
	for b.Loop() {
		busy(30 * time.Microsecond)
		program.Do(run)
	}
}

func busy(d time.Duration) {
	start := time.Now()
	for time.Since(start) < d {
		continue
	}
}
