package cli

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages/evaluate"
	"github.com/sandwich-build/sandwich/stages/train"
)

// someVariants are of every sort: built, built without validation pictures, failed, and
// not begun.
func someVariants() *pipeline.MatrixOutcome {
	variant := func(batch string, o *pipeline.Outcome, err error) pipeline.VariantOutcome {
		return pipeline.VariantOutcome{
			Variant: pipeline.Variant{Set: []manifest.Setting{manifest.Setting("model.batch=" + batch), "crop={size: 64}"}},
			Outcome: o, Err: err,
		}
	}
	outcome := func(hash string, v *train.Validation) *pipeline.Outcome {
		return &pipeline.Outcome{
			Package: "a/b@" + strings.Repeat(hash, 64), Created: true, Ran: 3, Stages: 8, Validation: v,
			Metrics: &evaluate.Metrics{Accuracy: evaluate.Accuracy{Correct: 3, Value: 0.75, Low: 0.3, High: 0.954}},
		}
	}
	return &pipeline.MatrixOutcome{Best: 0, Variants: []pipeline.VariantOutcome{
		variant("8", outcome("1", &train.Validation{Epoch: 2, Loss: 0.25, Accuracy: 0.875}), nil),
		variant("128", outcome("2", nil), nil),
		variant("9", nil, errors.New("train: no")),
		variant("10", nil, nil),
	}}
}

func TestMetricsTable(t *testing.T) {
	axes := []manifest.Axis{{Path: "model.batch"}, {Path: "crop"}}
	got := strings.Join(metricsTable(axes, newMatrixAnswer(someVariants())), "\n")
	want := `
model.batch  crop        val_accuracy  val_loss  accuracy (95 %)          ran     package
8            {size: 64}  0.8750        0.2500    0.7500 (0.300 to 0.954)  3 of 8  111111111111 (latest)
128          {size: 64}  -             -         0.7500 (0.300 to 0.954)  3 of 8  222222222222
9            {size: 64}  -             -         -                        -       failed
10           {size: 64}  -             -         -                        -       not begun`
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestMatrixAnswerJSON(t *testing.T) {
	m := someVariants()
	m.Variants[0].Outcome.Metrics, m.Variants[1].Outcome.Metrics = nil, nil
	got, err := json.Marshal(newMatrixAnswer(m))
	if err != nil {
		t.Fatal(err)
	}
	const built = `"created":true,"ran":3,"stages":8,"dead":0,"quarantined":0,"lock_changed":false`
	ones, twos := strings.Repeat("1", 64), strings.Repeat("2", 64)
	want := `{"variants":[` +
		`{"set":["model.batch=8","crop={size: 64}"],"package":"a/b@` + ones + `",` + built + `,"validation":{"epoch":2,"loss":0.25,"accuracy":0.875}},` +
		`{"set":["model.batch=128","crop={size: 64}"],"package":"a/b@` + twos + `",` + built + `},` +
		`{"set":["model.batch=9","crop={size: 64}"],"error":"train: no"},` +
		`{"set":["model.batch=10","crop={size: 64}"]}],` +
		`"latest":"a/b@` + ones + `"}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
