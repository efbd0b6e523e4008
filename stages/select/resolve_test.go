package selection_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/manifest"
	selection "github.com/sandwich-build/sandwich/stages/select"
)

// A small world: two kinds of food below which there are others. A hot dog sandwich is
// both a sandwich and a sausage, which only a hierarchy with several parents can say.
const (
	classesCSV = `/m/food,Food
/m/sandwich,Sandwich
/m/burger,Hamburger
/m/cheese,Cheeseburger
/m/sausage,Sausage
/m/hotdog,Hot dog
/m/bun1,Bun
/m/bun2,Bun
`
	hierarchyJSON = `{"LabelName": "/m/0root", "Subcategory": [
  {"LabelName": "/m/food", "Subcategory": [
    {"LabelName": "/m/sandwich", "Subcategory": [
      {"LabelName": "/m/burger", "Subcategory": [{"LabelName": "/m/cheese"}]},
      {"LabelName": "/m/hotdog"}]},
    {"LabelName": "/m/sausage", "Subcategory": [{"LabelName": "/m/hotdog"}], "Part": [{"LabelName": "/m/bun1"}]}]}]}
`
)

func smallWorld(t testing.TB) (*openimages.Classes, *openimages.Hierarchy) {
	t.Helper()
	classes, err := openimages.ReadClasses(strings.NewReader(classesCSV), "classes.csv")
	if err != nil {
		t.Fatal(err)
	}
	hierarchy, err := openimages.ReadHierarchy(strings.NewReader(hierarchyJSON), "hierarchy.json")
	if err != nil {
		t.Fatal(err)
	}
	return classes, hierarchy
}

func TestResolveLabels(t *testing.T) {
	classes, hierarchy := smallWorld(t)
	tests := []struct {
		name    string
		labels  []manifest.Label
		classes []string
		owners  map[openimages.LabelID]string // who gets the label's boxes
	}{
		{
			name:    "by name, id and another case",
			labels:  []manifest.Label{{Name: "Sandwich"}, {Name: "/m/burger"}, {Name: "hot DOG", As: "dog"}},
			classes: []string{"Hamburger", "Sandwich", "dog"},
			owners:  map[openimages.LabelID]string{"/m/sandwich": "Sandwich", "/m/burger": "Hamburger", "/m/hotdog": "dog"},
		},
		{
			name:    "descendants",
			labels:  []manifest.Label{{Name: "Sandwich", Descendants: true}},
			classes: []string{"Sandwich"},
			owners: map[openimages.LabelID]string{
				"/m/sandwich": "Sandwich", "/m/burger": "Sandwich", "/m/cheese": "Sandwich", "/m/hotdog": "Sandwich",
			},
		},
		{
			name:    "parts are not descendants",
			labels:  []manifest.Label{{Name: "Sausage", Descendants: true}},
			classes: []string{"Sausage"},
			owners:  map[openimages.LabelID]string{"/m/sausage": "Sausage", "/m/hotdog": "Sausage"},
		},
		{
			name:    "except takes what is below with it",
			labels:  []manifest.Label{{Name: "Sandwich", Descendants: true, Except: []string{"hamburger"}}},
			classes: []string{"Sandwich"},
			owners:  map[openimages.LabelID]string{"/m/sandwich": "Sandwich", "/m/hotdog": "Sandwich"},
		},
		{
			name:    "the most specific label owns, in any order",
			labels:  []manifest.Label{{Name: "Hamburger", Descendants: true}, {Name: "Food", Descendants: true}, {Name: "Sandwich", Descendants: true}},
			classes: []string{"Food", "Hamburger", "Sandwich"},
			owners: map[openimages.LabelID]string{
				"/m/food": "Food", "/m/sausage": "Food", "/m/sandwich": "Sandwich", "/m/hotdog": "Sandwich",
				"/m/burger": "Hamburger", "/m/cheese": "Hamburger",
			},
		},
		{
			name:    "two parents: the manifest's order decides",
			labels:  []manifest.Label{{Name: "Sausage", Descendants: true}, {Name: "Sandwich", Descendants: true, Except: []string{"/m/burger"}}},
			classes: []string{"Sandwich", "Sausage"},
			owners:  map[openimages.LabelID]string{"/m/sausage": "Sausage", "/m/hotdog": "Sausage", "/m/sandwich": "Sandwich"},
		},
		{
			name:    "two labels make one class",
			labels:  []manifest.Label{{Name: "Sandwich", As: "meal"}, {Name: "Sausage", As: "meal"}},
			classes: []string{"meal"},
			owners:  map[openimages.LabelID]string{"/m/sandwich": "meal", "/m/sausage": "meal"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, err := selection.ResolveLabels(classes, hierarchy, test.labels)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.classes, r.Classes()); diff != "" {
				t.Error(diff)
			}
			owners := map[openimages.LabelID]string{}
			for _, id := range r.LabelIDs() {
				owners[id] = r.Class(id)
			}
			if diff := cmp.Diff(test.owners, owners); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestResolveLabelsFaults(t *testing.T) {
	classes, hierarchy := smallWorld(t)
	_, err := selection.ResolveLabels(classes, hierarchy, []manifest.Label{
		{Name: "Sandwitch"},
		{Name: "bun"},
		{Name: "Sandwich", Descendants: true, Except: []string{"Sausage", "Burger", "Hot dog"}},
		{Name: "/m/sandwich"},
		{Name: "Hamburger", Except: []string{"Cheeseburger"}},
		{Name: "/m/bun2", Descendants: true},
	})
	want := `dataset.labels[0]: no label is called "Sandwitch"
dataset.labels[1]: several labels are called "bun": /m/bun1 (Bun), /m/bun2 (Bun)
dataset.labels[2].except[0]: Sausage (/m/sausage) is not below Sandwich (/m/sandwich)
dataset.labels[2].except[1]: no label is called "Burger"
dataset.labels[3]: Sandwich (/m/sandwich) is asked for by dataset.labels[2] already
dataset.labels[4].except[0]: has a meaning only with descendants: true
dataset.labels[5]: asks for descendants, but Bun (/m/bun2) is not in the hierarchy`
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
	var unknown *openimages.UnknownLabelError
	if !errors.As(err, &unknown) || unknown.Nearest[0] != "Sandwich" {
		t.Errorf("got %v, want an unknown label with Sandwich nearest", unknown)
	}
	var ambiguous *openimages.AmbiguousLabelError
	if !errors.As(err, &ambiguous) {
		t.Error("want an ambiguous label")
	}
	if _, err := selection.ResolveLabels(classes, nil, []manifest.Label{{Name: "Food", Descendants: true}}); err == nil {
		t.Error("descendants without a hierarchy: no error")
	}
}
