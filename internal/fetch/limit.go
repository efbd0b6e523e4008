package fetch

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// limiter bounds the requests that are open at the same time, in all and for each host.
type limiter struct {
	perHost int64
	total   *semaphore.Weighted
	mu      sync.Mutex // guards hosts
	hosts   map[string]*host
}

// host lives as long as somebody holds or waits for one of its slots, so that a list
// of a million hosts does not stay in memory.
type host struct {
	slots *semaphore.Weighted
	users int
}

func newLimiter(perHost, total int) *limiter {
	return &limiter{
		perHost: int64(perHost),
		total:   semaphore.NewWeighted(int64(total)),
		hosts:   make(map[string]*host),
	}
}

// acquire waits for a slot of the host and then for one of all; in this order, so that
// those who wait for a busy host keep no other host's requests back. The returned
// function gives both back and must be called once.
func (l *limiter) acquire(ctx context.Context, name string) (release func(), err error) {
	h := l.enter(name)
	if err := h.slots.Acquire(ctx, 1); err != nil {
		l.leave(name, h)
		return nil, context.Cause(ctx)
	}
	if err := l.total.Acquire(ctx, 1); err != nil {
		h.slots.Release(1)
		l.leave(name, h)
		return nil, context.Cause(ctx)
	}
	return func() {
		l.total.Release(1)
		h.slots.Release(1)
		l.leave(name, h)
	}, nil
}

func (l *limiter) enter(name string) *host {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, ok := l.hosts[name]
	if !ok {
		h = &host{slots: semaphore.NewWeighted(l.perHost)}
		l.hosts[name] = h
	}
	h.users++
	return h
}

func (l *limiter) leave(name string, h *host) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h.users--; h.users == 0 {
		delete(l.hosts, name)
	}
}
