package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

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
	drawn      *course // of the pictures to validate on; nil for all of the album
	schedule   *schedule
	stop       *stopper
	said       []string
	history    []epoch
	kept       time.Time      // when the last checkpoint was
	weights    []model.Tensor // of the epoch best, when training has ended
	best       int
}

// say tells the person something that a run that goes on from a checkpoint tells again.
func (r *run) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	r.said = append(r.said, line)
	r.task.Infof("%s", line)
}

func (r *run) train(ctx context.Context) error {
	p := r.kind.params.Model
	rule := p.EarlyStopping
	if len(r.validation.rows) == 0 && rule != nil {
		r.task.Warnf("no picture to validate on, so early stopping is off; raise split.validation to have it")
		rule = nil
	}
	if len(r.validation.rows) == 0 && p.Schedule.Plateau != nil {
		r.task.Warnf("no picture to validate on, so the learning rate stays; raise split.validation to have it lowered")
	}
	r.stop = newStopper(rule)
	r.task.Infof("%d parameters, %d training pictures, %d validation pictures",
		r.kind.network.ParameterCount(), len(r.feeder.album.rows), r.heldOut())
	if p.RepeatArticle {
		r.task.Infof("repeating the article: val_loss and val_accuracy are of training pictures")
	}
	e, step := r.resume(ctx)
	r.kept = time.Now()
	for stopped := false; !stopped && e.number <= p.Epochs; e, step = (epoch{number: e.number + 1}), 0 {
		if err := r.pass(ctx, &e, step); err != nil {
			return err
		}
		var err error
		if stopped, err = r.finish(ctx, e); err != nil {
			return err
		}
	}
	last, err := r.trainer.Weights()
	if err != nil {
		return err
	}
	r.weights, r.best = r.stop.result(last, len(r.history))
	if r.best < len(r.history) {
		r.task.Infof("restored the weights of epoch %d", r.best)
	}
	return r.checkFinite()
}

// finish validates an epoch, and tells whether it was the last.
func (r *run) finish(ctx context.Context, e epoch) (stopped bool, err error) {
	p := r.kind.params.Model
	if err := r.validate(ctx, &e); err != nil {
		return false, r.interrupted(ctx, err, e, r.feeder.course.steps)
	}
	e.mean(r.feeder.course.during(e.number, r.feeder.course.steps))
	r.history = append(r.history, e)
	r.say("epoch %d/%d: %s", e.number, p.Epochs, e)
	if r.schedule.after(e) {
		r.say("the learning rate is %.3g now: %s has not improved for %d epochs",
			r.schedule.rate(e.number+1, 0), p.Schedule.Plateau.Monitor, p.Schedule.Plateau.Patience)
	}
	stopped, err = r.stop.after(e, r.trainer.Weights)
	if stopped {
		r.task.Infof("stopped: %s has not improved for %d epochs", p.EarlyStopping.Monitor, p.EarlyStopping.Patience)
	}
	return stopped, err
}

// pass trains for an epoch, from a step on.
func (r *run) pass(ctx context.Context, e *epoch, from int) error {
	course := r.feeder.course
	total := int64(course.before(r.kind.params.Model.Epochs+1, 0))
	next := from
	err := r.feeder.epoch(ctx, e.number, from, func(step int, b *neural.Batch) error {
		score, err := r.trainer.Step(b, r.schedule.rate(e.number, step))
		if err != nil {
			return err
		}
		if !finite(score.Loss) {
			where, err := r.trainer.Blame(b)
			return errors.Join(err, &DivergedError{Epoch: e.number, Step: step + 1, Loss: score.Loss, Where: where})
		}
		e.loss += float64(score.Loss * float64(b.Rows))
		e.correct += score.Correct
		next = step + 1
		pictures := float64(course.during(e.number, next))
		r.task.Describe(int64(course.before(e.number, next)), total, "images", fmt.Sprintf("epoch %d, loss %.4f, accuracy %.3f", e.number, e.loss/pictures, float64(e.correct)/pictures))
		if time.Since(r.kept) < r.kind.every {
			return nil
		}
		r.kept = time.Now()
		_ = r.keep(ctx, *e, next) // a run that cannot be gone on with is a run all the same
		return nil
	})
	if err != nil {
		return r.interrupted(ctx, err, *e, next)
	}
	return nil
}

// interrupted keeps a checkpoint if a run ends because it was told to. It returns err.
func (r *run) interrupted(ctx context.Context, err error, e epoch, step int) error {
	if ctx.Err() != nil {
		_ = r.keep(context.WithoutCancel(ctx), e, step) // the run ends anyway
	}
	return err
}

// heldOut is how many pictures are validated on and not trained on.
func (r *run) heldOut() int {
	if r.drawn != nil {
		return 0
	}
	return len(r.validation.rows)
}

// watched are the pictures to validate an epoch on.
func (r *run) watched(epoch int) []int {
	var list []int
	if r.drawn == nil {
		for i := range r.validation.rows {
			list = append(list, i)
		}
		return list
	}
	for step := range r.drawn.steps {
		_, pictures := r.drawn.at(epoch, step)
		list = append(list, pictures...)
	}
	return list
}

// validate measures the weights on validation pictures, as they are.
func (r *run) validate(ctx context.Context, e *epoch) error {
	a := r.validation
	if len(a.rows) == 0 {
		return nil
	}
	pictures := r.watched(e.number)
	examples := make([]neural.Example, len(pictures))
	for at, i := range pictures {
		examples[at] = neural.Example{Label: a.labels[i], Fill: func(values []float32) error {
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
		Input:   r.kind.deployed(),
		Weights: r.weights,
		Counts: model.Counts{
			Train:      len(r.feeder.album.rows),
			Validation: r.heldOut(),
			Epochs:     len(r.history),
			BestEpoch:  r.best,
		},
	}
	desc, weights, err := m.Encode()
	if err != nil {
		return err
	}
	graph, err := m.ONNX()
	if err != nil {
		return err
	}
	r.task.Count("epochs", int64(len(r.history)))
	r.task.Count("parameters", int64(r.kind.network.ParameterCount()))
	out := r.task.Out()
	return errors.Join(
		out.PutBytes(ctx, model.DescriptionFile, desc),
		out.PutBytes(ctx, model.WeightsFile, weights),
		out.PutBytes(ctx, model.ONNXFile, graph),
		out.PutBytes(ctx, HistoryFile, encodeHistory(r.history)),
	)
}
