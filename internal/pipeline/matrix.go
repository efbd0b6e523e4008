package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// VariantOutcome is what the build of a variant came to.
type VariantOutcome struct {
	Variant
	Outcome *Outcome // nil when it failed, or was not begun
	Err     error    // why it failed

	began time.Time
	took  time.Duration
}

// MatrixOutcome is what the builds of a matrix came to.
type MatrixOutcome struct {
	Variants []VariantOutcome // in the order of the matrix
	Best     int              // the one that did best on the validation pictures; -1 when there is none
}

// MatrixError says which variants of a matrix failed.
type MatrixError struct{ Failed []VariantOutcome }

func (e *MatrixError) Error() string {
	var others []string
	for _, f := range e.Failed[1:] {
		others = append(others, f.Title())
	}
	text := fmt.Sprintf("variant %s: %v", e.Failed[0].Title(), e.Failed[0].Err)
	if len(others) > 0 {
		text += fmt.Sprintf(" (failed too: %s)", strings.Join(others, "; "))
	}
	return text
}

// Unwrap returns the errors of the variants.
func (e *MatrixError) Unwrap() []error {
	errs := make([]error, len(e.Failed))
	for i, f := range e.Failed {
		errs[i] = f.Err
	}
	return errs
}

// matrixStage is the name under which events tell of the matrix.
const matrixStage = "matrix"

// BuildMatrix builds the variants of a project one after the other in one cache, so that
// what several of them need is done once, and then publishes them as revisions of the
// package. The latest revision is the one that did best on the validation pictures: to
// choose by the test pictures would make their accuracy a matter of luck.
//
// The variants do not run at once: a stage keeps all the workers busy, and two trainings
// would only need the memory of two. After a variant has failed no other begins, unless
// the options keep going; those that were built are published all the same. The outcome
// is there even when the error is a *MatrixError.
func BuildMatrix(ctx context.Context, p *Project, o Options) (*MatrixOutcome, error) {
	m := &MatrixOutcome{Best: -1}
	for _, v := range p.Variants() {
		m.Variants = append(m.Variants, VariantOutcome{Variant: v})
	}
	o.done = make(map[cas.Digest]bool)
	var failed []VariantOutcome
	for i := range m.Variants {
		v := &m.Variants[i]
		if len(failed) > 0 && !o.KeepGoing || ctx.Err() != nil {
			break
		}
		o.tell(fmt.Sprintf("variant %d of %d: %s", i+1, len(m.Variants), v.Title()))
		if v.build(ctx, o); v.Err != nil {
			failed = append(failed, *v)
			continue
		}
		if m.Best < 0 || v.Outcome.Validation.Better(m.Variants[m.Best].Outcome.Validation) {
			m.Best = i
		}
	}
	if err := m.publish(ctx, o); err != nil {
		return m, errors.Join(err, asMatrixError(failed))
	}
	return m, asMatrixError(failed)
}

func asMatrixError(failed []VariantOutcome) error {
	if len(failed) == 0 {
		return nil
	}
	return &MatrixError{failed}
}

func (o Options) tell(text string) {
	if o.Observer != nil {
		o.Observer.Observe(stages.Message{Stage: matrixStage, Line: cas.Line{Text: text}})
	}
}

// build runs the stages of a variant. That it failed is written into the history here, for
// it is not published.
func (v *VariantOutcome) build(ctx context.Context, o Options) {
	o.hold = true
	if o.Now != nil {
		v.began = o.Now()
	}
	v.Err = withSession(v.Project, o, func(s *session) (err error) {
		v.Outcome, err = s.build(ctx)
		if s.built != nil {
			for _, step := range s.built.Steps {
				o.done[step.Action] = true
			}
		}
		if err != nil {
			v.Outcome = nil
			s.record(ctx, v.began, nil, err)
		}
		return err
	})
	if o.Now != nil {
		v.took = o.Now().Sub(v.began)
	}
}

// publish pushes the variants that were built in their order, but the best one last. Only
// that becomes the latest: nobody who installs meanwhile gets another variant. Those that the registry has are not pushed again.
func (m *MatrixOutcome) publish(ctx context.Context, o Options) error {
	o.From, o.Force, o.Verify, o.done = "", nil, false, nil
	if o.Observer != nil {
		o.Observer = ranOnly{o.Observer}
	}
	for i := range m.Variants {
		if i != m.Best && m.Variants[i].Outcome != nil {
			o.beside = true
			if err := m.Variants[i].publish(ctx, o); err != nil {
				return err
			}
		}
	}
	if m.Best < 0 {
		return nil
	}
	o.beside = false
	return m.Variants[m.Best].publish(ctx, o)
}

// publish builds a variant again, of which nothing is left to do but the push, and writes
// the first build into the history.
func (v *VariantOutcome) publish(ctx context.Context, o Options) error {
	return withSession(v.Project, o, func(s *session) error {
		again, err := s.build(ctx)
		if again != nil {
			v.Outcome.Package, v.Outcome.Created = again.Package, again.Created
		}
		if o.Now != nil {
			s.built = v.Outcome.Build
			s.record(ctx, o.Now().Add(-v.took), v.Outcome, err)
		}
		return err
	})
}
