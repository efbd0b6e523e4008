package neural

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/internal/random"
	"github.com/sandwich-build/sandwich/manifest"
)

// Batch is what one training step reads. It is filled by its user.
type Batch struct {
	Rows     int
	Pictures []float32   // rows × side × side × 3, of 0 to 1
	Targets  []float32   // rows × labels: how much of a picture is each label; a row adds up to 1
	Shares   []float32   // rows: how much of the loss a picture is; 1/rows makes it the mean
	Masks    [][]float32 // for each dropout layer, rows × values; see DrawMasks
}

// NewBatch returns an empty batch of a network.
func NewBatch(n *model.Network, rows int) *Batch {
	b := &Batch{
		Rows:     rows,
		Pictures: make([]float32, rows*n.Pixels()),
		Targets:  make([]float32, rows*len(n.Labels())),
		Shares:   make([]float32, rows),
	}
	for _, d := range n.Dropouts() {
		b.Masks = append(b.Masks, make([]float32, rows*d.In.Values()))
	}
	return b
}

// Picture is the memory of one picture.
func (b *Batch) Picture(row int) []float32 {
	size := len(b.Pictures) / b.Rows
	return b.Pictures[row*size : (row+1)*size]
}

// Target is the memory of one picture's targets.
func (b *Batch) Target(row int) []float32 {
	labels := len(b.Targets) / b.Rows
	return b.Targets[row*labels : (row+1)*labels]
}

// DrawMasks draws the dropout masks of one picture: 0 with the layer's rate, and otherwise
// what keeps the mean. The key names the picture's draws; its stage is set here.
func (b *Batch) DrawMasks(n *model.Network, row int, key random.Key) {
	for i, d := range n.Dropouts() {
		key.Stage = "dropout/" + d.Name
		draws := random.New(key)
		rate, size := d.Dropout.Rate, d.In.Values()
		keep := float32(1 / (1 - rate))
		mask := b.Masks[i][row*size : (row+1)*size]
		for j := range mask {
			mask[j] = 0
			if draws.Float64() >= rate {
				mask[j] = keep
			}
		}
	}
}

// Trainer holds a network's weights and changes them step by step. It is not safe for
// concurrent use.
type Trainer struct {
	network   *model.Network
	device    *device
	inference *inference
	rule      rule
	exec      *graph.Exec
	weights   []*tensors.Tensor // in the order of Network.Parameters
	slots     []*tensors.Tensor // what the rule remembers of each
	inputs    map[int]*inputs   // by rows
	steps     int
}

// inputs are the tensors that a batch is copied into.
type inputs struct {
	pictures, targets, shares, settings *tensors.Tensor
	masks                               []*tensors.Tensor
}

// NewTrainer returns a trainer with initial weights. Close it when done.
func NewTrainer(n *model.Network, optimizer manifest.Optimizer, weights []model.Tensor, o Options) (*Trainer, error) {
	chosen, err := newRule(optimizer)
	if err != nil {
		return nil, err
	}
	d, err := open(o)
	if err != nil {
		return nil, err
	}
	t := &Trainer{network: n, device: d, rule: chosen, inputs: make(map[int]*inputs)}
	if err := t.prepare(weights); err != nil {
		d.Finalize()
		return nil, fmt.Errorf("trainer: %w", err)
	}
	return t, nil
}

func (t *Trainer) prepare(weights []model.Tensor) (err error) {
	if t.inference, err = newInference(t.network, t.device); err != nil {
		return err
	}
	if t.exec, err = graph.NewExec(t.device.Backend, t.graph); err != nil {
		return err
	}
	if t.weights, err = t.device.upload(weights); err != nil {
		return err
	}
	for _, p := range t.trained() {
		for range t.rule.slots {
			slot, err := t.device.tensor(t.network.Parameters()[p].Dims...)
			if err != nil {
				return err
			}
			t.slots = append(t.slots, slot)
		}
	}
	return nil
}

// trained are the indices of the parameters that have gradients.
func (t *Trainer) trained() []int {
	var list []int
	for i, p := range t.network.Parameters() {
		if !p.Moves {
			list = append(list, i)
		}
	}
	return list
}

// Close gives the trainer's memory back.
func (t *Trainer) Close() { t.device.Finalize() }

// Step changes the weights by one step at a learning rate, and returns how good they were
// before.
func (t *Trainer) Step(b *Batch, learningRate float64) (Score, error) {
	score, err := t.step(b, learningRate)
	if err != nil {
		return Score{}, fmt.Errorf("training step: %w", err)
	}
	return score, nil
}

func (t *Trainer) step(b *Batch, learningRate float64) (Score, error) {
	if b.Rows < 1 {
		return Score{}, errors.New("the batch is empty")
	}
	in, err := t.fill(b, t.rule.settings(learningRate, t.steps+1))
	if err != nil {
		return Score{}, err
	}
	out, err := t.exec.Call(arguments([]*tensors.Tensor{in.pictures, in.targets, in.shares, in.settings}, t.weights, t.slots, in.masks)...)
	if err != nil {
		return Score{}, err
	}
	logits, err := tensors.CopyFlatData[float32](out[0])
	if err != nil {
		return Score{}, err
	}
	score := rate(logits, b.Targets, b.Shares)
	old, fresh := append(slices.Clone(t.weights), t.slots...), out[1:]
	if math.IsNaN(score.Loss) || math.IsInf(score.Loss, 0) {
		old, fresh = fresh, old // the weights stay, so that Blame sees what went wrong
	} else {
		t.steps++
	}
	t.weights, t.slots = fresh[:len(t.weights)], fresh[len(t.weights):]
	for _, gone := range append(old, out[0]) {
		err = errors.Join(err, gone.FinalizeAll()) // the next step takes the memory
	}
	return score, err
}

// Blame says where the numbers of a batch stop being finite: the first parameter that holds
// something else, or the first layer that makes it. It is empty where all are finite.
func (t *Trainer) Blame(b *Batch) (string, error) {
	weights, err := t.Weights()
	if err != nil {
		return "", err
	}
	for _, w := range weights {
		for _, v := range w.Data {
			if v-v != 0 { // infinite, or not a number
				return fmt.Sprintf("%s holds %v", w.Name, v), nil
			}
		}
	}
	var names []string
	exec, err := graph.NewExec(t.device.Backend, func(in []*graph.Node) []*graph.Node {
		var sums []*graph.Node
		f := &forward{weights: in[1 : 1+len(weights)], masks: in[1+len(weights):], training: true, seen: func(l model.Layer, x *graph.Node) {
			names = append(names, l.Name)
			sums = append(sums, graph.ReduceAllSum(graph.Sub(x, x))) // 0, or not a number
		}}
		f.network(t.network, in[0])
		return sums
	})
	if err != nil {
		return "", err
	}
	defer exec.Finalize()
	inputs, err := t.fill(b, t.rule.settings(0, 1))
	if err != nil {
		return "", err
	}
	sums, err := exec.Call(arguments([]*tensors.Tensor{inputs.pictures}, t.weights, inputs.masks)...)
	if err != nil {
		return "", err
	}
	for i, sum := range sums {
		if tensors.ToScalar[float32](sum) != 0 {
			return names[i] + " makes values that are not finite", nil
		}
	}
	return "", nil
}

// fill copies a batch into tensors of its size.
func (t *Trainer) fill(b *Batch, settings []float32) (*inputs, error) {
	in, ok := t.inputs[b.Rows]
	if !ok {
		var err error
		if in, err = t.allocate(b.Rows); err != nil {
			return nil, err
		}
		t.inputs[b.Rows] = in
	}
	targets := b.Targets
	if t.network.Outputs() == 1 { // the sigmoid unit stands for the second of two labels
		targets = make([]float32, b.Rows)
		for i := range targets {
			targets[i] = b.Targets[2*i+1]
		}
	}
	err := errors.Join(set(in.pictures, b.Pictures), set(in.targets, targets), set(in.shares, b.Shares), set(in.settings, settings))
	for i, mask := range b.Masks {
		err = errors.Join(err, set(in.masks[i], mask))
	}
	return in, err
}

func (t *Trainer) allocate(rows int) (*inputs, error) {
	var failed error
	tensor := func(dims ...int) *tensors.Tensor {
		allocated, err := t.device.tensor(dims...)
		failed = errors.Join(failed, err)
		return allocated
	}
	n := t.network
	in := &inputs{
		pictures: tensor(rows, n.Side(), n.Side(), model.Channels),
		targets:  tensor(rows, n.Outputs()),
		shares:   tensor(rows, 1),
		settings: tensor(len(t.rule.settings(1, 1))),
	}
	for _, d := range n.Dropouts() {
		dims := []int{rows, d.In.Side, d.In.Side, d.In.Channels}
		if d.In.Side == 0 {
			dims = []int{rows, d.In.Channels}
		}
		in.masks = append(in.masks, tensor(dims...))
	}
	return in, failed
}

// graph is a training step: from a batch, the rule's settings, weights and slots to the
// logits and new weights and slots.
func (t *Trainer) graph(in []*graph.Node) []*graph.Node {
	pictures, targets, shares, settings, rest := in[0], in[1], in[2], in[3], in[4:]
	weights, slots, masks := rest[:len(t.weights)], rest[len(t.weights):len(t.weights)+len(t.slots)], rest[len(t.weights)+len(t.slots):]
	f := &forward{weights: weights, masks: masks, training: true}
	logits := f.network(t.network, pictures)

	// The derivative of either cross-entropy by its logit is probability - target.
	// Passing it on directly is exact where that of the usual stable formula is not:
	// at a logit of 0, where max and abs have no derivative.
	delta := graph.StopGradient(graph.Mul(graph.Sub(t.probabilities(logits), targets), shares))
	carrier := graph.ReduceAllSum(graph.Mul(logits, delta))
	trained := t.trained()
	leaves := make([]*graph.Node, len(trained))
	for i, p := range trained {
		leaves[i] = weights[p]
	}
	gradients := t.rule.clip(graph.Gradient(carrier, leaves...))

	newWeights, newSlots := slices.Clone(weights), slices.Clone(slots)
	scalars := split(settings)
	for i, p := range trained {
		mine := newSlots[i*t.rule.slots : (i+1)*t.rule.slots]
		decays := t.network.Parameters()[p].FanIn > 0 // kernels alone
		newWeights[p] = t.rule.update(weights[p], gradients[i], mine, scalars, decays)
	}
	for p, moved := range f.moved {
		newWeights[p] = moved
	}
	return append(append([]*graph.Node{logits}, newWeights...), newSlots...)
}

func (t *Trainer) probabilities(logits *graph.Node) *graph.Node {
	if t.network.Outputs() == 1 {
		return graph.Sigmoid(logits)
	}
	return softmax(logits)
}

// split returns the elements of a vector as scalars.
func split(vector *graph.Node) []*graph.Node {
	list := make([]*graph.Node, vector.Shape().Size())
	for i := range list {
		list[i] = graph.Reshape(graph.Slice(vector, graph.AxisElem(i)))
	}
	return list
}

// Example is a picture with its label.
type Example struct {
	Label int // index into the labels

	// Fill writes the picture, side × side × 3 values of 0 to 1, rows first. It is
	// called from several goroutines.
	Fill func(picture []float32) error
}

// Measure says how good the weights are on examples, as they are: without dropout. The
// loss is the mean; it is 0 without examples.
func (t *Trainer) Measure(ctx context.Context, examples []Example) (Score, error) {
	if len(examples) == 0 {
		return Score{}, nil
	}
	logits, err := t.inference.logits(ctx, t.weights, len(examples), func(i int, picture []float32) error {
		return examples[i].Fill(picture)
	})
	if err != nil {
		return Score{}, fmt.Errorf("inference: %w", err)
	}
	labels := len(t.network.Labels())
	targets, shares := make([]float32, len(examples)*labels), make([]float32, len(examples))
	for i, e := range examples {
		targets[i*labels+e.Label], shares[i] = 1, 1
	}
	score := rate(logits, targets, shares)
	score.Loss /= float64(len(examples))
	return score, nil
}

// Weights returns a copy of the weights, in the order of Network.Parameters.
func (t *Trainer) Weights() ([]model.Tensor, error) {
	list := make([]model.Tensor, len(t.weights))
	for i, p := range t.network.Parameters() {
		data, err := tensors.CopyFlatData[float32](t.weights[i])
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", p.Name, err)
		}
		list[i] = model.Tensor{Name: p.Name, Dims: p.Dims, Data: data}
	}
	return list, nil
}

// State is all that a trainer knows: weights, what its rule remembers of each, and how many
// steps it made.
type State struct {
	Steps   int
	Tensors []model.Tensor
}

// State returns a copy of the trainer's state.
func (t *Trainer) State() (State, error) {
	weights, err := t.Weights()
	if err != nil {
		return State{}, err
	}
	s := State{Steps: t.steps, Tensors: weights}
	for i, slot := range t.slots {
		p := weights[t.trained()[i/t.rule.slots]]
		data, err := tensors.CopyFlatData[float32](slot)
		if err != nil {
			return State{}, fmt.Errorf("read the optimizer's state: %w", err)
		}
		s.Tensors = append(s.Tensors, model.Tensor{Name: slotName(p.Name, i%t.rule.slots), Dims: p.Dims, Data: data})
	}
	return s, nil
}

func slotName(parameter string, slot int) string { return fmt.Sprintf("%s/slot%d", parameter, slot+1) }

// SetState makes the trainer go on from a state of one for the same network and rule.
func (t *Trainer) SetState(s State) error {
	byName := make(map[string]model.Tensor, len(s.Tensors))
	for _, one := range s.Tensors {
		byName[one.Name] = one
	}
	load := func(to *tensors.Tensor, name string, size int) error {
		from, ok := byName[name]
		if !ok || len(from.Data) != size {
			return fmt.Errorf("set state: no %s of %d values", name, size)
		}
		return set(to, from.Data)
	}
	params := t.network.Parameters()
	for i, p := range params {
		if err := load(t.weights[i], p.Name, p.Size()); err != nil {
			return err
		}
	}
	for i, slot := range t.slots {
		p := params[t.trained()[i/t.rule.slots]]
		if err := load(slot, slotName(p.Name, i%t.rule.slots), p.Size()); err != nil {
			return err
		}
	}
	t.steps = s.Steps
	return nil
}
