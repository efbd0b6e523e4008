package selection_test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages/cas"
	selection "github.com/sandwich-build/sandwich/stages/select"
	"github.com/sandwich-build/sandwich/stages/stagetest"
)

// world is random metadata, as rows.
type world struct {
	subsets []string
	boxes   map[string][][]string // by subset; the official 13 columns
	images  map[string][]string   // by subset; ids of the listed photos
}

const (
	boxHeader   = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
	imageHeader = "ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,OriginalSize,OriginalMD5,Thumbnail300KURL,Rotation\n"
)

// newWorld draws metadata in which every rule has something to drop.
func newWorld(r *rand.Rand) world {
	labels := []string{"/m/food", "/m/sandwich", "/m/burger", "/m/cheese", "/m/sausage", "/m/hotdog", "/m/bun1", "/m/other"}
	pick := func(texts ...string) string { return texts[r.IntN(len(texts))] }
	w := world{subsets: []string{"validation", "train"}, boxes: map[string][][]string{}, images: map[string][]string{}}
	for i := range 60 {
		id := fmt.Sprintf("%016x", i*7919)
		subset := pick(w.subsets...)
		if r.IntN(8) > 0 {
			w.images[subset] = append(w.images[subset], id)
		}
		for range r.IntN(9) {
			row := []string{id, pick("xclick", "activemil"), pick(labels...), "1",
				pick("0.1", "0.100000", "0.250000"), pick("0.25", "0.7", "1.000000"), pick("0.000000", "0.5"), pick("0.5", "0.75")}
			for range 5 {
				row = append(row, pick("0", "0", "0", "1", "-1"))
			}
			w.boxes[subset] = append(w.boxes[subset], row)
			if r.IntN(6) == 0 {
				w.boxes[subset] = append(w.boxes[subset], slices.Clone(row))
			}
		}
	}
	return w
}

func (w world) shuffle(r *rand.Rand) {
	for _, s := range w.subsets {
		r.Shuffle(len(w.boxes[s]), func(i, j int) { w.boxes[s][i], w.boxes[s][j] = w.boxes[s][j], w.boxes[s][i] })
		r.Shuffle(len(w.images[s]), func(i, j int) { w.images[s][i], w.images[s][j] = w.images[s][j], w.images[s][i] })
	}
}

func (w world) tree(t *testing.T, store cas.Store) cas.Tree {
	t.Helper()
	files := map[string]string{"classes.csv": classesCSV, "hierarchy.json": hierarchyJSON}
	for _, s := range w.subsets {
		boxes, images := boxHeader, imageHeader
		for _, row := range w.boxes[s] {
			boxes += strings.Join(row, ",") + "\n"
		}
		for _, id := range w.images[s] {
			images += id + "," + s + ",https://x/" + id + ".jpg,,,,,\"a, b\",,,,\n"
		}
		files[openimages.BoxesFile(s)], files[openimages.ImagesFile(s)] = boxes, images
	}
	return metadataTree(t, store, files)
}

// rowKey is a selected box as text.
func rowKey(b openimages.SelectedBox) string {
	return fmt.Sprint(b.Subset, " ", b.ImageID, " ", b.LabelID, " ", b.Label, " ", b.XMin, " ", b.XMax, " ", b.YMin, " ", b.YMax)
}

// reference selects in the plainest way: everything in memory, one rule after the other.
func (w world) reference(k selection.Kind, owners selection.Resolved, entry func(openimages.LabelID) string) (keys []string, funnel openimages.Funnel) {
	type box struct {
		openimages.Box
		subset string
	}
	attributes := map[string]int{"occluded": 0, "truncated": 1, "group_of": 2, "depiction": 3, "inside": 4}
	subsetOf := map[openimages.ImageID]string{}
	var boxes []box
	for _, s := range w.subsets {
		for _, id := range w.images[s] {
			subsetOf[openimages.ImageID(id)] = s
		}
		for _, row := range w.boxes[s] {
			b := openimages.Box{
				ImageID: openimages.ImageID(row[0]), LabelID: openimages.LabelID(row[2]),
				XMin: openimages.Fraction(row[4]), XMax: openimages.Fraction(row[5]),
				YMin: openimages.Fraction(row[6]), YMax: openimages.Fraction(row[7]),
			}
			for a := range b.Flags {
				b.Flags[a] = map[string]openimages.Flag{"1": openimages.Yes, "0": openimages.No, "-1": openimages.Unknown}[row[8+a]]
			}
			boxes = append(boxes, box{b, s})
		}
	}
	images := func() int64 {
		ids := map[openimages.ImageID]bool{}
		for _, b := range boxes {
			ids[b.ImageID] = true
		}
		return int64(len(ids))
	}
	var dropped [][]box // by rule
	apply := func(rule string, keep func(box) bool) {
		before, photos := int64(len(boxes)), images()
		dropped = append(dropped, nil)
		for _, b := range boxes {
			if rule != "duplicate" && !keep(b) { // which remembers what it has seen
				dropped[len(dropped)-1] = append(dropped[len(dropped)-1], b)
			}
		}
		boxes = slices.DeleteFunc(boxes, func(b box) bool { return !keep(b) })
		funnel.Rules = append(funnel.Rules, openimages.FunnelRule{
			Rule: rule, Boxes: int64(len(boxes)), Images: images(),
			DroppedBoxes: before - int64(len(boxes)), DroppedImages: photos - images(),
		})
	}

	apply("label", func(b box) bool { return owners.Class(b.LabelID) != "" })
	listed := map[openimages.ImageID]bool{}
	for _, b := range boxes {
		if subsetOf[b.ImageID] != "" {
			listed[b.ImageID] = true
		}
	}
	funnel.Rules[0].DroppedImages = int64(len(subsetOf) - len(listed))
	for _, name := range []string{"occluded", "truncated", "group_of", "depiction", "inside"} {
		if slices.Contains(k.Exclude, name) {
			apply(name, func(b box) bool { return b.Flags[attributes[name]] != openimages.Yes })
		}
	}
	apply("empty", func(b box) bool { return b.XMin.Float64() < b.XMax.Float64() && b.YMin.Float64() < b.YMax.Float64() })
	apply("unlisted", func(b box) bool { return subsetOf[b.ImageID] != "" })

	photosOf := map[string][]openimages.ImageID{} // by the label asked for
	for _, b := range boxes {
		if e := entry(b.LabelID); !slices.Contains(photosOf[e], b.ImageID) {
			photosOf[e] = append(photosOf[e], b.ImageID)
		}
	}
	for e, ids := range photosOf {
		slices.SortFunc(ids, func(a, b openimages.ImageID) int {
			x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
			return bytes.Compare(x[:], y[:])
		})
		if k.Limit > 0 {
			photosOf[e] = ids[:min(k.Limit, len(ids))]
		}
	}
	apply("limit", func(b box) bool { return slices.Contains(photosOf[entry(b.LabelID)], b.ImageID) })

	chosen := func(id openimages.ImageID) bool {
		for _, ids := range photosOf {
			if slices.Contains(ids, id) {
				return true
			}
		}
		return false
	}
	for i, boxes := range dropped[1:] { // boxes of other labels are not shown
		var examples []openimages.FunnelExample
		for _, b := range boxes {
			s := openimages.SelectedBox{Box: b.Box, ID: openimages.BoxID(b.Digest()[:8]), Label: owners.Class(b.LabelID)}
			examples = append(examples, s.Example())
		}
		slices.SortFunc(examples, func(a, b openimages.FunnelExample) int {
			first := map[bool]int{true: 0, false: 1}
			return cmp.Or(cmp.Compare(first[chosen(a.ImageID)], first[chosen(b.ImageID)]), cmp.Compare(a.ImageID, b.ImageID), cmp.Compare(a.Box, b.Box))
		})
		funnel.Rules[i+1].Examples = examples[:min(10, len(examples))]
	}

	seen := map[string]bool{}
	apply("duplicate", func(b box) bool {
		key := rowKey(openimages.SelectedBox{Box: b.Box, Subset: b.subset, Label: owners.Class(b.LabelID)})
		defer func() { seen[key] = true }()
		return !seen[key]
	})
	for key := range seen {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys, funnel
}

// selected reads boxes.csv, and checks its order and images.csv against it.
func selected(t *testing.T, tree cas.Tree, subsets []string) []openimages.SelectedBox {
	t.Helper()
	var boxes []openimages.SelectedBox
	for b, err := range openimages.SelectedBoxes(strings.NewReader(stagetest.Read(t, tree, "boxes.csv")), "boxes.csv") {
		if err != nil {
			t.Fatal(err)
		}
		boxes = append(boxes, b)
	}
	order := func(a, b openimages.SelectedBox) int {
		return cmp.Or(
			cmp.Compare(slices.Index(subsets, a.Subset), slices.Index(subsets, b.Subset)),
			cmp.Compare(a.ImageID, b.ImageID), cmp.Compare(a.ID, b.ID))
	}
	var want []string
	for i, b := range boxes {
		if i > 0 && order(boxes[i-1], b) >= 0 {
			t.Errorf("boxes.csv: row %d is out of order", i)
		}
		if photo := b.Subset + " " + string(b.ImageID); !slices.Contains(want, photo) {
			want = append(want, photo)
		}
	}
	var got []string
	for i, err := range openimages.SelectedImages(strings.NewReader(stagetest.Read(t, tree, "images.csv")), "images.csv") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, i.Subset+" "+string(i.ImageID))
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("images.csv does not list the photos of boxes.csv: %s", diff)
	}
	return boxes
}

func keysOf(boxes []openimages.SelectedBox) []string {
	var keys []string
	for _, b := range boxes {
		keys = append(keys, rowKey(b))
	}
	slices.Sort(keys)
	return keys
}

func readFunnel(t *testing.T, tree cas.Tree) openimages.Funnel {
	t.Helper()
	f, err := openimages.ReadFunnel(strings.NewReader(stagetest.Read(t, tree, "funnel.json")), "funnel.json")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestAgainstReference holds the streaming selection against the plain one, for
// random metadata and random rules, and with the rows in another order and hardly any
// memory to sort them in.
func TestAgainstReference(t *testing.T) {
	classes, hierarchy := smallWorld(t)
	r := rand.New(rand.NewPCG(1, 2))
	choices := [][]manifest.Label{
		{{Name: "Sandwich"}, {Name: "Hamburger"}},
		{{Name: "Food", Descendants: true}, {Name: "Hamburger"}, {Name: "Sausage", Descendants: true}},
		{{Name: "Sandwich", Descendants: true, Except: []string{"Hot dog"}}, {Name: "Cheeseburger", As: "Sandwich"}},
	}
	for i := range 24 {
		w := newWorld(r)
		k := selection.Kind{Labels: choices[i%len(choices)], Subsets: w.subsets, Limit: []int{0, 1, 3, 10}[r.IntN(4)]}
		for _, a := range []string{"inside", "depiction", "group_of", "truncated", "occluded"} {
			if r.IntN(3) == 0 {
				k.Exclude = append(k.Exclude, a)
			}
		}
		resolved, err := selection.ResolveLabels(classes, hierarchy, k.Labels)
		if err != nil {
			t.Fatal(err)
		}
		// The label asked for that gets the boxes: the classes are not enough, since
		// two labels may make one. Asking for one label at a time tells them apart.
		entry := func(id openimages.LabelID) string {
			if id == "/m/cheese" && len(k.Labels) == 2 && k.Labels[1].Name == "Cheeseburger" {
				return "Cheeseburger"
			}
			return resolved.Class(id)
		}
		want, wantFunnel := w.reference(k, resolved, entry)

		store := cas.NewMemory()
		tree, result := stagetest.Run(t, store, k, map[string]cas.Tree{"metadata": w.tree(t, store)})
		boxes := selected(t, tree, w.subsets)
		if diff := gocmp.Diff(want, keysOf(boxes)); diff != "" {
			t.Fatalf("world %d, %+v: %s", i, k, diff)
		}
		funnel := readFunnel(t, tree)
		funnel.Rules[len(funnel.Rules)-1].Examples = nil // which of two equal boxes is the second, the id does not say
		if diff := gocmp.Diff(wantFunnel.Rules, funnel.Rules); diff != "" {
			t.Fatalf("world %d, %+v: funnel: %s", i, k, diff)
		}
		if got := result.Counters["boxes"]; got != int64(len(boxes)) {
			t.Errorf("counted %d boxes, have %d", got, len(boxes))
		}

		w.shuffle(r)
		again, _ := stagetest.Run(t, store, k.Holding(500+r.IntN(4000)), map[string]cas.Tree{"metadata": w.tree(t, store)})
		if again.ID() != tree.ID() {
			t.Errorf("world %d: the output depends on the order of the input's rows, or on what fits into memory", i)
		}
	}
}

// TestRaisingTheLimitOnlyAdds is the promise of the manifest's limit.
func TestRaisingTheLimitOnlyAdds(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	store := cas.NewMemory()
	for range 5 {
		w := newWorld(r)
		metadata := map[string]cas.Tree{"metadata": w.tree(t, store)}
		var before []openimages.SelectedBox
		for _, limit := range []int{1, 2, 5, 11, 40, 0} {
			k := selection.Kind{Labels: []manifest.Label{{Name: "Sandwich", Descendants: true}, {Name: "Hamburger"}}, Subsets: w.subsets, Limit: limit}
			tree, _ := stagetest.Run(t, store, k, metadata)
			boxes := selected(t, tree, w.subsets)
			photos := map[string]map[openimages.ImageID]bool{}
			for _, b := range boxes {
				if photos[b.Label] == nil {
					photos[b.Label] = map[openimages.ImageID]bool{}
				}
				photos[b.Label][b.ImageID] = true
			}
			for label, ids := range photos {
				if limit > 0 && len(ids) > limit {
					t.Errorf("limit %d: %d photos of %s", limit, len(ids), label)
				}
			}
			for _, b := range before {
				if !slices.ContainsFunc(boxes, func(c openimages.SelectedBox) bool { return b == c }) {
					t.Errorf("limit %d lost %s", limit, rowKey(b))
				}
			}
			before = boxes
		}
	}
}
