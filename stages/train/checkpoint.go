package train

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/internal/neural"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// keepEvery is how often a training run keeps a checkpoint. A process that is killed loses
// no more than that; one that is interrupted loses nothing.
const keepEvery = 30 * time.Second

// The files of a checkpoint.
const (
	progressFile = "progress.json"
	stateFile    = "state.safetensors"
)

// checkpointVersion is that of the files. Another one is as good as none.
const checkpointVersion = 1

// progress is where a training run is, besides its numbers. The draws need no state: they
// are keyed by the epoch and the picture.
type progress struct {
	Version int         `json:"version"`
	Steps   int         `json:"steps"` // of the trainer
	Epoch   int         `json:"epoch"` // the one that is going on, from 1
	Step    int         `json:"step"`  // of the epoch, from 0: the next one
	Loss    float64     `json:"loss"`  // sums of the epoch so far
	Correct int         `json:"correct"`
	Past    [][]float64 `json:"past"` // the epochs before: loss, accuracy, and of the validation
	Said    []string    `json:"said"` // what the person was told
	Best    int         `json:"best"` // of early stopping
	Value   float64     `json:"value"`
	Plateau plateau     `json:"plateau"`
}

// bestPrefix names the weights that early stopping keeps.
const bestPrefix = "best/"

// keep keeps a checkpoint: the next step is at.
func (r *run) keep(ctx context.Context, e epoch, step int) error {
	if !r.task.Keeps() {
		return nil
	}
	state, err := r.trainer.State()
	if err != nil {
		return err
	}
	p := progress{
		Version: checkpointVersion, Steps: state.Steps, Epoch: e.number, Step: step, Loss: e.loss, Correct: e.correct,
		Said: r.said, Best: r.stop.epoch, Value: r.stop.value, Plateau: r.schedule.plateau,
	}
	for _, past := range r.history {
		row := []float64{past.loss, past.accuracy}
		if past.validated {
			row = append(row, past.validationLoss, past.validationAccuracy)
		}
		p.Past = append(p.Past, row)
	}
	for _, t := range r.stop.kept {
		t.Name = bestPrefix + t.Name
		state.Tensors = append(state.Tensors, t)
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	numbers, err := model.EncodeSafetensors(state.Tensors)
	if err != nil {
		return err
	}
	files := cas.NewBuilder(r.task.Store())
	if err := errors.Join(files.PutBytes(ctx, progressFile, text), files.PutBytes(ctx, stateFile, numbers)); err != nil {
		return err
	}
	tree, err := files.Commit(ctx)
	if err != nil {
		return err
	}
	return r.task.Keep(ctx, tree)
}

// resume goes on from the checkpoint of an interrupted run. Without one, or with one that
// cannot be read, it begins at the beginning.
func (r *run) resume(ctx context.Context) (begin epoch, step int) {
	begin = epoch{number: 1}
	tree, ok := r.task.Kept(ctx)
	if !ok {
		return begin, 0
	}
	p, tensors, err := readCheckpoint(ctx, tree)
	if err != nil {
		return begin, 0
	}
	state := neural.State{Steps: p.Steps}
	order := make(map[string]int)
	for i, parameter := range r.kind.network.Parameters() {
		order[parameter.Name] = i
	}
	best := make([]model.Tensor, len(order))
	for _, t := range tensors {
		name, isBest := strings.CutPrefix(t.Name, bestPrefix)
		if i, known := order[name]; isBest && known {
			t.Name = name
			best[i] = t
			r.stop.kept = best
		} else {
			state.Tensors = append(state.Tensors, t)
		}
	}
	if err := r.trainer.SetState(state); err != nil {
		r.stop.kept = nil
		return begin, 0
	}
	r.stop.epoch, r.stop.value, r.schedule.plateau = p.Best, p.Value, p.Plateau
	for i, row := range p.Past {
		past := epoch{number: i + 1, loss: row[0], accuracy: row[1]}
		if len(row) == 4 {
			past.validated, past.validationLoss, past.validationAccuracy = true, row[2], row[3]
		}
		r.history = append(r.history, past)
	}
	for _, line := range p.Said {
		r.say("%s", line)
	}
	return epoch{number: p.Epoch, loss: p.Loss, correct: p.Correct}, p.Step
}

var errCheckpoint = errors.New("the checkpoint is of another version")

func readCheckpoint(ctx context.Context, tree cas.Tree) (progress, []model.Tensor, error) {
	var p progress
	text, err := tree.ReadFile(ctx, progressFile)
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		return p, nil, err
	}
	if p.Version != checkpointVersion || p.Epoch < 1 || p.Step < 0 {
		return p, nil, errCheckpoint
	}
	for _, row := range p.Past {
		if len(row) != 2 && len(row) != 4 {
			return p, nil, errCheckpoint
		}
	}
	numbers, err := tree.ReadFile(ctx, stateFile)
	if err != nil {
		return p, nil, err
	}
	tensors, err := model.DecodeSafetensors(numbers)
	return p, tensors, err
}
