package transfer_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/registry/transfer"
)

// world is a network on a fake clock: with n transfers at once it moves rate(n) of them in
// a second.
type world struct {
	at   time.Time
	rate func(n int) float64
}

func (w *world) now() time.Time { return w.at }

// run moves files for some seconds, as many at once as the pace allows, and returns the
// limits that it went through.
func (w *world) run(t *testing.T, p *transfer.Pace, seconds int) (limits []int) {
	t.Helper()
	busy := 0
	for end := w.at.Add(time.Duration(seconds) * time.Second); w.at.Before(end); {
		for p.TryAcquire() {
			busy++
		}
		w.at = w.at.Add(time.Duration(float64(time.Second) / w.rate(busy)))
		p.Release(1 << 20)
		busy--
		limits = append(limits, p.Limit())
	}
	for ; busy > 0; busy-- {
		p.Release(0)
	}
	return limits
}

func most(limits []int) int {
	n := 0
	for _, l := range limits {
		n = max(n, l)
	}
	return n
}

// Where more at once is faster the limit grows to the most; where a server has enough to
// do with twelve, it stays about there.
func TestPaceFindsTheLimit(t *testing.T) {
	far := &world{at: time.Unix(0, 0), rate: func(n int) float64 { return 10 * float64(n) }}
	p := transfer.NewPace(4, 64, far.now)
	far.run(t, p, 30)
	if got := p.Limit(); got < 56 {
		t.Errorf("on a far server the limit is %d after 30 s, want about 64", got)
	}
	near := &world{at: time.Unix(0, 0), rate: func(n int) float64 { return 100 * float64(min(n, 12)) }}
	p = transfer.NewPace(4, 64, near.now)
	if got := most(near.run(t, p, 60)); got < 12 || got > 16 {
		t.Errorf("on a server for twelve the limit went up to %d", got)
	}
}

// A server that gets slower the more is asked of it is asked for less.
func TestPaceLeavesAnOverloadedServer(t *testing.T) {
	w := &world{at: time.Unix(0, 0), rate: func(n int) float64 { return 400 / (1 + float64(max(n-8, 0))) }}
	p := transfer.NewPace(8, 64, w.now)
	if got := most(w.run(t, p, 60)); got > 12 {
		t.Errorf("the limit went up to %d where all above 8 are slower", got)
	}
}

// The limit halves when the server asks for less, once for all that was on its way, and
// grows again one step after the other.
func TestPaceSlows(t *testing.T) {
	w := &world{at: time.Unix(1000, 0), rate: func(n int) float64 { return 20 * float64(n) }}
	p := transfer.NewPace(32, 64, w.now)
	for range 5 {
		p.Slow()
	}
	if got := p.Limit(); got != 16 {
		t.Errorf("after five refusals at once the limit is %d, want 16", got)
	}
	w.at = w.at.Add(2 * time.Second)
	p.Slow()
	if got := p.Limit(); got != 8 {
		t.Errorf("after another one the limit is %d, want 8", got)
	}
	for range 10 {
		w.at = w.at.Add(2 * time.Second)
		p.Slow()
	}
	if got := p.Limit(); got != 1 {
		t.Errorf("the limit is %d, want 1 at the least", got)
	}
	w.run(t, p, 60)
	if got := p.Limit(); got < 32 {
		t.Errorf("a minute later the limit is %d, want it back", got)
	}
}

func TestFixedPaceStays(t *testing.T) {
	p := transfer.Fixed(3)
	p.Slow()
	if got := p.Limit(); got != 3 {
		t.Errorf("limit = %d", got)
	}
}

// Never are more at work than there are turns, and all are done.
func TestEach(t *testing.T) {
	p := transfer.Fixed(5)
	var busy, done, excess atomic.Int64
	err := p.Each(t.Context(), 500, func(context.Context, int) (int64, error) {
		if busy.Add(1) > 5 {
			excess.Add(1)
		}
		done.Add(1)
		busy.Add(-1)
		return 1, nil
	})
	if err != nil || done.Load() != 500 || excess.Load() > 0 {
		t.Errorf("Each = %v; %d done, %d times too many at once", err, done.Load(), excess.Load())
	}
}

func TestEachStopsAtTheFirstError(t *testing.T) {
	p := transfer.Fixed(2)
	broken := errors.New("broken")
	var done atomic.Int64
	err := p.Each(t.Context(), 1000, func(ctx context.Context, i int) (int64, error) {
		if i == 3 {
			return 0, broken
		}
		done.Add(1)
		if i > 3 {
			<-ctx.Done()
		}
		return 0, nil
	})
	if !errors.Is(err, broken) || done.Load() > 10 {
		t.Errorf("Each = %v after %d", err, done.Load())
	}
	if err := p.Each(t.Context(), 10, func(context.Context, int) (int64, error) { return 0, nil }); err != nil {
		t.Errorf("all turns came back, but Each = %v", err)
	}
}

// Who gives up waiting leaves the turn to the next.
func TestAcquireGivesUp(t *testing.T) {
	p := transfer.Fixed(1)
	if err := p.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			if p.Acquire(ctx) == nil {
				p.Release(0)
			}
		})
	}
	cancel()
	p.Release(0)
	wait.Wait()
	if err := p.Acquire(t.Context()); err != nil || p.TryAcquire() {
		t.Errorf("Acquire = %v; a turn was lost or made up", err)
	}
}

// However a file is read, in ranges, again after a fault, or not at all, it counts once,
// and never is more done than there is.
func TestMeter(t *testing.T) {
	var last transfer.State
	m := transfer.NewMeter(func(s transfer.State) {
		if s.Bytes < last.Bytes || s.Files < last.Files || s.Bytes > s.AllBytes || s.Files > s.AllFiles {
			t.Errorf("%+v follows %+v", s, last)
		}
		last = s
	}, 4, 35)
	m.Have(5)
	again := m.File(10)
	for range 2 { // a body that is sent twice
		if _, err := io.Copy(io.Discard, again.Reader(io.NopCloser(strings.NewReader("0123456789")))); err != nil {
			t.Fatal(err)
		}
	}
	again.Done()
	ranges := m.File(10)
	ranges.Have(4)
	ranges.Add(6)
	ranges.Add(6) // a range that was read again
	ranges.Done()
	m.File(10).Done()
	if want := (transfer.State{Files: 4, AllFiles: 4, Bytes: 35, AllBytes: 35, There: 9}); last != want {
		t.Errorf("in the end %+v, want %+v", last, want)
	}
}

func TestMeterWithoutReport(t *testing.T) {
	f := transfer.NewMeter(nil, 1, 1).File(1)
	r := io.NopCloser(strings.NewReader("x"))
	if f.Reader(r) != r {
		t.Error("nobody is told, and still it is counted")
	}
	f.Done()
}
