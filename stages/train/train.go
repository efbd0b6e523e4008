// Package train is the stage that trains the network of a manifest on its training
// crops.
//
// The same parameters and crops give the same bytes, on any number of cores: every
// draw is keyed by the seed, the epoch and the picture, and the backend (package exact)
// shares its work out over results, never over what is summed.
package train

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/internal/neural"
	"github.com/sandwich-build/sandwich/internal/table"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages"
)

// The inputs of the stage.
const (
	InputCrops = "crops" // the tree of the crop stage
	InputSplit = "split" // the tree of the split stage
)

// HistoryFile is the file with a row for each epoch, beside the two of the model.
const HistoryFile = "history.csv"

// Params decide what is trained, besides the crops and their split.
type Params struct {
	Model  manifest.Model `json:"model"`
	Shape  string         `json:"shape"`  // crop.shape of the manifest: what predict will do to a photo
	Side   int            `json:"side"`   // pixels of the network's square input
	Labels []string       `json:"labels"` // the classes, sorted
	Seed   uint64         `json:"seed"`
}

// Kind is the stage kind. Its output is model.json, model.safetensors and history.csv.
type Kind struct {
	params  Params
	network *model.Network
	input   model.Preparation // of what is trained on
	backend string
	every   time.Duration // between two checkpoints
}

// New checks the parameters. The error says which layer, label or setting is wrong. What
// it computes on, as package neural takes it, is part of the environment.
func New(p Params, backend string) (*Kind, error) {
	n, err := model.New(p.Model.Layers, p.Side, p.Labels)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if p.Model.Batch < 1 || p.Model.Epochs < 1 {
		return nil, fmt.Errorf("model: want a batch and epochs of at least 1, got %d and %d", p.Model.Batch, p.Model.Epochs)
	}
	if err := neural.CheckOptimizer(p.Model.Optimizer); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	for class := range p.Model.ClassWeights.Weights {
		if !slices.Contains(p.Labels, class) {
			return nil, fmt.Errorf("model.class_weights: %q is none of the classes %q", class, p.Labels)
		}
	}
	shape, err := modelShape(p.Shape)
	if err != nil {
		return nil, err
	}
	input := model.Preparation{Shape: shape, Resize: model.CatmullRom}
	if p.Model.RepeatArticle {
		input = model.Preparation{Shape: model.Stretch, Resize: model.Nearest}
	}
	return &Kind{params: p, network: n, input: input, backend: backend, every: keepEvery}, nil
}

// Parse makes the kind of its parameters, as they are in an action.
func Parse(text []byte, backend string) (*Kind, error) {
	p, err := stages.ParseParams[Params](text)
	if err != nil {
		return nil, err
	}
	return New(p, backend)
}

// modelShape is what becomes of a picture that is to look like crops of a shape: what
// the crop stage would make of a box around all of it. Crops that keep their
// proportions are stretched to the input.
func modelShape(shape string) (model.Shape, error) {
	switch shape {
	case "keep", "stretch":
		return model.Stretch, nil
	case "square", "letterbox":
		return model.Letterbox, nil
	}
	return "", fmt.Errorf("crop: unknown shape %q", shape)
}

// Name implements stages.Kind.
func (k *Kind) Name() string { return "train" }

// Version implements stages.Kind.
func (k *Kind) Version() int { return 5 }

// Params implements stages.Kind.
func (k *Kind) Params() any { return k.params }

// DivergedError says that the numbers of a training run are none any more.
type DivergedError struct {
	Epoch int
	Step  int // within the epoch; 0 for the validation at its end
	Loss  float64
	Where string // the first layer or parameter that is not finite, if one is
}

// Error names the epoch, the step and the layer.
func (e *DivergedError) Error() string {
	text := fmt.Sprintf("epoch %d, step %d: the loss is %v", e.Epoch, e.Step, e.Loss)
	if e.Step == 0 {
		text = fmt.Sprintf("epoch %d, validation: the loss is %v", e.Epoch, e.Loss)
	}
	if e.Where != "" {
		text += ": " + e.Where
	}
	return text + "; try a smaller learning_rate, or clip_norm"
}

// Run implements stages.Kind. It returns within a training step when the context ends.
func (k *Kind) Run(ctx context.Context, t *stages.Task) error {
	trainRows, validationRows, err := k.readSplit(ctx, t)
	if err != nil {
		return err
	}
	if err := k.checkLabels(trainRows, validationRows); err != nil {
		return err
	}
	initial := k.network.Initial(k.params.Seed)
	trainer, err := neural.NewTrainer(k.network, k.params.Model.Optimizer, initial, neural.Options{Backend: k.backend, Workers: t.Workers()})
	if err != nil {
		return err
	}
	defer trainer.Close()
	labels := make(map[string]int)
	for i, label := range k.params.Labels {
		labels[label] = i
	}
	var left atomic.Int64
	left.Store(cmp.Or(t.Memory(), maxKept))
	open := func(rows []cropfile.Assignment) *album {
		return newAlbum(t.Input(InputCrops), k.input, k.params.Side, rows, labels, &left)
	}
	m, training := k.params.Model, open(trainRows)
	r := &run{kind: k, task: t, trainer: trainer, validation: open(validationRows)}
	course := newCourse(k.params.Seed, len(trainRows), m.Batch)
	if m.RepeatArticle {
		course, r.drawn = articleCourses(k.params.Seed, len(trainRows), m.Batch, len(labels))
		r.validation = training
	}
	r.feeder = newFeeder(k.network, training, course, k.params, t.Workers())
	r.schedule = newSchedule(m, course.steps)
	if err := r.train(ctx); err != nil {
		return err
	}
	return r.write(ctx)
}

// deployed is what becomes of pictures that the model is asked about. The article's were
// resized otherwise than those it was trained on.
func (k *Kind) deployed() model.Preparation {
	if k.params.Model.RepeatArticle {
		return model.Preparation{Shape: model.Stretch, Resize: model.Bilinear}
	}
	return k.input
}

// readSplit returns the crops to train on and those to validate on. The article trained on
// all that there were.
func (k *Kind) readSplit(ctx context.Context, t *stages.Task) (training, validation []cropfile.Assignment, err error) {
	for row, err := range table.Rows(ctx, t.Input(InputSplit), cropfile.SplitFile, cropfile.Split) {
		switch {
		case err != nil:
			return nil, nil, err
		case row.Set == cropfile.Train || k.params.Model.RepeatArticle:
			training = append(training, row)
		case row.Set == cropfile.Validation:
			validation = append(validation, row)
		}
	}
	return training, validation, nil
}

// checkLabels makes sure that each label can be learnt and no other is asked for.
func (k *Kind) checkLabels(training, validation []cropfile.Assignment) error {
	counts := make(map[string]int)
	for _, label := range k.params.Labels {
		counts[label] = 0
	}
	for _, rows := range [][]cropfile.Assignment{training, validation} {
		for _, row := range rows {
			if _, ok := counts[row.Label]; !ok {
				return fmt.Errorf("crop %s: the label %q is none of %q", row.Path, row.Label, k.params.Labels)
			}
		}
	}
	for _, row := range training {
		counts[row.Label]++
	}
	for _, label := range k.params.Labels {
		if counts[label] == 0 {
			return fmt.Errorf("label %q: no crop to train on", label)
		}
	}
	return nil
}
