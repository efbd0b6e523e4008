package train

import (
	"slices"

	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/manifest"
)

// stopper decides when training ends early, and keeps the weights that were best.
type stopper struct {
	rule  *manifest.EarlyStopping // nil never stops and restores nothing
	epoch int                     // the best so far; 0 before the first
	value float64                 // what was monitored in it
	kept  [][]float32             // its weights
}

func newStopper(rule *manifest.EarlyStopping) *stopper { return &stopper{rule: rule} }

// after takes note of an epoch and the weights at its end, and tells whether training
// should stop.
func (s *stopper) after(e epoch, weights []model.Tensor) bool {
	if s.rule == nil {
		return false
	}
	// A smaller value is better; so the accuracy counts negative.
	value := e.validationLoss
	if s.rule.Monitor == "val_accuracy" {
		value = -e.validationAccuracy
	}
	if s.epoch == 0 || value+s.rule.MinDelta < s.value {
		s.epoch, s.value = e.number, value
		s.keep(weights)
		return false
	}
	return e.number-s.epoch >= s.rule.Patience
}

func (s *stopper) keep(weights []model.Tensor) {
	if !s.rule.RestoreBest {
		return
	}
	if s.kept == nil {
		s.kept = make([][]float32, len(weights))
	}
	for i, w := range weights {
		s.kept[i] = append(s.kept[i][:0], w.Data...)
	}
}

// result returns the weights to be used and their epoch: the best ones if the rule
// restores them, whether training stopped early or not, and otherwise the last.
func (s *stopper) result(last []model.Tensor, lastEpoch int) ([]model.Tensor, int) {
	if s.kept == nil {
		return last, lastEpoch
	}
	best := slices.Clone(last)
	for i := range best {
		best[i].Data = s.kept[i]
	}
	return best, s.epoch
}
