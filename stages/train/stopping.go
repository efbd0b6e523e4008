package train

import (
	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/manifest"
)

// stopper decides when training ends early, and keeps the weights that were best.
type stopper struct {
	rule  *manifest.EarlyStopping // nil never stops and restores nothing
	epoch int                     // the best so far; 0 before the first
	value float64                 // what was monitored in it
	kept  []model.Tensor          // its weights
}

func newStopper(rule *manifest.EarlyStopping) *stopper { return &stopper{rule: rule} }

// after takes note of an epoch, and of the weights at its end if they are the best so
// far, and tells whether training should stop.
func (s *stopper) after(e epoch, weights func() ([]model.Tensor, error)) (stop bool, err error) {
	if s.rule == nil {
		return false, nil
	}
	value := e.monitored(s.rule.Monitor)
	if s.epoch == 0 || value+s.rule.MinDelta < s.value {
		s.epoch, s.value = e.number, value
		if s.rule.RestoreBest {
			s.kept, err = weights()
		}
		return false, err
	}
	return e.number-s.epoch >= s.rule.Patience, nil
}

// result returns the weights to be used and their epoch: the best ones if the rule
// restores them, whether training stopped early or not, and otherwise the last.
func (s *stopper) result(last []model.Tensor, lastEpoch int) ([]model.Tensor, int) {
	if s.kept == nil {
		return last, lastEpoch
	}
	return s.kept, s.epoch
}
