// Package train is the stage that trains the network of a manifest on its training
// crops, on gomlx's pure-Go backend.
//
// The same parameters and crops give the same bytes, on any number of cores: every
// draw is keyed by the seed, the epoch and the picture, batches are cut into chunks of
// a fixed size, and their gradients are added in a fixed order.
package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/internal/photo"
	"github.com/sandwich-build/sandwich/internal/random"
	"github.com/sandwich-build/sandwich/internal/table"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
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
	shape   model.Shape
}

// New checks the parameters. The error says which layer, label or setting is wrong.
func New(p Params) (*Kind, error) {
	n, err := model.New(p.Model.Layers, p.Side, p.Labels)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if p.Model.Batch < 1 || p.Model.Epochs < 1 {
		return nil, fmt.Errorf("model: want a batch and epochs of at least 1, got %d and %d", p.Model.Batch, p.Model.Epochs)
	}
	if p.Model.Optimizer.Name != "rmsprop" {
		return nil, fmt.Errorf("model: unknown optimizer %q", p.Model.Optimizer.Name)
	}
	shape, err := modelShape(p.Shape)
	if err != nil {
		return nil, err
	}
	return &Kind{params: p, network: n, shape: shape}, nil
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
func (k *Kind) Version() int { return 1 }

// Params implements stages.Kind.
func (k *Kind) Params() any { return k.params }

// DivergedError says that the numbers of a training run are none any more.
type DivergedError struct {
	Epoch int
	Step  int // within the epoch; 0 for the validation at its end
	Loss  float64
}

// Error names the epoch and the step.
func (e *DivergedError) Error() string {
	if e.Step == 0 {
		return fmt.Sprintf("epoch %d, validation: the loss is %v", e.Epoch, e.Loss)
	}
	return fmt.Sprintf("epoch %d, step %d: the loss is %v", e.Epoch, e.Step, e.Loss)
}

// Run implements stages.Kind. It returns within a chunk of a training step when the
// context ends.
func (k *Kind) Run(ctx context.Context, t *stages.Task) error {
	training, validation, err := k.load(ctx, t)
	if err != nil {
		return err
	}
	engine, err := model.NewEngine(k.network, t.Workers())
	if err != nil {
		return err
	}
	defer engine.Close()
	r := &run{
		kind:       k,
		task:       t,
		engine:     engine,
		training:   training,
		validation: validation,
		weights:    k.network.Initial(k.params.Seed),
	}
	r.optimizer = newRMSprop(k.params.Model.Optimizer, r.weights)
	if err := r.train(ctx); err != nil {
		return err
	}
	return r.write(ctx)
}

// picture is a crop at the size of the input. Pictures are kept as bytes, a fourth of
// the memory that values take: 49 kB at 128 pixels.
type picture struct {
	path   string
	label  int
	pixels []byte
}

// load decodes the training and the validation crops.
func (k *Kind) load(ctx context.Context, t *stages.Task) (training, validation []picture, err error) {
	trainRows, validationRows, err := readSplit(ctx, t)
	if err != nil {
		return nil, nil, err
	}
	if err := k.checkLabels(trainRows, validationRows); err != nil {
		return nil, nil, err
	}
	pictures, err := k.decode(ctx, t, append(trainRows, validationRows...))
	if err != nil {
		return nil, nil, err
	}
	return pictures[:len(trainRows)], pictures[len(trainRows):], nil
}

// readSplit returns the crops to train on and those to validate on.
func readSplit(ctx context.Context, t *stages.Task) (training, validation []cropfile.Assignment, err error) {
	for row, err := range table.Rows(ctx, t.Input(InputSplit), cropfile.SplitFile, cropfile.Split) {
		if err != nil {
			return nil, nil, err
		}
		switch row.Set {
		case cropfile.Train:
			training = append(training, row)
		case cropfile.Validation:
			validation = append(validation, row)
		case cropfile.Test: // never looked at here
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

func (k *Kind) decode(ctx context.Context, t *stages.Task, rows []cropfile.Assignment) ([]picture, error) {
	labels := make(map[string]int)
	for i, label := range k.params.Labels {
		labels[label] = i
	}
	pictures := make([]picture, len(rows))
	tree := t.Input(InputCrops)
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(t.Workers())
	var done atomic.Int64
	for i, row := range rows {
		if running.Err() != nil {
			break
		}
		group.Go(func() error {
			pixels, err := readPixels(running, tree, row.Path, k.shape, k.params.Side)
			if err != nil {
				return fmt.Errorf("crop %s: %w", row.Path, err)
			}
			pictures[i] = picture{path: row.Path, label: labels[row.Label], pixels: pixels}
			t.Progress(done.Add(1), int64(len(rows)), "crops")
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return pictures, context.Cause(ctx)
}

func readPixels(ctx context.Context, tree cas.Tree, path string, shape model.Shape, side int) ([]byte, error) {
	file, err := tree.ReadFile(ctx, path)
	if err != nil {
		return nil, err
	}
	img, err := photo.Decode(ctx, file, photo.DefaultLimits())
	if err != nil {
		return nil, err
	}
	return shape.Pixels(img, side)
}

// run is one training run.
type run struct {
	kind       *Kind
	task       *stages.Task
	engine     *model.Engine
	optimizer  *rmsprop
	training   []picture
	validation []picture
	weights    []model.Tensor
	history    []epoch
	best       int // the epoch that the weights are of
}

func (r *run) train(ctx context.Context) error {
	p := r.kind.params.Model
	stop := newStopper(p.EarlyStopping)
	if len(r.validation) == 0 && p.EarlyStopping != nil {
		r.task.Warnf("no picture to validate on, so early stopping is off; raise split.validation to have it")
		stop = newStopper(nil)
	}
	r.task.Infof("%d parameters, %d training pictures, %d validation pictures",
		r.kind.network.ParameterCount(), len(r.training), len(r.validation))
	if err := r.engine.SetWeights(r.weights); err != nil {
		return err
	}
	for number := 1; number <= p.Epochs; number++ {
		e := epoch{number: number}
		if err := r.pass(ctx, &e); err != nil {
			return err
		}
		if err := r.validate(ctx, &e); err != nil {
			return err
		}
		r.history = append(r.history, e)
		r.task.Infof("epoch %d/%d: %s", number, p.Epochs, e)
		if stop.after(e, r.weights) {
			r.task.Infof("stopped: %s has not improved for %d epochs", p.EarlyStopping.Monitor, p.EarlyStopping.Patience)
			break
		}
	}
	r.weights, r.best = stop.result(r.weights, len(r.history))
	if len(r.history) > 0 && r.best < len(r.history) {
		r.task.Infof("restored the weights of epoch %d", r.best)
	}
	return r.checkFinite()
}

// pass trains on each picture once.
func (r *run) pass(ctx context.Context, e *epoch) error {
	p, seed := r.kind.params.Model, r.kind.params.Seed
	augment := augmenter{Augment: p.Augment, side: r.kind.params.Side}
	order := random.New(random.Key{Seed: seed, Stage: "shuffle", Epoch: e.number}).Permutation(len(r.training))
	total := int64(len(order) * p.Epochs)
	before := int64(len(order) * (e.number - 1))
	var correct int
	for start, number := 0, 1; start < len(order); start, number = start+p.Batch, number+1 {
		batch := order[start:min(start+p.Batch, len(order))]
		examples := make([]model.Example, len(batch))
		for i, index := range batch {
			examples[i] = augmented(r.training[index], augment, seed, e.number)
		}
		step, err := r.engine.Gradient(ctx, examples)
		if err != nil {
			return err
		}
		if !finite(step.Loss) {
			return &DivergedError{Epoch: e.number, Step: number, Loss: step.Loss}
		}
		r.optimizer.update(r.weights, step.Gradients)
		if err := r.engine.SetWeights(r.weights); err != nil {
			return err
		}
		e.loss += float64(step.Loss * float64(len(batch)))
		correct += step.Correct
		r.task.Progress(before+int64(start+len(batch)), total, "images")
	}
	e.loss /= float64(len(order))
	e.accuracy = float64(correct) / float64(len(order))
	return nil
}

// augmented is a picture as one epoch sees it.
func augmented(p picture, augment augmenter, seed uint64, number int) model.Example {
	key := random.Key{Seed: seed, Stage: "augment", Item: p.path, Epoch: number}
	return model.Example{
		Label: p.label,
		Draws: key,
		Fill: func(values []float32) error {
			augment.apply(values, p.pixels, random.New(key))
			return nil
		},
	}
}

// validate measures the weights on the validation pictures, as they are.
func (r *run) validate(ctx context.Context, e *epoch) error {
	if len(r.validation) == 0 {
		return nil
	}
	examples := make([]model.Example, len(r.validation))
	for i, p := range r.validation {
		examples[i] = model.Example{
			Label: p.label,
			Fill:  func(values []float32) error { model.Scale(values, p.pixels); return nil },
		}
	}
	outcome, err := r.engine.Infer(ctx, examples)
	if err != nil {
		return err
	}
	if !finite(outcome.Loss) {
		return &DivergedError{Epoch: e.number, Loss: outcome.Loss}
	}
	e.validated = true
	e.validationLoss = outcome.Loss
	e.validationAccuracy = float64(outcome.Correct) / float64(len(examples))
	return nil
}

// checkFinite refuses weights that the last step has spoilt: without validation no
// loss is computed with them.
func (r *run) checkFinite() error {
	for _, w := range r.weights {
		for _, v := range w.Data {
			if !finite(float64(v)) {
				return fmt.Errorf("epoch %d: after its last step %s holds %v", len(r.history), w.Name, v)
			}
		}
	}
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// write puts the model and its history into the output.
func (r *run) write(ctx context.Context) error {
	m := &model.Model{
		Network: r.kind.network,
		Shape:   r.kind.shape,
		Weights: r.weights,
		Counts: model.Counts{
			Train:      len(r.training),
			Validation: len(r.validation),
			Epochs:     len(r.history),
			BestEpoch:  r.best,
		},
	}
	desc, weights, err := m.Encode()
	if err != nil {
		return err
	}
	r.task.Count("epochs", int64(len(r.history)))
	r.task.Count("parameters", int64(r.kind.network.ParameterCount()))
	out := r.task.Out()
	return errors.Join(
		out.PutBytes(ctx, model.DescriptionFile, desc),
		out.PutBytes(ctx, model.WeightsFile, weights),
		out.PutBytes(ctx, HistoryFile, encodeHistory(r.history)),
	)
}
