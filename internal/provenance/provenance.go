// Package provenance is what a package says about how it was built: which stages ran, on
// what, and which files each of them wrote. It is enough to build the package again, to
// compare stage by stage, and to go on from the output of a stage whose own inputs are
// gone from the world.
//
//	provenance/stages.json   the actions of the stages, and what they came to
//	provenance/outputs.csv   the files of each output, by digest
package provenance

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// The files, with their places in a package.
const (
	StagesFile  = "provenance/stages.json"
	OutputsFile = "provenance/outputs.csv"
)

// Stage is a stage that was built.
type Stage struct {
	Stage       string            `json:"stage"`
	Kind        string            `json:"kind"`
	Version     int               `json:"version"` // the kind's behaviour version
	Params      json.RawMessage   `json:"params"`
	Inputs      map[string]Digest `json:"inputs"`      // trees
	Environment string            `json:"environment"` // digest of what it ran in
	Action      Digest            `json:"action"`      // all of the above in the form of the Remote Execution API
	Output      Digest            `json:"output"`      // tree
	Counters    map[string]int64  `json:"counters,omitempty"`
	Log         []cas.Line        `json:"log,omitempty"` // what it told
}

// NewStage describes a stage by its step and its action.
func NewStage(step stages.Step, d stages.Description) Stage {
	s := Stage{
		Stage: step.Stage, Kind: d.Kind, Version: d.Version, Params: d.Params, Inputs: make(map[string]Digest, len(d.Inputs)), Environment: d.Environment,
		Action: Digest{step.Action}, Output: Digest{step.Result.Tree.Digest()}, Counters: step.Result.Counters, Log: step.Result.Log,
	}
	for name, id := range d.Inputs {
		s.Inputs[name] = Digest{id.Digest()}
	}
	return s
}

// Description is the stage's action.
func (s Stage) Description() stages.Description {
	d := stages.Description{Kind: s.Kind, Version: s.Version, Params: s.Params, Inputs: make(map[string]cas.TreeID, len(s.Inputs)), Environment: s.Environment}
	for name, id := range s.Inputs {
		d.Inputs[name] = cas.NewTreeID(id.Digest)
	}
	return d
}

// Result is what the stage came to.
func (s Stage) Result() cas.Result {
	return cas.Result{Tree: cas.NewTreeID(s.Output.Digest), Counters: s.Counters, Log: s.Log}
}

// Digest is a digest as these files have it: "sha256:…/<size>", where size is in bytes.
type Digest struct{ cas.Digest }

// MarshalText writes the digest.
func (d Digest) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%s/%d", d, d.Size()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Digest) UnmarshalText(text []byte) error {
	var hex string
	var size int64
	if n, err := fmt.Sscanf(string(text), "sha256:%64s/%d", &hex, &size); n != 2 || err != nil {
		return fmt.Errorf("digest %q: want sha256:<64 digits>/<size>", text)
	}
	parsed, err := cas.NewDigest(hex, size)
	if err != nil {
		return err
	}
	if again, err := (Digest{parsed}).MarshalText(); err != nil || string(again) != string(text) {
		return fmt.Errorf("digest %q: want sha256:<64 digits>/<size>", text)
	}
	d.Digest = parsed
	return nil
}

// document is stages.json.
type document struct {
	Stages []Stage `json:"stages"`
}

// EncodeStages returns the text of stages.json, in the order of the stages.
func EncodeStages(all []Stage) ([]byte, error) {
	text, err := json.MarshalIndent(document{all}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("provenance: %w", err)
	}
	return append(text, '\n'), nil
}

// DecodeStages reads stages.json. A stage stands in it once, with an action and an output.
func DecodeStages(r io.Reader) ([]Stage, error) {
	var d document
	if err := json.NewDecoder(r).Decode(&d); err != nil {
		return nil, fmt.Errorf("%s: %w", StagesFile, err)
	}
	seen := make(map[string]bool, len(d.Stages))
	for i, s := range d.Stages {
		if s.Stage == "" || seen[s.Stage] || s.Action.IsZero() || s.Output.IsZero() {
			return nil, fmt.Errorf("%s: stage %d: want a name of its own, an action and an output", StagesFile, i+1)
		}
		seen[s.Stage] = true
	}
	return d.Stages, nil
}
