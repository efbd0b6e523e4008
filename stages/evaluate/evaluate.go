// Package evaluate is the stage that measures a trained model on the test crops, and on
// nothing else: no training or validation picture is read. Only where the article's procedure
// is repeated, all crops are, and the report says so.
package evaluate

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"image"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/internal/neural"
	"github.com/sandwich-build/sandwich/internal/photo"
	"github.com/sandwich-build/sandwich/internal/table"
	"github.com/sandwich-build/sandwich/stages"
)

// The inputs of the stage.
const (
	InputCrops = "crops" // the tree of the crop stage
	InputSplit = "split" // the tree of the split stage
	InputModel = "model" // the tree of the train stage
)

// The files of its output.
const (
	ReportFile      = "report.txt"      // for people
	MetricsFile     = "metrics.json"    // the same numbers, see Metrics
	PredictionsFile = "predictions.csv" // a row for each test crop
)

// ErrNoTest says that there is no test crop.
var ErrNoTest = errors.New("no crop to test on; raise split.test")

// block is how many pictures are in memory at a time.
const block = 64

// Params decide what is measured.
type Params struct {
	// RepeatArticle measures on all crops, those that the model was trained on.
	RepeatArticle bool `json:"repeat_article,omitempty"`
}

// Kind is the stage kind.
type Kind struct {
	params  Params
	backend string
}

// New returns the kind. What it computes on, as package neural takes it, is part of the
// environment.
func New(p Params, backend string) *Kind { return &Kind{params: p, backend: backend} }

// Parse makes the kind of its parameters, as they are in an action.
func Parse(text []byte, backend string) (*Kind, error) {
	p, err := stages.ParseParams[Params](text)
	return New(p, backend), err
}

// Name implements stages.Kind.
func (*Kind) Name() string { return "evaluate" }

// Version implements stages.Kind.
func (*Kind) Version() int { return 5 }

// Params implements stages.Kind.
func (k *Kind) Params() any { return k.params }

// Run implements stages.Kind. Without a test crop it fails with ErrNoTest: a model of
// which nobody knows how good it is should not look like one that was measured.
func (k *Kind) Run(ctx context.Context, t *stages.Task) error {
	m, err := loadModel(ctx, t)
	if err != nil {
		return err
	}
	rows, err := k.rows(ctx, t)
	if err != nil {
		return err
	}
	labels := m.Network.Labels()
	for _, row := range rows {
		if !slices.Contains(labels, row.Label) {
			return fmt.Errorf("crop %s: the label %q is none of the model's %q", row.Path, row.Label, labels)
		}
	}
	probabilities, err := k.predict(ctx, t, m, rows)
	if err != nil {
		return err
	}
	return k.write(ctx, t, labels, rows, probabilities)
}

func loadModel(ctx context.Context, t *stages.Task) (*model.Model, error) {
	tree := t.Input(InputModel)
	desc, err := tree.ReadFile(ctx, model.DescriptionFile)
	if err != nil {
		return nil, err
	}
	weights, err := tree.ReadFile(ctx, model.WeightsFile)
	if err != nil {
		return nil, err
	}
	return model.Decode(desc, weights)
}

// rows returns the crops to measure on.
func (k *Kind) rows(ctx context.Context, t *stages.Task) ([]cropfile.Assignment, error) {
	var rows []cropfile.Assignment
	for row, err := range table.Rows(ctx, t.Input(InputSplit), cropfile.SplitFile, cropfile.Split) {
		if err != nil {
			return nil, err
		}
		if row.Set == cropfile.Test || k.params.RepeatArticle {
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return nil, ErrNoTest
	}
	return rows, nil
}

// predict returns the probabilities of each row's crop.
func (k *Kind) predict(ctx context.Context, t *stages.Task, m *model.Model, rows []cropfile.Assignment) ([][]float32, error) {
	predictor, err := neural.NewPredictor(m, neural.Options{Backend: k.backend, Workers: t.Workers()})
	if err != nil {
		return nil, err
	}
	defer predictor.Close()
	var all [][]float32
	for part := range slices.Chunk(rows, block) {
		pictures, err := decode(ctx, t, part)
		if err != nil {
			return nil, err
		}
		probabilities, err := predictor.Predict(ctx, pictures)
		if err != nil {
			return nil, err
		}
		all = append(all, probabilities...)
		t.Progress(int64(len(all)), int64(len(rows)), "crops")
	}
	return all, nil
}

func decode(ctx context.Context, t *stages.Task, rows []cropfile.Assignment) ([]image.Image, error) {
	pictures := make([]image.Image, len(rows))
	tree := t.Input(InputCrops)
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(t.Workers())
	for i, row := range rows {
		if running.Err() != nil {
			break // the rest is not wanted any more
		}
		group.Go(func() error {
			file, err := tree.ReadFile(running, row.Path)
			if err != nil {
				return fmt.Errorf("crop %s: %w", row.Path, err)
			}
			pictures[i], err = photo.Decode(running, file, photo.DefaultLimits())
			if err != nil {
				return fmt.Errorf("crop %s: %w", row.Path, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return pictures, context.Cause(ctx) // some are missing when it has ended
}

func (k *Kind) write(ctx context.Context, t *stages.Task, labels []string, rows []cropfile.Assignment, probabilities [][]float32) error {
	confusion := make([][]int, len(labels))
	for i := range confusion {
		confusion[i] = make([]int, len(labels))
	}
	for i, row := range rows {
		confusion[slices.Index(labels, row.Label)][model.Largest(probabilities[i])]++
	}
	m := measure(labels, confusion)
	m.RepeatArticle = k.params.RepeatArticle
	metrics, err := m.encode()
	if err != nil {
		return err
	}
	predictions, err := encodePredictions(labels, rows, probabilities)
	if err != nil {
		return err
	}
	on := "test pictures"
	if m.RepeatArticle {
		on = "pictures that it was trained on, as the article did"
	}
	t.Infof("accuracy %.3f on %d %s (95 %% interval %.3f to %.3f)", m.Accuracy.Value, m.Pictures, on, m.Accuracy.Low, m.Accuracy.High)
	t.Count("correct", int64(m.Accuracy.Correct))
	t.Count("tested", int64(m.Pictures))
	out := t.Out()
	return errors.Join(
		out.PutBytes(ctx, ReportFile, []byte(m.report())),
		out.PutBytes(ctx, MetricsFile, metrics),
		out.PutBytes(ctx, PredictionsFile, predictions),
		writeCurve(ctx, t),
	)
}

// encodePredictions writes predictions.csv: the crop, its label, the predicted one, and
// a column P(label) for the probability of each.
func encodePredictions(labels []string, rows []cropfile.Assignment, probabilities [][]float32) ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	header := []string{"Crop", "Label", "Predicted"}
	for _, label := range labels {
		header = append(header, "P("+label+")")
	}
	records := [][]string{header}
	for i, row := range rows {
		record := []string{row.Path, row.Label, labels[model.Largest(probabilities[i])]}
		for _, p := range probabilities[i] {
			record = append(record, strconv.FormatFloat(float64(p), 'g', -1, 32))
		}
		records = append(records, record)
	}
	if err := w.WriteAll(records); err != nil {
		return nil, fmt.Errorf("encode %s: %w", PredictionsFile, err)
	}
	return b.Bytes(), nil
}
