package stages

import (
	"fmt"
	"slices"
	"strings"
)

// Plan is a build that can be run: stages in an order in which each comes after those
// it reads from. It is pure data; making one opens nothing.
type Plan struct {
	name   string // distinguishes the histories of different builds in one cache
	stages []Stage
}

// NewPlan checks the stages and puts them in order: names are unique, every input names
// a stage that exists, and none depends on itself. Stages that do not depend on each
// other keep the order in which they were given.
func NewPlan(name string, stages []Stage) (*Plan, error) {
	byName := make(map[string]int, len(stages))
	for i, s := range stages {
		if _, dup := byName[s.Name]; dup {
			return nil, fmt.Errorf("plan: two stages are named %q", s.Name)
		}
		byName[s.Name] = i
	}
	for _, s := range stages {
		seen := make(map[string]bool, len(s.Inputs))
		for _, in := range s.Inputs {
			if seen[in.Name] {
				return nil, fmt.Errorf("plan: stage %q has two inputs named %q", s.Name, in.Name)
			}
			seen[in.Name] = true
			if _, ok := byName[in.From]; in.From != "" && !ok {
				return nil, fmt.Errorf("plan: stage %q reads from %q, which is not a stage", s.Name, in.From)
			}
			if in.From == "" && in.Pin == nil {
				return nil, fmt.Errorf("plan: input %q of stage %q comes from nowhere", in.Name, s.Name)
			}
		}
		if _, ok := byName[s.Within]; s.Within != "" && !ok {
			return nil, fmt.Errorf("plan: stage %q runs within %q, which is not a stage", s.Name, s.Within)
		}
	}
	order := sorter{stages: stages, byName: byName, state: make([]visit, len(stages))}
	for i := range stages {
		if err := order.visit(i); err != nil {
			return nil, err
		}
	}
	return &Plan{name: name, stages: order.sorted}, nil
}

// Stages returns the stages in the order in which they run.
func (p *Plan) Stages() []Stage { return p.stages }

// Until returns the plan that ends with the named stage: that stage and all that it
// needs.
func (p *Plan) Until(stage string) (*Plan, error) {
	need := map[string]bool{stage: true}
	var kept []Stage
	for _, s := range slices.Backward(p.stages) {
		if !need[s.Name] {
			continue
		}
		kept = append(kept, s)
		for from := range s.needs() {
			need[from] = true
		}
	}
	slices.Reverse(kept)
	if len(kept) == 0 || kept[len(kept)-1].Name != stage {
		return nil, p.noStage(stage)
	}
	return &Plan{name: p.name, stages: kept}, nil
}

// Downstream returns the named stage and all that read from it, or from what does.
func (p *Plan) Downstream(stage string) (map[string]bool, error) {
	if !slices.ContainsFunc(p.stages, func(s Stage) bool { return s.Name == stage }) {
		return nil, p.noStage(stage)
	}
	reached := map[string]bool{stage: true}
	for _, s := range p.stages {
		for _, in := range s.Inputs {
			if reached[in.From] {
				reached[s.Name] = true
			}
		}
	}
	return reached, nil
}

// NoStageError says that a plan has no stage of a name.
type NoStageError struct {
	Name   string
	Stages []string // those that it has
}

func (e *NoStageError) Error() string {
	return fmt.Sprintf("there is no stage %q; the stages are %s", e.Name, strings.Join(e.Stages, ", "))
}

// Nearest returns the stage whose name was meant, or "" when none is near: one that begins
// with what was written, or has the same letters but for one that is wrong, missing, too much
// or in its neighbour's place.
func (e *NoStageError) Nearest() string {
	for _, stage := range e.Stages {
		if near(strings.ToLower(e.Name), stage) {
			return stage
		}
	}
	return ""
}

func near(written, name string) bool {
	if len(written) > 2 && (strings.HasPrefix(name, written) || strings.HasPrefix(written, name)) {
		return true
	}
	same := 0
	for same < min(len(written), len(name)) && written[same] == name[same] {
		same++
	}
	a, b := written[same:], name[same:]
	switch {
	case a == "" || b == "":
		return len(a)+len(b) <= 1
	case a[1:] == b[1:], a[1:] == b, a == b[1:]:
		return true
	}
	return len(a) > 1 && len(b) > 1 && a[0] == b[1] && a[1] == b[0] && a[2:] == b[2:]
}

func (p *Plan) noStage(name string) error { return &NoStageError{Name: name, Stages: p.names()} }

func (p *Plan) names() []string {
	names := make([]string, len(p.stages))
	for i, s := range p.stages {
		names[i] = s.Name
	}
	return names
}

type visit int

const (
	unseen visit = iota
	open
	done
)

// sorter is a depth-first topological sort.
type sorter struct {
	stages []Stage
	byName map[string]int
	state  []visit
	path   []string // the stages on the way to the one being visited
	sorted []Stage
}

func (o *sorter) visit(i int) error {
	s := o.stages[i]
	o.path = append(o.path, s.Name)
	defer func() { o.path = o.path[:len(o.path)-1] }()
	switch o.state[i] {
	case done:
		return nil
	case open:
		return fmt.Errorf("plan: stages depend on themselves: %s", strings.Join(o.path, " needs "))
	}
	o.state[i] = open
	for from := range s.needs() {
		if err := o.visit(o.byName[from]); err != nil {
			return err
		}
	}
	o.state[i] = done
	o.sorted = append(o.sorted, s)
	return nil
}
