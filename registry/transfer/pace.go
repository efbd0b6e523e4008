// Package transfer is how files move to and from a registry: how many at once, and how
// far they are.
package transfer

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// round is how long a limit is tried before its throughput is compared. Less is
	// noise: a file can take a tenth of a second.
	round = 250 * time.Millisecond
	// step is by how much a limit grows.
	step = 2
	// gain is what a larger limit must bring to stay: as much again as it is larger by
	// would be perfect, and a fiftieth is not worth the memory.
	gain = 1.02
	// patience is how many rounds a limit that did not gain by growing is kept.
	patience = 12
	// rest is the least time between two halvings: what was asked for together is refused
	// together, and that is one sign.
	rest = time.Second
	// perTransfer is what a transfer counts besides its bytes: small ones cost time that
	// does not depend on their size.
	perTransfer = 32 << 10
)

// Pace decides how many transfers are on their way at once, as TCP does for packets: two
// more while that raises the throughput, an eighth less when it does not, and half as
// many when the other side says that it is too much. Nobody has to know how fast disk,
// network and server are, and what else they do. Its methods may be called at the same
// time.
type Pace struct {
	now      func() time.Time
	min, max int

	mu     sync.Mutex // guards what follows
	limit  int
	busy   int
	queue  []chan struct{} // who waits, in order; closed when a turn comes
	began  time.Time       // of the present round
	work   int64           // done in it
	full   bool            // all turns were taken at some time in it
	before float64         // work per second, before the limit grew
	grown  bool            // the limit grew at the end of the last round
	hold   int             // rounds without growth that are left
	slowed time.Time       // when it was last halved
}

// NewPace returns a pace that starts with some transfers at once and tries up to most. now
// is the clock; time.Now when nil.
func NewPace(start, most int, now func() time.Time) *Pace {
	if now == nil {
		now = time.Now
	}
	return &Pace{now: now, min: 1, max: most, limit: start, began: now()}
}

// Fixed returns a pace of always n at once.
func Fixed(n int) *Pace {
	p := NewPace(n, n, nil)
	p.min = n
	return p
}

// Limit returns how many transfers may be on their way at present.
func (p *Pace) Limit() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limit
}

// Acquire waits for a turn, which the caller gives back with Release.
func (p *Pace) Acquire(ctx context.Context) error {
	p.mu.Lock()
	if len(p.queue) == 0 && p.busy < p.limit {
		p.take()
		p.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	p.queue = append(p.queue, turn)
	p.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		p.leave(turn)
		return context.Cause(ctx)
	}
}

// leave takes somebody out of the queue, or gives the turn on that came meanwhile.
func (p *Pace) leave(turn chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, c := range p.queue {
		if c == turn {
			p.queue = append(p.queue[:i], p.queue[i+1:]...)
			return
		}
	}
	p.busy--
	p.admit()
}

// TryAcquire takes a turn if there is one at once. Who has a turn already and could use
// more asks so: waiting for a second turn while holding one could wait forever.
func (p *Pace) TryAcquire() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy >= p.limit {
		return false
	}
	p.take()
	return true
}

// take begins a transfer; the caller holds mu.
func (p *Pace) take() {
	p.busy++
	p.full = p.full || p.busy >= p.limit
}

// Release gives a turn back, after a transfer of so many bytes.
func (p *Pace) Release(bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy--
	p.work += bytes + perTransfer
	if now := p.now(); now.Sub(p.began) >= round {
		p.judge(float64(p.work) / now.Sub(p.began).Seconds())
		p.restart(now)
	}
	p.admit()
}

// judge sets the limit after a round with a throughput; the caller holds mu.
func (p *Pace) judge(throughput float64) {
	switch {
	case !p.full:
		p.grown = false // nobody wanted more, so nothing was learnt
	case p.grown && throughput < p.before*gain:
		p.limit = max(p.limit-max(step, p.limit/8), p.min)
		p.grown, p.hold = false, patience
	case p.hold > 0:
		p.hold--
		p.before = throughput
	case p.limit < p.max:
		p.limit = min(p.limit+step, p.max)
		p.before, p.grown = throughput, true
	}
}

func (p *Pace) restart(now time.Time) {
	p.began, p.work, p.full = now, 0, p.busy >= p.limit
}

// Slow says that the other side asked for less, or did not answer in time.
func (p *Pace) Slow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if !p.slowed.IsZero() && now.Sub(p.slowed) < rest {
		return
	}
	p.slowed = now
	p.limit = max(p.limit/2, p.min)
	p.grown, p.hold = false, patience
	p.restart(now)
}

// admit gives turns to those who wait; the caller holds mu.
func (p *Pace) admit() {
	for len(p.queue) > 0 && p.busy < p.limit {
		p.take()
		close(p.queue[0])
		p.queue = p.queue[1:]
	}
}

// Each calls do with the numbers below n, as many at once as there are turns, until one
// fails, and returns the first error. do returns the bytes that it moved.
//
// Goroutines go on with the next number: in a new one for each, a fifth of the time of a
// small transfer went into growing its stack.
func (p *Pace) Each(ctx context.Context, n int, do func(ctx context.Context, i int) (int64, error)) error {
	group, groupCtx := errgroup.WithContext(ctx)
	next := make(chan int)
	work := func(i int) error {
		for more := true; more; i, more = <-next {
			moved, err := do(groupCtx, i)
			p.Release(moved)
			if err != nil {
				return err
			}
		}
		return nil
	}
	for i := range n {
		if err := p.Acquire(groupCtx); err != nil {
			break // the group says why, or ctx
		}
		select {
		case next <- i:
		default: // nobody is idle
			group.Go(func() error { return work(i) })
		}
	}
	close(next)
	if err := group.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}
