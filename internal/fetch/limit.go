package fetch

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/sandwich-build/sandwich/registry/transfer"
)

// limiter bounds the requests that are open at the same time, in all and for each host. How
// many a host gets adapts: more as long as that raises its throughput, half as many when it
// says that it is too much (429, 503) or does not answer in time.
type limiter struct {
	first, most int // for each host
	total       *semaphore.Weighted
	mu          sync.Mutex // guards hosts
	hosts       map[string]*host
}

// host is forgotten when there are too many and nobody holds or waits for one of its turns,
// so that a list of a million hosts does not stay in memory.
type host struct {
	pace  *transfer.Pace
	users int
}

// maxHosts is how many hosts are remembered that nobody uses at present.
const maxHosts = 1024

// newLimiter returns a limiter that begins with some requests for each host and tries up
// to most.
func newLimiter(first, most, total int) *limiter {
	return &limiter{
		first: first, most: most,
		total: semaphore.NewWeighted(int64(total)),
		hosts: make(map[string]*host),
	}
}

// turn is a request that may be open.
type turn struct {
	l    *limiter
	host *host
}

// acquire waits for a turn of the host and then for one of all; in this order, so that
// those who wait for a busy host keep no other host's requests back.
func (l *limiter) acquire(ctx context.Context, name string) (turn, error) {
	h := l.enter(name)
	if err := h.pace.Acquire(ctx); err != nil {
		l.leave(h)
		return turn{}, err
	}
	if err := l.total.Acquire(ctx, 1); err != nil {
		h.pace.Release(0)
		l.leave(h)
		return turn{}, context.Cause(ctx)
	}
	return turn{l, h}, nil
}

// slow says that the host asks for less.
func (t turn) slow() { t.host.pace.Slow() }

// end gives the turn back, after so many bytes. It must be called once.
func (t turn) end(bytes int64) {
	t.l.total.Release(1)
	t.host.pace.Release(bytes)
	t.l.leave(t.host)
}

func (l *limiter) enter(name string) *host {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, ok := l.hosts[name]
	if !ok {
		l.forget()
		h = &host{pace: transfer.NewPace(l.first, l.most, nil)}
		l.hosts[name] = h
	}
	h.users++
	return h
}

// forget makes room for a host; the caller holds mu.
func (l *limiter) forget() {
	if len(l.hosts) < maxHosts {
		return
	}
	for name, h := range l.hosts {
		if h.users == 0 {
			delete(l.hosts, name)
		}
	}
}

func (l *limiter) leave(h *host) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.users--
}
