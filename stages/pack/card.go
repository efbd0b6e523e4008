package pack

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"text/template"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/stages"
)

//go:embed card.md.tmpl
var cardText string

// card is what the template of the package's README.md shows.
type card struct {
	Params
	Labels   []labelCount
	Total    labelCount
	Photos   int
	Licences []licenceCount
	Report   string // of the evaluation, as text
}

// labelCount counts the crops of a label.
type labelCount struct {
	Label                   string
	Train, Validation, Test int
}

func (c *labelCount) add(s cropfile.Set) {
	switch s {
	case cropfile.Train:
		c.Train++
	case cropfile.Validation:
		c.Validation++
	case cropfile.Test:
		c.Test++
	}
}

type licenceCount struct {
	Licence string
	Photos  int
}

// card writes the package's README.md.
func (k Kind) card(ctx context.Context, t *stages.Task, assigned map[string]cropfile.Assignment, photos photoCount) ([]byte, error) {
	report, err := t.Input(Evaluation).ReadFile(ctx, "report.txt")
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a stage of the user's own may leave none
		return nil, err
	}
	c := card{Params: k.params, Photos: photos.total, Report: string(bytes.TrimRight(report, "\n"))}
	c.Labels, c.Total = countLabels(assigned)
	for licence, n := range photos.licences {
		c.Licences = append(c.Licences, licenceCount{cmp.Or(licence, "not stated"), n})
	}
	slices.SortFunc(c.Licences, func(a, b licenceCount) int {
		return cmp.Or(cmp.Compare(b.Photos, a.Photos), cmp.Compare(a.Licence, b.Licence))
	})
	tmpl, err := template.New("card").Parse(cardText)
	if err != nil {
		return nil, fmt.Errorf("card: %w", err)
	}
	var buf bytes.Buffer
	if err := tmpl.Execute(&buf, c); err != nil {
		return nil, fmt.Errorf("card: %w", err)
	}
	return buf.Bytes(), nil
}

func countLabels(assigned map[string]cropfile.Assignment) ([]labelCount, labelCount) {
	byLabel := make(map[string]*labelCount)
	total := labelCount{Label: "all"}
	for _, a := range assigned {
		if byLabel[a.Label] == nil {
			byLabel[a.Label] = &labelCount{Label: a.Label}
		}
		byLabel[a.Label].add(a.Set)
		total.add(a.Set)
	}
	var labels []labelCount
	for _, label := range slices.Sorted(maps.Keys(byLabel)) {
		labels = append(labels, *byLabel[label])
	}
	return labels, total
}
