package train

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Validation is how a trained model did on the validation pictures, in the epoch that its
// weights are of.
type Validation struct {
	Epoch    int     `json:"epoch"`
	Loss     float64 `json:"loss"`
	Accuracy float64 `json:"accuracy"`
}

// Better reports whether v is the better one: more pictures are right or, where those are
// as many, the loss is smaller. Nothing is worse than no validation.
func (v *Validation) Better(than *Validation) bool {
	switch {
	case v == nil || than == nil:
		return v != nil
	case v.Accuracy != than.Accuracy:
		return v.Accuracy > than.Accuracy
	}
	return v.Loss < than.Loss
}

// ReadValidation reads it from the stage's output. It is nil where there were no
// validation pictures.
func ReadValidation(ctx context.Context, output cas.Tree) (*Validation, error) {
	text, err := output.ReadFile(ctx, model.DescriptionFile)
	if err != nil {
		return nil, err
	}
	var description struct {
		Trained model.Counts `json:"trained"`
	}
	if err := json.Unmarshal(text, &description); err != nil {
		return nil, fmt.Errorf("%s: %w", model.DescriptionFile, err)
	}
	text, err = output.ReadFile(ctx, HistoryFile)
	if err != nil {
		return nil, err
	}
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", HistoryFile, err)
	}
	v := &Validation{Epoch: description.Trained.BestEpoch}
	if v.Epoch < 1 || v.Epoch >= len(rows) {
		return nil, fmt.Errorf("%s: no epoch %d", HistoryFile, v.Epoch)
	}
	row := rows[v.Epoch] // below the header
	if row[3] == "" {
		return nil, nil
	}
	if v.Loss, err = strconv.ParseFloat(row[3], 64); err == nil {
		v.Accuracy, err = strconv.ParseFloat(row[4], 64)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: epoch %d: %w", HistoryFile, v.Epoch, err)
	}
	return v, nil
}
