package train

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/internal/neural"
	"github.com/sandwich-build/sandwich/stages"
)

// run is one training run.
type run struct {
	kind       *Kind
	task       *stages.Task
	trainer    *neural.Trainer
	feeder     *feeder
	validation *album
	history    []epoch
	weights    []model.Tensor // of the epoch best, when training has ended
	best       int
}

func (r *run) train(ctx context.Context) error {
	p := r.kind.params.Model
	rule := p.EarlyStopping
	if len(r.validation.rows) == 0 && rule != nil {
		r.task.Warnf("no picture to validate on, so early stopping is off; raise split.validation to have it")
		rule = nil
	}
	stop := newStopper(rule)
	r.task.Infof("%d parameters, %d training pictures, %d validation pictures",
		r.kind.network.ParameterCount(), len(r.feeder.album.rows), len(r.validation.rows))
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
		done, err := stop.after(e, r.trainer.Weights)
		if err != nil {
			return err
		}
		if done {
			r.task.Infof("stopped: %s has not improved for %d epochs", p.EarlyStopping.Monitor, p.EarlyStopping.Patience)
			break
		}
	}
	last, err := r.trainer.Weights()
	if err != nil {
		return err
	}
	r.weights, r.best = stop.result(last, len(r.history))
	if r.best < len(r.history) {
		r.task.Infof("restored the weights of epoch %d", r.best)
	}
	return r.checkFinite()
}

// pass trains on each picture once.
func (r *run) pass(ctx context.Context, e *epoch) error {
	pictures, rate := len(r.feeder.album.rows), r.kind.params.Model.Optimizer.LearningRate
	total, done := int64(pictures*r.kind.params.Model.Epochs), int64(pictures*(e.number-1))
	var correct int
	err := r.feeder.epoch(ctx, e.number, 0, func(step int, b *neural.Batch) error {
		score, err := r.trainer.Step(b, rate)
		if err != nil {
			return err
		}
		if !finite(score.Loss) {
			return &DivergedError{Epoch: e.number, Step: step + 1, Loss: score.Loss}
		}
		e.loss += float64(score.Loss * float64(b.Rows))
		correct += score.Correct
		done += int64(b.Rows)
		r.task.Progress(done, total, "images")
		return nil
	})
	if err != nil {
		return err
	}
	e.loss /= float64(pictures)
	e.accuracy = float64(correct) / float64(pictures)
	return nil
}

// validate measures the weights on the validation pictures, as they are.
func (r *run) validate(ctx context.Context, e *epoch) error {
	a := r.validation
	if len(a.rows) == 0 {
		return nil
	}
	examples := make([]neural.Example, len(a.rows))
	for i := range a.rows {
		examples[i] = neural.Example{Label: a.labels[i], Fill: func(values []float32) error {
			pixels, err := a.pixels(ctx, i)
			if err == nil {
				model.Scale(values, pixels)
			}
			return err
		}}
	}
	score, err := r.trainer.Measure(ctx, examples)
	if err != nil {
		return err
	}
	if !finite(score.Loss) {
		return &DivergedError{Epoch: e.number, Loss: score.Loss}
	}
	e.validated = true
	e.validationLoss = score.Loss
	e.validationAccuracy = float64(score.Correct) / float64(len(examples))
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
			Train:      len(r.feeder.album.rows),
			Validation: len(r.validation.rows),
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
