package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"strconv"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/evaluate"
	"github.com/sandwich-build/sandwich/stages/train"
)

// maxMetrics bounds the file of a stage of the user's own, in bytes.
const maxMetrics = 1 << 20

// ownMetrics returns the numbers of the metrics.json that stages of the user's own have left,
// by stage and by the dotted path within the file.
func (s *session) ownMetrics(ctx context.Context, b *stages.Build) (map[string]map[string]float64, error) {
	var all map[string]map[string]float64 // nil when there are none
	for _, c := range s.Manifest.Stages {
		if _, built := b.Step(c.Name); !built {
			continue
		}
		tree := b.Tree(c.Name)
		d, err := tree.Lookup(ctx, evaluate.MetricsFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && d.Size() > maxMetrics {
			err = fmt.Errorf("%s has %d bytes, more than %d", evaluate.MetricsFile, d.Size(), maxMetrics)
		}
		var text []byte
		if err == nil {
			text, err = tree.ReadFile(ctx, evaluate.MetricsFile)
		}
		var numbers map[string]float64
		if err == nil {
			numbers, err = parseMetrics(text)
		}
		if err != nil {
			return nil, &stages.StageError{Stage: c.Name, Err: err}
		}
		if all == nil {
			all = make(map[string]map[string]float64)
		}
		all[c.Name] = numbers
	}
	return all, nil
}

// parseMetrics returns the numbers of a JSON value, by their dotted paths. What is no number
// is left out.
func parseMetrics(text []byte) (map[string]float64, error) {
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return nil, fmt.Errorf("%s: %w", evaluate.MetricsFile, err)
	}
	numbers := make(map[string]float64)
	addNumbers(numbers, "", value)
	return numbers, nil
}

func addNumbers(numbers map[string]float64, at string, value any) {
	below := func(name string, v any) {
		if at != "" {
			name = at + "." + name
		}
		addNumbers(numbers, name, v)
	}
	switch v := value.(type) {
	case map[string]any:
		for name, inner := range v {
			below(name, inner)
		}
	case []any:
		for i, inner := range v {
			below(strconv.Itoa(i), inner)
		}
	case float64:
		numbers[at] = v
	}
}

// measured completes an outcome with what its stages have measured.
func (s *session) measured(ctx context.Context, o *Outcome) (err error) {
	if o.Own, err = s.ownMetrics(ctx, o.Build); err != nil {
		return err
	}
	if s.Manifest.Command(Evaluate) == nil {
		o.Metrics, err = readMetrics(ctx, o.Build)
	} else if accuracy, ok := o.Own[Evaluate]["accuracy"]; ok {
		o.Accuracy = &accuracy
	}
	if o.Metrics != nil {
		o.Accuracy = &o.Metrics.Accuracy.Value
	}
	if err != nil {
		return err
	}
	if _, ok := o.Build.Step(Train); !ok {
		return nil
	}
	if s.Manifest.Command(Train) == nil {
		o.Validation, err = train.ReadValidation(ctx, o.Build.Tree(Train))
		return err
	}
	o.Validation = ownValidation(o.Own[Train])
	return nil
}

// ownValidation is what a stage of the user's own says of the validation pictures: val_accuracy,
// and val_loss if it has that, by Keras' names.
func ownValidation(numbers map[string]float64) *train.Validation {
	accuracy, ok := numbers["val_accuracy"]
	if !ok {
		return nil
	}
	loss, ok := numbers["val_loss"]
	if !ok {
		loss = math.MaxFloat64 // JSON has no infinity
	}
	return &train.Validation{Epoch: int(numbers["epoch"]), Accuracy: accuracy, Loss: loss}
}

// metricsOf returns the numbers of a stage of the user's own.
func (o *Outcome) metricsOf(stage string) map[string]float64 {
	if o == nil {
		return nil
	}
	return maps.Clone(o.Own[stage])
}
