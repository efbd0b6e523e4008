package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// buildMatrix builds the variants of a project, and tells how they did.
func (a *app) buildMatrix(ctx context.Context, project *pipeline.Project, options pipeline.Options, strict bool) (builtAnswer, error) {
	outcome, err := pipeline.BuildMatrix(ctx, project, options)
	answer := newMatrixAnswer(outcome)
	if options.NoPush {
		answer.Latest = "" // no registry has it
	}
	if a.mode != ui.JSON {
		for _, line := range metricsTable(project.Manifest.Matrix, answer) {
			options.Observer.Observe(stages.Message{Stage: "matrix", Line: cas.Line{Text: line}})
		}
	}
	a.summary = matrixSummary(answer)
	for _, v := range answer.Variants {
		if strict && err == nil && v.buildAnswer != nil && v.Dead+v.Quarantined > 0 {
			err = &incompleteError{dead: v.Dead, quarantined: v.Quarantined}
		}
	}
	return &answer, err
}

// matrixAnswer is the answer of build for a manifest with a matrix.
type matrixAnswer struct {
	Variants []builtVariant `json:"variants"`
	Latest   string         `json:"latest,omitempty"` // the package that is the latest revision now
	Cache    *sharedTraffic `json:"cache,omitempty"`  // absent when no cache is shared
}

func (m *matrixAnswer) packages() []string {
	var all []string
	for _, v := range m.Variants {
		if v.buildAnswer != nil {
			all = append(all, v.buildAnswer.packages()...)
		}
	}
	return all
}

func (m *matrixAnswer) share(t sharedTraffic) { m.Cache = &t }

// builtVariant is a variant that was built, or why it was not. One without both was not
// begun.
type builtVariant struct {
	Set []manifest.Setting `json:"set"`
	*buildAnswer
	Error string `json:"error,omitempty"`
}

func newMatrixAnswer(m *pipeline.MatrixOutcome) matrixAnswer {
	answer := matrixAnswer{Variants: []builtVariant{}}
	for i, v := range m.Variants {
		one := builtVariant{Set: v.Set}
		if v.Outcome != nil {
			built := newBuildAnswer(v.Outcome)
			one.buildAnswer = &built
			if i == m.Best {
				answer.Latest = built.Package
			}
		}
		if v.Err != nil {
			one.Error = v.Err.Error()
		}
		answer.Variants = append(answer.Variants, one)
	}
	return answer
}

// Text writes the packages, in the order of the matrix.
func (m *matrixAnswer) Text(w io.Writer) {
	for _, v := range m.Variants {
		if v.buildAnswer != nil {
			v.buildAnswer.Text(w)
		}
	}
}

// matrixSummary says how much there was to do.
func matrixSummary(m matrixAnswer) string {
	ran, all := 0, 0
	for _, v := range m.Variants {
		if v.buildAnswer != nil {
			ran, all = ran+v.Ran, all+v.Stages
		}
	}
	summary := fmt.Sprintf("%s: %d of %d stages ran", ui.Plural(len(m.Variants), "variant"), ran, all)
	if m.Latest != "" {
		summary += "; the best on the validation pictures is the latest revision"
	}
	return summary
}

// metricsTable is a line for each variant: what it sets, and how it did.
func metricsTable(axes []manifest.Axis, m matrixAnswer) []string {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, axis := range axes {
		fmt.Fprintf(table, "%s\t", axis.Path)
	}
	own := ownColumns(m)
	for _, column := range own {
		fmt.Fprintf(table, "%s.%s\t", column.stage, column.name)
	}
	fmt.Fprint(table, "val_accuracy\tval_loss\taccuracy (95 %)\tran\tpackage\n")
	for _, v := range m.Variants {
		for i, s := range v.Set {
			fmt.Fprintf(table, "%s\t", strings.TrimPrefix(string(s), axes[i].Path+"="))
		}
		for _, column := range own {
			fmt.Fprintf(table, "%s\t", column.of(v))
		}
		latest := ""
		if m.Latest != "" && v.buildAnswer != nil && v.Package == m.Latest {
			latest = " (latest)"
		}
		fmt.Fprintln(table, strings.Join(measures(v), "\t")+latest)
	}
	_ = table.Flush() // a strings.Builder takes everything
	return strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
}

// maxOwn bounds how many numbers of the user's own stages a table has.
const maxOwn = 8

// ownColumn is a number that a stage of the user's own has measured.
type ownColumn struct{ stage, name string }

// ownColumns are the numbers that variants have of the user's own stages.
func ownColumns(m matrixAnswer) []ownColumn {
	var columns []ownColumn
	for _, v := range m.Variants {
		if v.buildAnswer == nil {
			continue
		}
		for stage, numbers := range v.Own {
			for name := range numbers {
				if c := (ownColumn{stage, name}); !slices.Contains(columns, c) {
					columns = append(columns, c)
				}
			}
		}
	}
	slices.SortFunc(columns, func(a, b ownColumn) int { return cmp.Or(cmp.Compare(a.stage, b.stage), cmp.Compare(a.name, b.name)) })
	return columns[:min(len(columns), maxOwn)]
}

// of is the cell of a variant.
func (c ownColumn) of(v builtVariant) string {
	if v.buildAnswer == nil {
		return "-"
	}
	number, ok := v.Own[c.stage][c.name]
	if !ok {
		return "-"
	}
	return strconv.FormatFloat(number, 'g', 6, 64)
}

// measures are the cells of a variant: an absent one is a dash.
func measures(v builtVariant) []string {
	cells := []string{"-", "-", "-", "-", "-"}
	switch {
	case v.Error != "":
		cells[4] = "failed"
		return cells
	case v.buildAnswer == nil:
		cells[4] = "not begun"
		return cells
	}
	if v.Validation != nil {
		cells[0], cells[1] = fmt.Sprintf("%.4f", v.Validation.Accuracy), fmt.Sprintf("%.4f", v.Validation.Loss)
	}
	if v.Metrics != nil {
		a := v.Metrics.Accuracy
		cells[2] = fmt.Sprintf("%.4f (%.3f to %.3f)", a.Value, a.Low, a.High)
	}
	cells[3] = fmt.Sprintf("%d of %d", v.Ran, v.Stages)
	if _, hash, ok := strings.Cut(v.Package, "@"); ok {
		cells[4] = hash[:min(len(hash), shortHash)]
	}
	return cells
}

// ofVariants is the answer of a verb that says something of each variant.
type ofVariants[T ui.Answer] struct {
	Variants []ofVariant[T] `json:"variants"`
}

type ofVariant[T ui.Answer] struct {
	Set    []manifest.Setting `json:"set"`
	Answer T                  `json:"answer"`
	title  string
}

// ofEach asks about every variant of a project; about the project itself when it has no
// matrix.
func ofEach[T ui.Answer](project *pipeline.Project, ask func(*pipeline.Project) (T, error)) (ui.Answer, error) {
	if len(project.Manifest.Matrix) == 0 {
		return ask(project)
	}
	var all ofVariants[T]
	for _, v := range project.Variants() {
		answer, err := ask(v.Project)
		if err != nil {
			return nil, err
		}
		all.Variants = append(all.Variants, ofVariant[T]{Set: v.Set, Answer: answer, title: v.Title()})
	}
	return all, nil
}

// Text writes the answers below each other.
func (o ofVariants[T]) Text(w io.Writer) {
	for i, v := range o.Variants {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "variant %s\n", ui.Printable(v.title))
		v.Answer.Text(w)
	}
	fmt.Fprintf(w, "\n%s; a stage that several of them need runs once\n", ui.Plural(len(o.Variants), "variant"))
}
