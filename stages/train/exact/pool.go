package exact

import (
	"sync"
	"sync/atomic"
)

// scratch is memory of one worker that outlives a step but means nothing after it.
type scratch struct{ chunk *chunk }

// at returns size bytes, of any content.
func (s *scratch) at(size int) *chunk {
	if s.chunk == nil || s.chunk.size < size {
		s.chunk = newChunk(lines(size))
	}
	return s.chunk
}

// pool is a fixed number of goroutines that help whoever runs a job. The one who runs
// it always works too and never waits for a helper to begin, so a job ends even when
// all helpers are busy elsewhere: no number of callers can block each other.
type pool struct {
	size    int // helpers and the caller
	offers  chan *job
	helpers sync.WaitGroup
}

func newPool(size int) *pool {
	p := &pool{size: size, offers: make(chan *job, size)}
	for range size - 1 {
		p.helpers.Go(func() {
			var s scratch
			for j := range p.offers {
				j.help(&s)
			}
		})
	}
	return p
}

func (p *pool) close() {
	close(p.offers)
	p.helpers.Wait()
}

// job is a step's work on 0 … units-1, cut into parts of grain units. It belongs to one
// step of one run and is used again by the next run of that step. A helper that comes
// late, even one run late, finds either nothing to do or a job it may just as well help
// with: what the work is never changes.
type job struct {
	work         func(s *scratch, lo, hi int)
	units, grain int
	parts        int64
	next, done   atomic.Int64
	finished     chan struct{}
}

func newJob(units, grain int, work func(s *scratch, lo, hi int)) *job {
	parts := (units + grain - 1) / grain
	j := &job{work: work, units: units, grain: grain, parts: int64(parts), finished: make(chan struct{}, 1)}
	j.next.Store(int64(parts)) // nothing to do until run
	return j
}

// run does the job, with help if there is any, and returns when it is all done.
func (p *pool) run(j *job, s *scratch) {
	if j.parts <= 1 || p.size == 1 {
		j.work(s, 0, j.units)
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
	<-j.finished
}

// help does parts until there are none left. Whoever does the last one says so.
func (j *job) help(s *scratch) {
	for {
		part := j.next.Add(1) - 1
		if part >= j.parts {
			return
		}
		lo := int(part) * j.grain
		j.work(s, lo, min(lo+j.grain, j.units))
		if j.done.Add(1) == j.parts {
			j.finished <- struct{}{}
		}
	}
}
