// Package split is the stage that decides which crops a model learns from and which
// only judge it.
//
// The unit is the photo: two crops of one photo look alike, and a model that has seen
// one is not tested by the other. Photos that show the same are one photo. The set of one
// is drawn by a digest of its id, that of several by the first id of them: so it
// depends on nothing but the photo itself, and photos that are added or taken away move no
// other, unless they show the same. The price is that the fractions are met on average, not
// exactly.
//
// What the groups were good for is counted in audit.json, and that none is in two sets is
// looked for in what is written.
//
// Open Images has train, validation and test subsets of its own. They are not used:
// their labels were made in different ways and densities (the train subset's are a
// sample of what the machine proposed), and a build may select from one alone, as the
// article's does. The subset a photo is from is kept in crops.csv.
package split

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/table"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages"
)

// Crops is the name of the input, the output of quality.
const Crops = "crops"

// version is the behaviour version: raise it when equal inputs would give other bytes.
const version = 2

// Kind divides crops into sets. Its input is Crops.
type Kind struct {
	params params
}

// params decides the output.
type params struct {
	Train      float64 `json:"train"`
	Validation float64 `json:"validation"`
	Test       float64 `json:"test"`
	By         string  `json:"by"`
	Seed       uint64  `json:"seed"`
}

// New returns the kind for a manifest's split section and its seed.
func New(s manifest.Split, seed uint64) *Kind {
	return &Kind{params{Train: s.Train, Validation: s.Validation, Test: s.Test, By: s.By, Seed: seed}}
}

// Parse makes the kind of its parameters, as they are in an action.
func Parse(text []byte) (*Kind, error) {
	p, err := stages.ParseParams[params](text)
	return &Kind{p}, err
}

// Name returns "split".
func (*Kind) Name() string { return "split" }

// Version returns the behaviour version.
func (*Kind) Version() int { return version }

// Params returns everything besides the input that decides the output.
func (k *Kind) Params() any { return k.params }

// MissingLabelsError says that no photo of some labels fell into the train set, so that
// there is nothing to learn them from.
type MissingLabelsError struct {
	Labels []string // sorted
}

// Error names the labels and what helps.
func (e *MissingLabelsError) Error() string {
	return "split: no crop to train on of " + strings.Join(e.Labels, ", ") + ": select more photos, or take another seed"
}

// Run writes split.csv. The error is a *MissingLabelsError when a label has no crop to
// train on; a label without a crop in another set is a warning.
func (k *Kind) Run(ctx context.Context, t *stages.Task) error {
	groups, err := readGroups(ctx, t)
	if err != nil {
		return err
	}
	assignments, err := k.assign(ctx, t, groups)
	if err != nil {
		return err
	}
	slices.SortFunc(assignments, func(a, b cropfile.Assignment) int { return cmp.Compare(a.Path, b.Path) })
	if err := k.check(t, assignments); err != nil {
		return err
	}
	if err := k.audit(ctx, t, groups, assignments); err != nil {
		return err
	}
	var buf bytes.Buffer
	if err := cropfile.WriteSplit(&buf, slices.Values(assignments)); err != nil {
		return fmt.Errorf("write %s: %w", cropfile.SplitFile, err)
	}
	return t.Out().Put(ctx, cropfile.SplitFile, &buf)
}

// assign reads the crops and gives each the set of its photo's group.
func (k *Kind) assign(ctx context.Context, t *stages.Task, groups groups) ([]cropfile.Assignment, error) {
	var assignments []cropfile.Assignment
	labels := map[openimages.ImageID]map[string]int{} // group -> label -> crops
	photos := map[openimages.ImageID]bool{}
	for c, err := range table.Rows(ctx, t.Input(Crops), cropfile.CropsFile, cropfile.Crops) {
		if err != nil {
			return nil, err
		}
		group := groups.of(c.ImageID)
		if labels[group] == nil {
			labels[group] = map[string]int{}
		}
		labels[group][c.Label]++
		photos[c.ImageID] = true
		assignments = append(assignments, cropfile.Assignment{Path: c.Path, Label: c.Label, ImageID: c.ImageID})
	}
	for i := range assignments {
		a := &assignments[i]
		group := groups.of(a.ImageID)
		a.Set = k.set(stratum(labels[group]), group)
	}
	t.Count("photos", int64(len(photos)))
	return assignments, nil
}

// stratum returns the label that most of a group's crops have, the first by name when
// several do. It makes the draws of one label independent of those of another.
func stratum(crops map[string]int) string {
	best := ""
	for _, label := range slices.Sorted(maps.Keys(crops)) {
		if best == "" || crops[label] > crops[best] {
			best = label
		}
	}
	return best
}

// set draws the set of a group: the digest of the seed, the stratum and the id
// is a number from 0 to 1, and the fractions divide that range in the order train,
// validation, test.
func (k *Kind) set(stratum string, id openimages.ImageID) cropfile.Set {
	key := strings.Join([]string{"split", strconv.FormatUint(k.params.Seed, 10), stratum, string(id)}, "\x00")
	sum := sha256.Sum256([]byte(key))
	u := float64(binary.BigEndian.Uint64(sum[:])>>11) / (1 << 53) // 53 bits are what a float64 holds below 1

	// The last set that has a fraction takes what rounding leaves over.
	set, end := cropfile.Train, 0.0
	for s, fraction := range k.fractions() {
		if fraction == 0 {
			continue
		}
		set = s
		end += fraction
		if u < end {
			break
		}
	}
	return set
}

// fractions goes over the sets in their order.
func (k *Kind) fractions() func(yield func(cropfile.Set, float64) bool) {
	return func(yield func(cropfile.Set, float64) bool) {
		_ = yield(cropfile.Train, k.params.Train) &&
			yield(cropfile.Validation, k.params.Validation) &&
			yield(cropfile.Test, k.params.Test)
	}
}

// check counts the sets, and looks for labels that are missing in one.
func (k *Kind) check(t *stages.Task, assignments []cropfile.Assignment) error {
	present := map[cropfile.Set]map[string]bool{}
	counts := map[cropfile.Set]int64{}
	all := map[string]bool{}
	for set := range k.fractions() {
		present[set] = map[string]bool{}
	}
	for _, a := range assignments {
		present[a.Set][a.Label] = true
		counts[a.Set]++
		all[a.Label] = true
	}
	for set, fraction := range k.fractions() {
		t.Count(string(set), counts[set])
		missing := maps.Clone(all)
		maps.DeleteFunc(missing, func(label string, _ bool) bool { return present[set][label] })
		names := slices.Sorted(maps.Keys(missing))
		switch {
		case len(names) == 0 || fraction == 0:
		case set == cropfile.Train:
			return &MissingLabelsError{Labels: names}
		default:
			t.Warnf("the %s set has no crop of %s", set, strings.Join(names, ", "))
		}
	}
	return nil
}
