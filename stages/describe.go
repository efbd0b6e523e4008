package stages

import (
	"context"
	"encoding/json"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// Description is everything that decided a stage's output, as its action says it.
type Description struct {
	Kind        string
	Version     int                   // the behaviour version
	Params      json.RawMessage       // canonical: sorted keys, no insignificant space
	Inputs      map[string]cas.TreeID // by the name of the input
	Environment string                // digest of what the stage ran in
}

// Describe reads an action.
func Describe(ctx context.Context, store cas.Store, id cas.Digest) (Description, error) {
	a, err := loadAction(ctx, store, id)
	if err != nil {
		return Description{}, err
	}
	return Description{Kind: a.kind, Version: a.version, Params: a.params, Inputs: a.inputs, Environment: a.environment}, nil
}

// Differences returns the fields in which d differs from another description, as of an
// earlier action. Which files of the inputs differ is not looked up.
func (d Description) Differences(old Description) []Difference {
	return d.action().differences(old.action())
}

func (d Description) action() action {
	return action{kind: d.Kind, version: d.Version, params: d.Params, inputs: d.Inputs, environment: d.Environment}
}
