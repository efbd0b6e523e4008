package train

import (
	"slices"
	"testing"

	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/manifest"
)

func TestEarlyStopping(t *testing.T) {
	tests := []struct {
		name   string
		rule   *manifest.EarlyStopping
		values []float64 // of val_loss, and of val_accuracy
		stop   int       // the epoch after which training stops, 0 for never
		best   int       // the epoch whose weights are returned
	}{
		{"none", nil, []float64{3, 4, 5, 6}, 0, 4},
		{"improving", &manifest.EarlyStopping{Monitor: "val_loss", Patience: 1, RestoreBest: true}, []float64{3, 2, 1}, 0, 3},
		{"stops", &manifest.EarlyStopping{Monitor: "val_loss", Patience: 2, RestoreBest: true}, []float64{3, 2, 2.5, 2}, 4, 2},
		{"recovers", &manifest.EarlyStopping{Monitor: "val_loss", Patience: 2, RestoreBest: true}, []float64{3, 2, 2.5, 1, 2}, 0, 4},
		{"restores nothing", &manifest.EarlyStopping{Monitor: "val_loss", Patience: 1}, []float64{3, 4}, 2, 2},
		{"too little", &manifest.EarlyStopping{Monitor: "val_loss", Patience: 2, MinDelta: 0.5, RestoreBest: true}, []float64{3, 2.6, 2.6}, 3, 1},
		{"restores without stopping", &manifest.EarlyStopping{Monitor: "val_loss", Patience: 9, RestoreBest: true}, []float64{3, 1, 2}, 0, 2},
		{"accuracy", &manifest.EarlyStopping{Monitor: "val_accuracy", Patience: 2, RestoreBest: true}, []float64{0.5, 0.8, 0.7, 0.8}, 4, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newStopper(test.rule)
			weights := []model.Tensor{{Name: "w", Dims: []int{1}, Data: []float32{0}}}
			last, stopped := 0, 0
			for i, v := range test.values {
				last = i + 1
				weights[0].Data[0] = float32(last) // training changes weights in place
				copied := func() ([]model.Tensor, error) {
					return []model.Tensor{{Name: "w", Dims: []int{1}, Data: slices.Clone(weights[0].Data)}}, nil
				}
				stop, err := s.after(epoch{number: last, validated: true, validationLoss: v, validationAccuracy: v}, copied)
				if err != nil {
					t.Fatal(err)
				}
				if stop {
					stopped = last
					break
				}
			}
			if stopped != test.stop {
				t.Errorf("stopped after epoch %d, want %d", stopped, test.stop)
			}
			restored, best := s.result(weights, last)
			if best != test.best || restored[0].Data[0] != float32(test.best) {
				t.Errorf("weights are of epoch %v, said to be of %d, want %d", restored[0].Data[0], best, test.best)
			}
		})
	}
}
