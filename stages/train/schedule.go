package train

import (
	"math"

	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages/train/exact/portable"
)

// schedule says the learning rate of each step.
type schedule struct {
	rule   manifest.Schedule
	base   float64
	steps  int // of an epoch
	epochs int

	plateau plateau
}

// plateau is what a schedule remembers of the epochs so far. It is part of a checkpoint.
type plateau struct {
	Factor float64 `json:"factor"` // what the rate is multiplied by now
	Best   float64 `json:"best"`   // of what is monitored; smaller is better
	Epoch  int     `json:"epoch"`  // of the best, or of the last change; 0 before the first
	Seen   bool    `json:"seen"`   // whether there was a best
}

func newSchedule(m manifest.Model, steps int) *schedule {
	return &schedule{rule: m.Schedule, base: m.Optimizer.LearningRate, steps: steps, epochs: m.Epochs, plateau: plateau{Factor: 1}}
}

// rate is the learning rate of a step, from 0, of an epoch, from 1.
func (s *schedule) rate(epoch, step int) float64 {
	switch {
	case s.rule.Step != nil:
		rate := s.base
		for range (epoch - 1) / s.rule.Step.Every {
			rate *= s.rule.Step.Factor
		}
		return rate
	case s.rule.Cosine != nil:
		return s.base * s.cosine(float64((epoch-1)*s.steps+step))
	case s.rule.Plateau != nil:
		return s.base * math.Max(s.plateau.Factor, s.rule.Plateau.Floor)
	}
	return s.base
}

// cosine is the fraction of the learning rate in a step of all.
func (s *schedule) cosine(step float64) float64 {
	c := s.rule.Cosine
	warm, total := c.WarmUp*float64(s.steps), float64(s.epochs*s.steps)
	if step < warm {
		return (step + 1) / math.Max(warm, 1)
	}
	way := (step - warm) / math.Max(total-1-warm, 1) // 1 in the last step
	half := float64(0.5 * (1 + portable.Cos(math.Pi*math.Min(way, 1))))
	return c.Floor + float64((1-c.Floor)*half)
}

// after takes note of an epoch, and tells whether the rate changes. It is Keras'
// ReduceLROnPlateau without a cool-down.
func (s *schedule) after(e epoch) bool {
	r := s.rule.Plateau
	if r == nil || !e.validated {
		return false
	}
	p := &s.plateau
	value := e.monitored(r.Monitor)
	if !p.Seen || value < p.Best-r.MinDelta {
		p.Best, p.Epoch, p.Seen = value, e.number, true
		return false
	}
	if e.number-p.Epoch < r.Patience || p.Factor <= r.Floor {
		return false
	}
	p.Epoch = e.number
	p.Factor *= r.Factor
	return true
}
