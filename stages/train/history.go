package train

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// epoch is what one pass over the training pictures gave.
type epoch struct {
	number   int     // from 1
	loss     float64 // mean over the pictures, each as it was before its step; the sum until mean
	accuracy float64
	correct  int // pictures so far

	validated          bool // the fields below are set
	validationLoss     float64
	validationAccuracy float64
}

// mean ends an epoch over so many pictures.
func (e *epoch) mean(pictures int) {
	e.loss /= float64(pictures)
	e.accuracy = float64(e.correct) / float64(pictures)
}

// monitored is a value of the validation; smaller is better, so the accuracy counts
// negative.
func (e epoch) monitored(name string) float64 {
	if name == "val_accuracy" {
		return -e.validationAccuracy
	}
	return e.validationLoss
}

// String is the epoch as a person sees it.
func (e epoch) String() string {
	text := fmt.Sprintf("loss %.4f, accuracy %.3f", e.loss, e.accuracy)
	if e.validated {
		text += fmt.Sprintf(", val_loss %.4f, val_accuracy %.3f", e.validationLoss, e.validationAccuracy)
	}
	return text
}

// encodeHistory writes history.csv. Values have the fewest digits that tell their
// float32 apart; what was not measured is empty.
func encodeHistory(history []epoch) []byte {
	var b bytes.Buffer
	b.WriteString("epoch,loss,accuracy,val_loss,val_accuracy\n")
	for _, e := range history {
		row := []string{strconv.Itoa(e.number), decimal(e.loss), decimal(e.accuracy), "", ""}
		if e.validated {
			row[3], row[4] = decimal(e.validationLoss), decimal(e.validationAccuracy)
		}
		b.WriteString(strings.Join(row, ",") + "\n")
	}
	return b.Bytes()
}

func decimal(v float64) string {
	return strconv.FormatFloat(float64(float32(v)), 'g', -1, 32)
}
