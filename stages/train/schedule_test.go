package train

import (
	"math"
	"testing"

	"github.com/sandwich-build/sandwich/manifest"
)

func TestSchedules(t *testing.T) {
	model := func(s manifest.Schedule) manifest.Model {
		return manifest.Model{Optimizer: manifest.Optimizer{LearningRate: 2}, Schedule: s, Epochs: 4}
	}
	const steps = 10
	for name, test := range map[string]struct {
		rule manifest.Schedule
		want map[[2]int]float64 // by epoch and step
	}{
		"constant": {manifest.Schedule{}, map[[2]int]float64{{1, 0}: 2, {4, 9}: 2}},
		"step": {
			manifest.Schedule{Step: &manifest.StepSchedule{Every: 2, Factor: 0.1}},
			map[[2]int]float64{{1, 0}: 2, {2, 9}: 2, {3, 0}: 0.2, {4, 9}: 0.2},
		},
		// Half a cosine from the first step to the last, torch's CosineAnnealingLR with
		// T_max = 39.
		"cosine": {
			manifest.Schedule{Cosine: &manifest.CosineSchedule{}},
			map[[2]int]float64{{1, 0}: 2, {2, 0}: 1 + math.Cos(math.Pi*10/39), {4, 9}: 0},
		},
		"cosine with warm-up": {
			manifest.Schedule{Cosine: &manifest.CosineSchedule{WarmUp: 1, Floor: 0.1}},
			map[[2]int]float64{{1, 0}: 0.2, {1, 9}: 2, {2, 0}: 2, {4, 9}: 0.2},
		},
	} {
		s := newSchedule(model(test.rule), steps)
		for at, want := range test.want {
			if got := s.rate(at[0], at[1]); math.Abs(got-want) > 1e-12 {
				t.Errorf("%s: the rate in epoch %d, step %d is %v, want %v", name, at[0], at[1], got, want)
			}
		}
	}
}

// The factors are those of Keras 2's ReduceLROnPlateau for the same losses.
func TestPlateau(t *testing.T) {
	rule := &manifest.PlateauSchedule{Monitor: "val_loss", Factor: 0.5, Patience: 2, MinDelta: 0.1, Floor: 0.2}
	s := newSchedule(manifest.Model{Optimizer: manifest.Optimizer{LearningRate: 1}, Schedule: manifest.Schedule{Plateau: rule}, Epochs: 20}, 1)
	losses := []float64{3, 2, 1.95, 1.95, 1.95, 1.95, 1, 1, 1, 1, 1, 1, 1}
	want := []float64{1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2, 0.2, 0.2, 0.2, 0.2}
	for i, loss := range losses {
		s.after(epoch{number: i + 1, validated: true, validationLoss: loss})
		if got := s.rate(i+2, 0); math.Abs(got-want[i]) > 1e-12 {
			t.Errorf("after epoch %d the rate is %v, want %v", i+1, got, want[i])
		}
	}
}
