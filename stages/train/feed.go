package train

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/internal/neural"
	"github.com/sandwich-build/sandwich/internal/random"
	"github.com/sandwich-build/sandwich/manifest"
)

// ahead is how many batches are ready before the step that needs them: while one is
// computed, the next is decoded and augmented.
const ahead = 2

// feeder prepares batches. Its draws are keyed by the seed, the epoch and the picture, so
// that neither order nor parallelism can change one.
type feeder struct {
	network *model.Network
	album   *album
	augment augmenter
	seed    uint64
	batch   int
	workers int
	free    chan *neural.Batch // batches that nobody reads
}

func newFeeder(n *model.Network, a *album, m manifest.Model, seed uint64, workers int) *feeder {
	return &feeder{
		network: n, album: a, augment: augmenter{Augment: m.Augment, side: n.Side()},
		seed: seed, batch: m.Batch, workers: workers, free: make(chan *neural.Batch, ahead+1),
	}
}

// steps is the number of batches of an epoch. The last one may be smaller.
func (f *feeder) steps() int { return (len(f.album.rows) + f.batch - 1) / f.batch }

// epoch calls use with each batch of an epoch from step first on, in order. The batch
// must not be used after that. It returns when no goroutine of it is left.
func (f *feeder) epoch(ctx context.Context, number, first int, use func(step int, b *neural.Batch) error) error {
	order := random.New(random.Key{Seed: f.seed, Stage: "shuffle", Epoch: number}).Permutation(len(f.album.rows))
	group, running := errgroup.WithContext(ctx)
	ready := make(chan *neural.Batch, ahead-1)
	group.Go(func() error {
		defer close(ready)
		for step := first; step < f.steps(); step++ {
			rows := order[step*f.batch : min((step+1)*f.batch, len(order))]
			b, err := f.prepare(running, number, rows)
			if err != nil {
				return err
			}
			select {
			case ready <- b:
			case <-running.Done():
				return context.Cause(running)
			}
		}
		return nil
	})
	group.Go(func() error {
		step := first
		for b := range ready {
			if err := context.Cause(running); err != nil {
				return err
			}
			if err := use(step, b); err != nil {
				return err
			}
			f.giveBack(b)
			step++
		}
		return nil
	})
	return group.Wait()
}

// take returns memory for a batch. There is more than one size of it only where an epoch
// ends.
func (f *feeder) take(rows int) *neural.Batch {
	select {
	case b := <-f.free:
		if b.Rows == rows {
			return b
		}
	default:
	}
	return neural.NewBatch(f.network, rows)
}

func (f *feeder) giveBack(b *neural.Batch) {
	select {
	case f.free <- b:
	default:
	}
}

// prepare fills a batch with pictures of an epoch.
func (f *feeder) prepare(ctx context.Context, number int, rows []int) (*neural.Batch, error) {
	b := f.take(len(rows))
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(f.workers)
	for row, picture := range rows {
		if running.Err() != nil {
			break // the rest is not wanted any more
		}
		group.Go(func() error {
			pixels, err := f.album.pixels(running, picture)
			if err != nil {
				return err
			}
			key := random.Key{Seed: f.seed, Stage: "augment", Item: f.album.rows[picture].Path, Epoch: number}
			f.augment.apply(b.Picture(row), pixels, random.New(key))
			b.DrawMasks(f.network, row, key)
			clear(b.Target(row))
			b.Target(row)[f.album.labels[picture]] = 1
			b.Shares[row] = 1 / float32(len(rows))
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return b, context.Cause(ctx)
}
