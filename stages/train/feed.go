package train

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/internal/neural"
	"github.com/sandwich-build/sandwich/internal/random"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages/train/exact/portable"
)

// ahead is how many batches are ready before the step that needs them: while one is
// computed, the next is decoded and augmented.
const ahead = 2

// feeder prepares batches. Its draws are keyed by the seed, the pass and the picture, so
// that neither order nor parallelism can change one.
type feeder struct {
	network *model.Network
	album   *album
	augment augmenter
	course  *course
	seed    uint64
	weights []float32 // of each label in the loss
	spread  float64   // how much of a label is spread over all
	workers int
	free    chan *neural.Batch // batches that nobody reads
}

func newFeeder(n *model.Network, a *album, c *course, p Params, workers int) *feeder {
	m := p.Model
	return &feeder{
		network: n, album: a, augment: augmenter{Augment: m.Augment, side: n.Side()}, course: c, seed: p.Seed,
		weights: classWeights(m.ClassWeights, p.Labels, a.labels), spread: m.Smoothing, workers: workers, free: make(chan *neural.Batch, ahead+1),
	}
}

// epoch calls use with each batch of an epoch from step first on, in order. The batch
// must not be used after that. It returns when no goroutine of it is left.
func (f *feeder) epoch(ctx context.Context, number, first int, use func(step int, b *neural.Batch) error) error {
	group, running := errgroup.WithContext(ctx)
	ready := make(chan *neural.Batch, ahead-1)
	group.Go(func() error {
		defer close(ready)
		for step := first; step < f.course.steps; step++ {
			pass, rows := f.course.at(number, step)
			b, err := f.prepare(running, pass, rows)
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

// prepare fills a batch with pictures of a pass.
func (f *feeder) prepare(ctx context.Context, pass int, rows []int) (*neural.Batch, error) {
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
			key := random.Key{Seed: f.seed, Stage: "augment", Item: f.album.rows[picture].Path, Epoch: pass}
			f.augment.apply(b.Picture(row), pixels, random.New(key))
			b.DrawMasks(f.network, row, key)
			f.label(b, row, f.album.labels[picture])
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	f.mix(b, pass, rows)
	return b, nil
}

// label sets what a picture should be, and how much of the loss it is. Weighted, the loss is
// the sum of weight · loss over the batch by its pictures, as in Keras.
func (f *feeder) label(b *neural.Batch, row, label int) {
	target := b.Target(row)
	rest := float32(f.spread / float64(len(target)))
	for i := range target {
		target[i] = rest
	}
	target[label] += float32(1 - f.spread)
	b.Shares[row] = f.weights[label] / float32(b.Rows)
}

// classWeights are the weights of labels. Balanced, they are pictures / (labels · pictures of
// the label), as scikit-learn has it: each label is the same part of the loss.
func classWeights(rule manifest.ClassWeights, labels []string, pictures []int) []float32 {
	counts := make([]int, len(labels))
	for _, label := range pictures {
		counts[label]++
	}
	weights := make([]float32, len(labels))
	for i, name := range labels {
		weights[i] = 1
		if w, ok := rule.Weights[name]; ok {
			weights[i] = float32(w)
		}
		if rule.Name == "balanced" && counts[i] > 0 {
			weights[i] = float32(float64(len(pictures)) / float64(len(labels)*counts[i]))
		}
	}
	return weights
}

// mix mixes each picture with the next one of the batch, and their targets and shares (Zhang,
// Cissé, Dauphin and Lopez-Paz, "mixup", ICLR 2018). The order is drawn anew in each pass,
// so the next picture is any.
func (f *feeder) mix(b *neural.Batch, pass int, rows []int) {
	if f.augment.Mixup == 0 || b.Rows < 2 {
		return
	}
	firstPicture, firstTarget, firstShare := slices.Clone(b.Picture(0)), slices.Clone(b.Target(0)), b.Shares[0]
	for row, picture := range rows {
		key := random.Key{Seed: f.seed, Stage: "mixup", Item: f.album.rows[picture].Path, Epoch: pass}
		share := float32(beta(random.New(key), f.augment.Mixup))
		otherPicture, otherTarget, otherShare := firstPicture, firstTarget, firstShare
		if row+1 < b.Rows {
			otherPicture, otherTarget, otherShare = b.Picture(row+1), b.Target(row+1), b.Shares[row+1]
		}
		blend(b.Picture(row), otherPicture, share)
		blend(b.Target(row), otherTarget, share)
		b.Shares[row] = float32(share*b.Shares[row]) + float32((1-share)*otherShare)
	}
}

// blend makes share · x + (1 - share) · y of x.
func blend(x, y []float32, share float32) {
	rest := 1 - share
	for i := range x {
		x[i] = float32(share*x[i]) + float32(rest*y[i])
	}
}

// beta draws from the beta distribution with both parameters a, above 0 and at most 1
// (Jöhnk, "Erzeugung von betaverteilten und gammaverteilten Zufallszahlen", Metrika 8, 1964).
func beta(draws *random.Stream, a float64) float64 {
	for {
		x, y := portable.Pow(draws.Float64(), 1/a), portable.Pow(draws.Float64(), 1/a)
		if sum := x + y; sum > 0 && sum <= 1 {
			return x / sum
		}
	}
}
