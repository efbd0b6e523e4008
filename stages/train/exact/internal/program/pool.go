package program

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Pool is a fixed number of goroutines that help whoever runs a job. The one who runs
// it always works too and never waits for a helper to begin, so a job ends even when
// all helpers are busy elsewhere: no number of callers can block each other.
type Pool struct {
	size    int // helpers and the caller
	offers  chan *job
	helpers sync.WaitGroup
}

// NewPool returns a pool of size goroutines, the caller's included. Close it.
func NewPool(size int) *Pool {
	p := &Pool{size: size, offers: make(chan *job, size)}
	for range size - 1 {
		p.helpers.Go(func() {
			var s Scratch
			for {
				j, ok := receive(p.offers)
				if !ok {
					return
				}
				j.help(&s)
			}
		})
	}
	return p
}

// Size returns the number of goroutines, the caller's included.
func (p *Pool) Size() int { return p.size }

// Close ends the helpers. Nothing may run any more.
func (p *Pool) Close() {
	close(p.offers)
	p.helpers.Wait()
}

// job is a step's work on 0 … units-1, cut into parts of grain units. It belongs to one
// step of one run and is used again by the next run of that step. A helper that comes
// late, even one run late, finds either nothing to do or a job it may just as well help
// with: what the work is never changes.
type job struct {
	work         Work
	run          *Run
	units, grain int
	parts        int64
	next, done   atomic.Int64
	finished     chan struct{}
}

func newJob(r *Run, s step) *job {
	parts := (s.units + s.grain - 1) / s.grain
	j := &job{work: s.work, run: r, units: s.units, grain: s.grain, parts: int64(parts), finished: make(chan struct{}, 1)}
	j.next.Store(int64(parts)) // nothing to do until run
	return j
}

// do runs a job, with help if there is any, and returns when it is all done.
func (p *Pool) do(j *job, s *Scratch) {
	if j.parts <= 1 || p.size == 1 {
		j.work(j.run, s, 0, j.units)
		return
	}
	j.done.Store(0)
	j.next.Store(0)
	for range min(int64(p.size), j.parts) - 1 {
		select {
		case p.offers <- j:
		default: // every helper has something to do already
		}
	}
	j.help(s)
	receive(j.finished)
}

// patience is how long someone without work looks for some before he sleeps. To wake a
// goroutine takes tens of microseconds, which is as long as a small step takes, and the
// next step mostly begins sooner.
const patience = 100 * time.Microsecond

// receive receives from c, and gives way to other goroutines while it looks.
func receive[T any](c <-chan T) (T, bool) {
	for start := time.Now(); time.Since(start) < patience; runtime.Gosched() {
		for range 100 {
			select {
			case v, ok := <-c:
				return v, ok
			default:
			}
		}
	}
	v, ok := <-c
	return v, ok
}

// help does parts until there are none left. Whoever does the last one says so.
func (j *job) help(s *Scratch) {
	for {
		part := j.next.Add(1) - 1
		if part >= j.parts {
			return
		}
		lo := int(part) * j.grain
		j.work(j.run, s, lo, min(lo+j.grain, j.units))
		if j.done.Add(1) == j.parts {
			j.finished <- struct{}{}
		}
	}
}
