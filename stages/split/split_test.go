package split_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/split"
	"github.com/sandwich-build/sandwich/stages/stagetest"
)

var article = manifest.Split{Train: 0.8, Validation: 0.1, Test: 0.1, By: "image"}

// photos makes crops of n photos with one to three crops each, of two labels.
func photos(n int) []cropfile.Crop {
	var crops []cropfile.Crop
	for i := range n {
		for j := range 1 + i%3 {
			label := []string{"Hamburger", "Sandwich"}[(i/2+j/2)%2]
			id := openimages.ImageID(fmt.Sprintf("%016x", i*7919))
			crops = append(crops, cropfile.Crop{Path: fmt.Sprintf("crops/%s/%s_%d.jpg", label, id, j), Label: label, ImageID: id, Subset: "train", Box: "0"})
		}
	}
	slices.SortFunc(crops, func(a, b cropfile.Crop) int { return strings.Compare(a.Path, b.Path) })
	return crops
}

func input(t *testing.T, store cas.Store, crops []cropfile.Crop, same ...cropfile.Duplicate) map[string]cas.Tree {
	t.Helper()
	var buf, duplicates bytes.Buffer
	if err := errors.Join(cropfile.WriteCrops(&buf, slices.Values(crops)), cropfile.WriteDuplicates(&duplicates, slices.Values(same))); err != nil {
		t.Fatal(err)
	}
	return map[string]cas.Tree{split.Crops: stagetest.Tree(t, store, map[string]string{
		cropfile.CropsFile: buf.String(), cropfile.DuplicatesFile: duplicates.String(),
	})}
}

// divide runs the stage and returns the set of each crop by its path.
func divide(t *testing.T, s manifest.Split, seed uint64, crops []cropfile.Crop, same ...cropfile.Duplicate) (map[string]cropfile.Set, cas.Result) {
	t.Helper()
	store := cas.NewMemory()
	tree, result := stagetest.Run(t, store, split.New(s, seed), input(t, store, crops, same...))
	sets := map[string]cropfile.Set{}
	last := ""
	for a, err := range cropfile.Split(strings.NewReader(stagetest.Read(t, tree, cropfile.SplitFile)), cropfile.SplitFile) {
		if err != nil {
			t.Fatal(err)
		}
		if a.Path <= last {
			t.Errorf("%q after %q", a.Path, last)
		}
		last = a.Path
		sets[a.Path] = a.Set
	}
	if len(sets) != len(crops) {
		t.Errorf("%d crops have a set, want %d", len(sets), len(crops))
	}
	return sets, result
}

// TestNoLeak holds that all crops of a photo are in one set, whatever their labels.
func TestNoLeak(t *testing.T) {
	crops := photos(3000)
	sets, result := divide(t, article, 42, crops)
	byPhoto := map[openimages.ImageID]cropfile.Set{}
	for _, c := range crops {
		if set, ok := byPhoto[c.ImageID]; ok && set != sets[c.Path] {
			t.Errorf("photo %s is in %s and in %s", c.ImageID, set, sets[c.Path])
		}
		byPhoto[c.ImageID] = sets[c.Path]
	}
	counts := map[cropfile.Set]float64{}
	for _, set := range byPhoto {
		counts[set]++
	}
	for set, want := range map[cropfile.Set]float64{cropfile.Train: 0.8, cropfile.Validation: 0.1, cropfile.Test: 0.1} {
		// Four standard deviations of a binomial draw.
		if got, slack := counts[set]/3000, 4*math.Sqrt(want*(1-want)/3000); math.Abs(got-want) > slack {
			t.Errorf("%.3f of the photos are in %s, want %.3f ± %.3f", got, set, want, slack)
		}
	}
	if got := result.Counters["train"] + result.Counters["validation"] + result.Counters["test"]; got != int64(len(crops)) {
		t.Errorf("%d crops counted, want %d", got, len(crops))
	}
}

// groups makes groups of two to four of the photos whose crops these are, of every third.
func groups(crops []cropfile.Crop) (all []cropfile.Duplicate) {
	var ids []openimages.ImageID
	for _, c := range crops {
		ids = append(ids, c.ImageID)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	for i := 0; i+3 < len(ids); i += 12 {
		for j := range 1 + i%3 {
			all = append(all, cropfile.Duplicate{Group: ids[i], ImageID: ids[i+j], Like: ids[i+j+1], How: cropfile.SamePhoto, Alike: 0.9})
		}
	}
	return all
}

// TestGroups holds that photos that show the same are in one set, that the audit says what
// would have been without that, and that other photos stay where they were.
func TestGroups(t *testing.T) {
	crops := photos(600)
	same := groups(crops)
	sets, result := divide(t, article, 42, crops, same...)
	before, _ := divide(t, article, 42, crops)
	of := map[openimages.ImageID]cropfile.Set{}
	alone := map[openimages.ImageID]cropfile.Set{}
	grouped := map[openimages.ImageID]bool{}
	for _, c := range crops {
		of[c.ImageID], alone[c.ImageID] = sets[c.Path], before[c.Path]
	}
	crossing := map[openimages.ImageID]bool{}
	for _, d := range same {
		grouped[d.ImageID], grouped[d.Like] = true, true
		if of[d.ImageID] != of[d.Like] {
			t.Errorf("%s is in %s, and %s, which shows the same, in %s", d.ImageID, of[d.ImageID], d.Like, of[d.Like])
		}
		if alone[d.ImageID] != alone[d.Like] {
			crossing[d.Group] = true
		}
	}
	for id, set := range of {
		if !grouped[id] && set != alone[id] {
			t.Errorf("%s, which is in no group, moved from %s to %s", id, alone[id], set)
		}
	}
	if len(crossing) < 5 {
		t.Fatalf("%d groups would cross: the test shows nothing", len(crossing))
	}
	if got := result.Counters["would_cross"]; got != int64(len(crossing)) || result.Counters["groups"] != 50 {
		t.Errorf("counters %v, want %d of 50 groups crossing", result.Counters, len(crossing))
	}
	want := fmt.Sprintf("leak audit: 600 photos, 50 groups that show the same (%d photos), %d of which would have crossed the sets, 0 do", len(grouped), len(crossing))
	if got := result.Log[len(result.Log)-1].Text; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// TestStable holds that a photo's set depends on the photo alone: adding photos moves
// none, and the order of the rows does not matter.
func TestStable(t *testing.T) {
	few, _ := divide(t, article, 42, photos(500))
	many, _ := divide(t, article, 42, photos(900))
	for path, set := range few {
		if many[path] != set {
			t.Errorf("%s moved from %s to %s", path, set, many[path])
		}
	}
	backwards := photos(500)
	slices.Reverse(backwards)
	again, _ := divide(t, article, 42, backwards)
	if diff := cmp.Diff(few, again); diff != "" {
		t.Errorf("another order of crops (-want +got):\n%s", diff)
	}
	other, _ := divide(t, article, 43, photos(500))
	if cmp.Equal(few, other) {
		t.Error("another seed gives the same split")
	}
}

// TestGolden holds the draw itself, worked out by other means: every split ever made
// depends on it.
func TestGolden(t *testing.T) {
	sets, _ := divide(t, manifest.Split{Train: 0.25, Validation: 0.1, Test: 0.65}, 42, photos(8))
	got := map[openimages.ImageID]cropfile.Set{}
	for _, c := range photos(8) {
		got[c.ImageID] = sets[c.Path]
	}
	want := map[openimages.ImageID]cropfile.Set{
		"0000000000000000": cropfile.Validation,
		"0000000000001eef": cropfile.Train,
		"0000000000003dde": cropfile.Validation,
		"0000000000005ccd": cropfile.Test,
		"0000000000007bbc": cropfile.Test,
		"0000000000009aab": cropfile.Train,
		"000000000000b99a": cropfile.Validation,
		"000000000000d889": cropfile.Test,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestFractionsOfNothing(t *testing.T) {
	for _, s := range []manifest.Split{{Train: 1}, {Train: 0.7, Validation: 0.3}, {Train: 0.9, Test: 0.1}} {
		_, result := divide(t, s, 1, photos(400))
		for set, fraction := range map[string]float64{"train": s.Train, "validation": s.Validation, "test": s.Test} {
			if got := result.Counters[set]; (got > 0) != (fraction > 0) {
				t.Errorf("%+v: %d crops in %s", s, got, set)
			}
		}
	}
}

func TestMissingLabels(t *testing.T) {
	crops := []cropfile.Crop{{Path: "crops/A/0_0.jpg", Label: "A", ImageID: "0"}, {Path: "crops/B/1_0.jpg", Label: "B", ImageID: "1"}}
	_, result := divide(t, manifest.Split{Train: 0.999998, Validation: 0.000001, Test: 0.000001}, 1, crops)
	want := []cas.Line{
		{Warning: true, Text: "the validation set has no crop of A, B"},
		{Warning: true, Text: "the test set has no crop of A, B"},
		{Text: "leak audit: 2 photos, 0 groups that show the same (0 photos), 0 of which would have crossed the sets, 0 do"},
	}
	if diff := cmp.Diff(want, result.Log); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}

	store := cas.NewMemory()
	kind := split.New(manifest.Split{Train: 0.000001, Validation: 0.000001, Test: 0.999998}, 1)
	_, err := stages.RunKind(t.Context(), store, kind, input(t, store, crops), 1, stages.Discard)
	var missing *split.MissingLabelsError
	if !errors.As(err, &missing) || !slices.Equal(missing.Labels, []string{"A", "B"}) {
		t.Errorf("got %v, want A and B missing", err)
	}
}

func TestSuite(t *testing.T) {
	store := cas.NewMemory()
	stagetest.Suite(t, store, split.New(article, 42), input(t, store, photos(500), groups(photos(500))...), stagetest.Golden{Version: 2, Tree: "sha256:d9751a00e26d052055459bf2229468e332d2ef025cc1a1b5e60d52623a0ec473"})
}
