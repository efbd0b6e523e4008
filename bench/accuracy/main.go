// Command accuracy trains a network of the manifest's language on a folder of labelled
// pictures, once for each seed, and prints the accuracy on other pictures. peer.py does the
// same with PyTorch. See README.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/evaluate"
	"github.com/sandwich-build/sandwich/stages/train"
)

// The models, as a manifest has them. peer.py has the same.
var models = map[string]string{
	"article": "{layers: article, optimizer: {name: rmsprop, learning_rate: 0.0005}, batch: 16, augment: {flip: horizontal, crop: 4}}",
	"slider": "{layers: slider, optimizer: {name: sgd, learning_rate: 0.08, momentum: 0.9, nesterov: true, weight_decay: 0.0005}," +
		" schedule: {cosine: {warm_up: 2}}, batch: 32, label_smoothing: 0.2, augment: {flip: horizontal, crop: 4, cutout: 0.25}}",
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "accuracy:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	data := flag.String("data", "../shared/data/labelled/cifar10-dev", "folder with train/LABEL/*.jpg and test/LABEL/*.jpg")
	name := flag.String("model", "slider", "article or slider")
	side := flag.Int("side", 32, "pixels of a side of the network's input")
	epochs := flag.Int("epochs", 20, "passes over the training pictures")
	seeds := flag.String("seeds", "1,2,3,4,5", "a run for each of these")
	workers := flag.Int("workers", runtime.GOMAXPROCS(0), "cores to keep busy")
	flag.Parse()

	const rest = "version: 1\nname: bench/accuracy\ndataset: {source: open-images/v4, labels: [Car, Dog]}\nsplit: {train: 0.9, validation: 0, test: 0.1}\n"
	text := fmt.Sprintf("%smodel: %s\n", rest, models[*name])
	m, _, err := manifest.Override("model", []byte(text), []manifest.Setting{
		manifest.Setting(fmt.Sprintf("model.epochs=%d", *epochs)), manifest.Setting(fmt.Sprintf("model.size=%d", *side)),
	})
	if err != nil {
		return err
	}
	store := cas.NewMemory()
	inputs, labels, err := load(ctx, store, *data)
	if err != nil {
		return err
	}
	fmt.Println("who,model,side,epochs,seed,accuracy,seconds")
	for text := range strings.SplitSeq(*seeds, ",") {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return fmt.Errorf("-seeds %s: %w", *seeds, err)
		}
		start := time.Now()
		kind, err := train.New(train.Params{Model: m.Model, Shape: "stretch", Side: *side, Labels: labels, Seed: seed}, "")
		if err != nil {
			return err
		}
		trained, err := stages.RunKind(ctx, store, kind, inputs, *workers, stages.Discard)
		if err != nil {
			return err
		}
		took := time.Since(start)
		inputs[evaluate.InputModel] = cas.NewTree(store, trained.Tree)
		result, err := stages.RunKind(ctx, store, evaluate.New(evaluate.Params{}, ""), inputs, *workers, stages.Discard)
		if err != nil {
			return err
		}
		accuracy := float64(result.Counters["correct"]) / float64(result.Counters["tested"])
		fmt.Printf("sandwich,%s,%d,%d,%d,%.4f,%.0f\n", *name, *side, *epochs, seed, accuracy, took.Seconds())
	}
	return nil
}

// load puts the pictures into trees as crop and split make them.
func load(ctx context.Context, store cas.Store, dir string) (inputs map[string]cas.Tree, labels []string, err error) {
	crops, split := cas.NewBuilder(store), cas.NewBuilder(store)
	var rows []string
	for _, set := range []string{"train", "test"} {
		files, err := filepath.Glob(filepath.Join(dir, set, "*", "*.jpg"))
		if err != nil {
			return nil, nil, err
		}
		for _, file := range files {
			picture, err := os.ReadFile(file)
			if err != nil {
				return nil, nil, err
			}
			label := filepath.Base(filepath.Dir(file))
			if !slices.Contains(labels, label) {
				labels = append(labels, label)
			}
			path := fmt.Sprintf("crops/%s/%s-%s", label, set, filepath.Base(file))
			if err := crops.PutBytes(ctx, path, picture); err != nil {
				return nil, nil, err
			}
			rows = append(rows, fmt.Sprintf("%s,%s,%s%s,%s\n", path, label, set, filepath.Base(file), set))
		}
	}
	slices.Sort(rows)
	slices.Sort(labels)
	if err := split.PutBytes(ctx, "split.csv", []byte("Crop,Label,ImageID,Set\n"+strings.Join(rows, ""))); err != nil {
		return nil, nil, err
	}
	inputs = make(map[string]cas.Tree)
	if inputs[train.InputCrops], err = crops.Commit(ctx); err != nil {
		return nil, nil, err
	}
	inputs[train.InputSplit], err = split.Commit(ctx)
	return inputs, labels, err
}
