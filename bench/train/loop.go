//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/internal/neural"
	"github.com/sandwich-build/sandwich/internal/random"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/train"
)

// What the training loop is measured on: each crop is decoded once and augmented in each
// epoch. The article's run had 17 epochs, so that decoding was less of it.
const (
	loopCrops  = 320
	loopEpochs = 5
)

var loopLabels = []string{"Hamburger", "Sandwich"}

// loop compares the training stage, with its decoding, augmentation, progress and
// checkpoints, with the bare training step of the same network, in turns.
func loop(out io.Writer, threads []int, rounds int) error {
	m, err := manifest.Decode("loop", []byte("version: 1\nname: bench/loop\ndataset: {source: open-images/v4, labels: [Hamburger, Sandwich]}\n"+
		"split: {train: 0.9, validation: 0, test: 0.1}\n"+
		fmt.Sprintf("model: {epochs: %d, augment: {rotation: 40, shift: 0.2, shear: 0.2, zoom: 0.2, flip: horizontal}}\n", loopEpochs)))
	if err != nil {
		return err
	}
	store := cas.NewMemory()
	inputs, err := crops(store, m.InputSide())
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "| threads | bare step, images/s | whole loop, images/s | loop to step | by processor time |\n|---|---|---|---|---|")
	for _, n := range threads {
		runtime.GOMAXPROCS(n)
		var bare, whole, clock, used []float64
		for range rounds {
			step, err := bareStep(m, n)
			if err != nil {
				return err
			}
			all, err := wholeLoop(m, store, inputs, n)
			if err != nil {
				return err
			}
			bare, whole = append(bare, step.clock), append(whole, all.clock)
			clock, used = append(clock, all.clock/step.clock), append(used, all.processor/step.processor)
		}
		fmt.Fprintf(out, "| %d | %.1f | %.1f | %.3f | %.3f |\n", n, middle(bare), middle(whole), middle(clock), middle(used))
	}
	return nil
}

// stopwatch is a moment, and how many pictures were done then.
type stopwatch struct {
	done      int64
	at        time.Time
	processor float64 // seconds
}

func look(done int64) stopwatch { return stopwatch{done, time.Now(), processor()} }

// to is how many pictures a second were done until another moment.
func (w stopwatch) to(later stopwatch) sample {
	pictures := float64(later.done - w.done)
	return sample{pictures / later.at.Sub(w.at).Seconds(), pictures / (later.processor - w.processor)}
}

func middle(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// bareStep is how many pictures a second steps train on that read one batch again and again.
func bareStep(m *manifest.Manifest, threads int) (rate sample, err error) {
	n, err := model.New(m.Model.Layers, m.InputSide(), loopLabels)
	if err != nil {
		return sample{}, err
	}
	trainer, err := neural.NewTrainer(n, m.Model.Optimizer, n.Initial(1), neural.Options{Workers: threads})
	if err != nil {
		return sample{}, err
	}
	defer trainer.Close()
	b := neural.NewBatch(n, m.Model.Batch)
	for row := range b.Rows {
		key := random.Key{Item: fmt.Sprint(row)}
		draws := random.New(key)
		for i := range b.Picture(row) {
			b.Picture(row)[i] = float32(draws.Float64())
		}
		b.Target(row)[row%2], b.Shares[row] = 1, 1/float32(b.Rows)
		b.DrawMasks(n, row, key)
	}
	const warm, steps = 3, loopCrops * loopEpochs / 2 / 16
	var begin stopwatch
	for i := range warm + steps {
		if i == warm {
			begin = look(0)
		}
		if _, err := trainer.Step(b, m.Model.Optimizer.LearningRate); err != nil {
			return sample{}, err
		}
	}
	return begin.to(look(int64(steps * b.Rows))), nil
}

// wholeLoop is how many pictures a second the stage trains on, from its first step to its last.
func wholeLoop(m *manifest.Manifest, store cas.Store, inputs map[string]cas.Tree, threads int) (rate sample, err error) {
	kind, err := train.New(train.Params{Model: m.Model, Shape: "stretch", Side: m.InputSide(), Labels: loopLabels, Seed: 1}, "")
	if err != nil {
		return sample{}, err
	}
	var watch watcher
	if _, err := stages.RunKind(context.Background(), store, kind, inputs, threads, &watch); err != nil {
		return sample{}, err
	}
	return watch.first.to(watch.last), nil
}

// watcher notes the first and the last progress.
type watcher struct{ first, last stopwatch }

func (w *watcher) Observe(e stages.Event) {
	if p, ok := e.(stages.Progress); ok {
		w.last = look(p.Done)
		if w.first.at.IsZero() {
			w.first = w.last
		}
	}
}

// crops draws photos of soft colours with some noise, as large as the network's input, and
// puts them into trees as crop and split make them.
func crops(store cas.Store, side int) (map[string]cas.Tree, error) {
	ctx := context.Background()
	files, split := cas.NewBuilder(store), cas.NewBuilder(store)
	var rows []string
	for i := range loopCrops {
		draws := random.New(random.Key{Stage: "crop", Epoch: i})
		img := image.NewRGBA(image.Rect(0, 0, side, side))
		slope, waves := draws.Intn(3)+1, draws.Intn(20)+8
		for y := range side {
			for x := range side {
				base := (x*slope+y)%256/2 + (x/waves+y/waves)%2*60
				img.Set(x, y, color.RGBA{R: uint8(base + draws.Intn(24)), G: uint8(base/2 + draws.Intn(24)), B: uint8(90 + draws.Intn(24)), A: 255})
			}
		}
		var encoded bytes.Buffer
		if err := jpeg.Encode(&encoded, img, &jpeg.Options{Quality: 90}); err != nil {
			return nil, err
		}
		label := loopLabels[i%2]
		path := fmt.Sprintf("crops/%s/%03d.jpg", label, i)
		if err := files.PutBytes(ctx, path, encoded.Bytes()); err != nil {
			return nil, err
		}
		rows = append(rows, fmt.Sprintf("%s,%s,%d,train\n", path, label, i))
	}
	slices.Sort(rows)
	if err := split.PutBytes(ctx, "split.csv", []byte("Crop,Label,ImageID,Set\n"+strings.Join(rows, ""))); err != nil {
		return nil, err
	}
	cropTree, err := files.Commit(ctx)
	if err != nil {
		return nil, err
	}
	splitTree, err := split.Commit(ctx)
	return map[string]cas.Tree{train.InputCrops: cropTree, train.InputSplit: splitTree}, err
}
