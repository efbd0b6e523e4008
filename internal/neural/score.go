package neural

import (
	"math"

	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/stages/train/exact/portable"
)

// classScores returns one score for each label. A single logit z stands for the
// scores 0 and z: the sigmoid of z is their softmax.
func classScores(logits []float32) []float64 {
	if len(logits) == 1 {
		return []float64{0, float64(logits[0])}
	}
	scores := make([]float64, len(logits))
	for i, z := range logits {
		scores[i] = float64(z)
	}
	return scores
}

// powers returns the powers of scores less the highest, which keeps them from overflowing,
// their sum, and the highest.
func powers(scores []float64) (list []float64, sum, highest float64) {
	highest = math.Inf(-1)
	for _, z := range scores {
		highest = math.Max(highest, z) // NaN stays NaN
	}
	list = make([]float64, len(scores))
	for i, z := range scores {
		list[i] = portable.Exp(z - highest)
		sum += list[i]
	}
	return list, sum, highest
}

// probabilities is the softmax of scores.
func probabilities(scores []float64) []float32 {
	list, sum, _ := powers(scores)
	p := make([]float32, len(scores))
	for i, v := range list {
		p[i] = float32(v / sum)
	}
	return p
}

// crossEntropy of scores with how much of a picture is each label, which adds up to 1.
func crossEntropy(scores []float64, targets []float32) float64 {
	_, sum, highest := powers(scores)
	loss := portable.Log(sum) + highest
	for i, t := range targets {
		if t != 0 { // a score of -∞ with a target of 0 is no loss
			loss -= float64(float64(t) * scores[i])
		}
	}
	return loss
}

// Score is how good the scores of a batch are.
type Score struct {
	Loss    float64 // the sum of each picture's cross-entropy by its share
	Correct int     // pictures whose most probable label is the largest of their targets
}

// rate compares the logits of a batch with what they should be.
func rate(logits, targets, shares []float32) Score {
	var s Score
	rows := len(shares)
	outputs, labels := len(logits)/rows, len(targets)/rows
	for i, share := range shares {
		scores, target := classScores(logits[i*outputs:(i+1)*outputs]), targets[i*labels:(i+1)*labels]
		s.Loss += float64(float64(share) * crossEntropy(scores, target))
		if model.Largest(probabilities(scores)) == model.Largest(target) {
			s.Correct++
		}
	}
	return s
}
