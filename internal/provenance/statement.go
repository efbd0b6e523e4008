package provenance

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// StatementFile is the provenance of a package, as others read it.
const StatementFile = "provenance/statement.json"

// The types of a statement (in-toto.io/Statement/v1, slsa.dev/provenance/v1).
const (
	StatementType = "https://in-toto.io/Statement/v1"
	PredicateType = "https://slsa.dev/provenance/v1"
	BuildType     = "https://github.com/sandwich-build/sandwich/build/v1"
	PushType      = "https://github.com/sandwich-build/sandwich/push/v1" // of a folder
	BuilderID     = "https://github.com/sandwich-build/sandwich"
)

// Statement is an in-toto statement whose predicate is SLSA's provenance. It tells no time
// and no place: a package that is built again has the same one.
type Statement struct {
	Type          string     `json:"_type"`
	Subject       []Resource `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     Predicate  `json:"predicate"`
}

// Resource is something with a digest: a subject, a material or a by-product.
type Resource struct {
	Name   string            `json:"name,omitempty"`
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest,omitempty"` // algorithm -> hexadecimal digits
}

// Predicate is SLSA's provenance.
type Predicate struct {
	BuildDefinition BuildDefinition `json:"buildDefinition"`
	RunDetails      RunDetails      `json:"runDetails"`
}

// BuildDefinition is what a build was asked for, and what it was made of.
type BuildDefinition struct {
	BuildType            string     `json:"buildType"`
	ExternalParameters   Parameters `json:"externalParameters"`
	ResolvedDependencies []Resource `json:"resolvedDependencies"`
}

// Parameters are what a person decided: the manifest.
type Parameters struct {
	Package  string   `json:"package"`
	Manifest Resource `json:"manifest"`
}

// RunDetails are who built, and how each stage came out.
type RunDetails struct {
	Builder    Builder    `json:"builder"`
	Byproducts []Resource `json:"byproducts,omitempty"` // the outputs of the stages, each the root of its tree
}

// Builder is the program that built.
type Builder struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version"`
}

// SHA256 is the digest set of a SHA-256 sum in hexadecimal digits.
func SHA256(hex string) map[string]string { return map[string]string{"sha256": hex} }

// Outputs are the outputs of stages as a statement names them: the root of each tree.
func Outputs(all []Stage) []Resource {
	outputs := make([]Resource, len(all))
	for i, s := range all {
		outputs[i] = Resource{Name: "stage/" + s.Stage, Digest: SHA256(s.Output.Hex())}
	}
	return outputs
}

// Encode returns the statement as it is stored and signed.
func (s Statement) Encode() ([]byte, error) {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("provenance: %w", err)
	}
	return append(text, '\n'), nil
}

// maxStatement is more than a statement has, in bytes: of each stage and each material some 200.
const maxStatement = 16 << 20

// DecodeStatement reads a statement about at least one subject.
func DecodeStatement(r io.Reader) (Statement, error) {
	var s Statement
	if err := json.NewDecoder(io.LimitReader(r, maxStatement)).Decode(&s); err != nil {
		return Statement{}, fmt.Errorf("statement: %w", err)
	}
	if s.Type != StatementType || s.PredicateType != PredicateType || len(s.Subject) == 0 {
		return Statement{}, fmt.Errorf("statement: want one of %s about %s, with a subject", StatementType, PredicateType)
	}
	return s, nil
}

// Differences returns in what two statements differ, a line each: what was built, of what, by
// whom, and what each stage came to.
func (s Statement) Differences(other Statement) []string {
	var lines []string
	add := func(what, a, b string) {
		if a != b {
			lines = append(lines, fmt.Sprintf("%s: %s, and %s", what, cmp.Or(a, "nothing"), cmp.Or(b, "nothing")))
		}
	}
	mine, theirs := s.claims(), other.claims()
	all := maps.Clone(mine)
	maps.Copy(all, theirs)
	for _, what := range slices.Sorted(maps.Keys(all)) {
		add(what, mine[what], theirs[what])
	}
	return lines
}

// claims are what a statement says, each under what it is about.
func (s Statement) claims() map[string]string {
	all := map[string]string{"builder": s.Predicate.RunDetails.Builder.ID, "build type": s.Predicate.BuildDefinition.BuildType}
	for _, r := range s.Subject {
		all["package"] = digests(r)
	}
	all["manifest"] = digests(s.Predicate.BuildDefinition.ExternalParameters.Manifest)
	for name, version := range s.Predicate.RunDetails.Builder.Version {
		all["builder's "+name] = version
	}
	for _, r := range s.Predicate.BuildDefinition.ResolvedDependencies {
		all["material "+cmp.Or(r.URI, r.Name)] = digests(r)
	}
	for _, r := range s.Predicate.RunDetails.Byproducts {
		all[r.Name] = digests(r)
	}
	return all
}

// digests is a resource's digest set in one line.
func digests(r Resource) string {
	var all []string
	for _, algorithm := range slices.Sorted(maps.Keys(r.Digest)) {
		all = append(all, algorithm+":"+r.Digest[algorithm])
	}
	return strings.Join(all, " ")
}
