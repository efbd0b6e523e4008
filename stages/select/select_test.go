package selection_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/shared"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk/disktest"
	"github.com/sandwich-build/sandwich/stages/metadata"
	selection "github.com/sandwich-build/sandwich/stages/select"
	"github.com/sandwich-build/sandwich/stages/stagetest"
)

const imageRows = `1000000000000001,train,https://x/1.jpg,https://x/1,https://by/2.0/,https://x/who,"Who, Me",Lunch,1234,CY9rzUYh03PK3k6DJie09g==,https://x/1_z.jpg,90.0
1000000000000002,train,https://x/2.jpg,,,,,,,,,
1000000000000003,train,https://x/3.jpg,,,,,,,,,
`

// indexed is what the stage before makes of metadata files.
func indexed(t *testing.T, store cas.Store, files map[string]string) (cas.Tree, error) {
	t.Helper()
	var kind metadata.Kind
	for path, text := range files {
		d, err := store.Put(t.Context(), strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		kind.Files = append(kind.Files, metadata.File{Path: path, Digest: d})
	}
	result, err := stages.RunKind(t.Context(), store, kind, nil, 2, stages.Discard)
	return cas.NewTree(store, result.Tree), err
}

// metadataTree is indexed for files without faults.
func metadataTree(t *testing.T, store cas.Store, files map[string]string) cas.Tree {
	t.Helper()
	tree, err := indexed(t, store, files)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// one runs the kind on a metadata tree with one subset.
func one(t *testing.T, k selection.Kind, boxes, images string) (cas.Tree, cas.Result, error) {
	t.Helper()
	store := cas.NewMemory()
	k.Subsets = []string{"train"}
	metadata, err := indexed(t, store, map[string]string{
		"classes.csv": classesCSV, "hierarchy.json": hierarchyJSON,
		"boxes/train.csv": boxHeader + boxes, "images/train.csv": imageHeader + images,
	})
	if err != nil {
		return cas.Tree{}, cas.Result{}, err
	}
	result, err := stages.RunKind(t.Context(), store, k, map[string]cas.Tree{"metadata": metadata}, 4, stages.Discard)
	return cas.NewTree(store, result.Tree), result, err
}

// TestGolden holds every byte of a small selection. When it fails because the output
// was meant to change, raise Kind.Version as well.
func TestGolden(t *testing.T) {
	const boxes = `1000000000000002,xclick,/m/burger,1,0.25,0.75,0.000000,0.5,0,0,0,0,0
1000000000000001,xclick,/m/sandwich,1,0.1,0.2,0.3,0.4,1,-1,0,0,0
1000000000000001,xclick,/m/sandwich,1,0.1,0.2,0.3,0.4,1,-1,0,0,0
1000000000000001,activemil,/m/cheese,1,0.5,0.6,0.7,0.8,-1,-1,-1,-1,-1
1000000000000001,xclick,/m/sandwich,1,0.1,0.2,0.3,0.4,0,0,0,1,0
1000000000000003,xclick,/m/sausage,1,0.1,0.2,0.3,0.4,0,0,0,0,0
1000000000000003,xclick,/m/hotdog,1,0.2,0.2,0.3,0.4,0,0,0,0,0
1000000000000009,xclick,/m/hotdog,1,0.1,0.2,0.3,0.4,0,0,0,0,0
`
	k := selection.Kind{
		Labels:  []manifest.Label{{Name: "sandwich", Descendants: true}, {Name: "Hamburger", As: "burger", Descendants: true}},
		Exclude: []string{"depiction"},
	}
	tree, result, err := one(t, k, boxes, imageRows)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"boxes.csv": `Box,ImageID,Subset,Source,LabelID,LabelName,Label,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside
098fc3e5,1000000000000001,train,xclick,/m/sandwich,Sandwich,Sandwich,1,0.1,0.2,0.3,0.4,1,-1,0,0,0
29380029,1000000000000001,train,activemil,/m/cheese,Cheeseburger,burger,1,0.5,0.6,0.7,0.8,-1,-1,-1,-1,-1
85246432,1000000000000002,train,xclick,/m/burger,Hamburger,burger,1,0.25,0.75,0.000000,0.5,0,0,0,0,0
`,
		"images.csv": strings.TrimSpace(imageHeader) + `,SHA256
1000000000000001,train,https://x/1.jpg,https://x/1,https://by/2.0/,https://x/who,"Who, Me",Lunch,1234,CY9rzUYh03PK3k6DJie09g==,https://x/1_z.jpg,90.0,
1000000000000002,train,https://x/2.jpg,,,,,,,,,,
`,
		"labels.json": `{"labels":["Sandwich","burger"]}` + "\n",
		"funnel.json": `{"rules":[` +
			`{"rule":"label","boxes":7,"images":4,"dropped_boxes":1,"dropped_images":0},` +
			`{"rule":"depiction","boxes":6,"images":4,"dropped_boxes":1,"dropped_images":0,"examples":[{"image":"1000000000000001","box":"098fc3e5","label":"Sandwich","at":["0.1","0.2","0.3","0.4"]}]},` +
			`{"rule":"empty","boxes":5,"images":3,"dropped_boxes":1,"dropped_images":1,"examples":[{"image":"1000000000000003","box":"52424eda","label":"Sandwich","at":["0.2","0.2","0.3","0.4"]}]},` +
			`{"rule":"unlisted","boxes":4,"images":2,"dropped_boxes":1,"dropped_images":1,"examples":[{"image":"1000000000000009","box":"cfce947a","label":"Sandwich","at":["0.1","0.2","0.3","0.4"]}]},` +
			`{"rule":"limit","boxes":4,"images":2,"dropped_boxes":0,"dropped_images":0},` +
			`{"rule":"duplicate","boxes":3,"images":2,"dropped_boxes":1,"dropped_images":0,"examples":[{"image":"1000000000000001","box":"098fc3e5","label":"Sandwich","at":["0.1","0.2","0.3","0.4"]}]}],` +
			`"moved":[{"from":"Sandwich","to":"Hamburger","boxes":2}]}` + "\n",
	}
	for path, content := range want {
		if diff := cmp.Diff(content, stagetest.Read(t, tree, path)); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
	wantLog := []string{
		"Sandwich: 1 box on 1 photo",
		"burger: 2 boxes on 2 photos",
		"Sandwich asks for 2 boxes that went to Hamburger, which is more specific",
		"1 box cannot be excluded by depiction: nobody answered that (-1)",
		"left out 1 box on photos that the image files do not list",
	}
	var log []string
	for _, line := range result.Log {
		log = append(log, line.Text)
	}
	if diff := cmp.Diff(wantLog, log); diff != "" {
		t.Errorf("log: %s", diff)
	}
	if diff := cmp.Diff(map[string]int64{"boxes": 3, "images": 2, "moved": 2}, result.Counters); diff != "" {
		t.Errorf("counters: %s", diff)
	}
}

// TestLicence keeps the photos of two licences, and says what became of the others.
func TestLicence(t *testing.T) {
	const (
		images = `1000000000000001,train,https://x/1.jpg,,https://creativecommons.org/licenses/by/2.0/,,,,,,,
1000000000000002,train,https://x/2.jpg,,https://creativecommons.org/licenses/by-nc/2.0/,,,,,,,
1000000000000003,train,https://x/3.jpg,,,,,,,,,
1000000000000004,train,https://x/4.jpg,,http://example.org/terms,,,,,,,
`
		box = ",xclick,/m/sandwich,1,0.1,0.2,0.3,0.4,0,0,0,0,0\n"
	)
	k := selection.Kind{Labels: []manifest.Label{{Name: "Sandwich"}}, Licence: []string{"CC BY", "https://example.org/terms/"}}
	tree, result, err := one(t, k, "1000000000000001"+box+"1000000000000002"+box+"1000000000000003"+box+"1000000000000004"+box, images)
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for _, b := range selected(t, tree, []string{"train"}) {
		kept = append(kept, string(b.ImageID))
	}
	if diff := cmp.Diff([]string{"1000000000000001", "1000000000000004"}, kept); diff != "" {
		t.Error(diff)
	}
	if funnel := stagetest.Read(t, tree, "funnel.json"); !strings.Contains(funnel, `{"rule":"licence","boxes":2,"images":2,"dropped_boxes":2,"dropped_images":2,"examples":[`) {
		t.Errorf("got %s", funnel)
	}
	want := `left out 1 photo without a licence that is known, such as 1000000000000003: ""`
	if !slices.ContainsFunc(result.Log, func(l cas.Line) bool { return l.Text == want }) {
		t.Errorf("got %v, want %q", result.Log, want)
	}
}

// TestDuplicatesThatDiffer has rows of one box that differ in what does not identify
// it: whatever their order, the same one stays.
func TestDuplicatesThatDiffer(t *testing.T) {
	rows := []string{
		"1000000000000001,xclick,/m/sandwich,1,0.1,0.2,0.3,0.4,0,0,0,0,0\n",
		"1000000000000001,activemil,/m/sandwich,1,0.1,0.2,0.3,0.4,0,0,0,0,0\n",
		"1000000000000001,activemil,/m/sandwich,0.5,0.1,0.2,0.3,0.4,0,0,0,0,0\n",
		"1000000000000001,activemil,/m/sandwich,0.5,0.1,0.2,0.3,0.4,1,0,0,0,0\n",
	}
	for _, first := range rows {
		for _, second := range rows {
			k := selection.Kind{Labels: []manifest.Label{{Name: "Sandwich"}}}
			tree, _, err := one(t, k, first+second, imageRows)
			if err != nil {
				t.Fatal(err)
			}
			other, _, err := one(t, k, second+first, imageRows)
			if err != nil {
				t.Fatal(err)
			}
			if tree.ID() != other.ID() || len(selected(t, tree, []string{"train"})) != 1 {
				t.Errorf("the order of these rows matters, or both stayed:\n%s%s", first, second)
			}
		}
	}
}

// TestBoxIDsThatCollide gives both of two boxes whose digests start with the same eight
// digits, found by trial, one digit more.
func TestBoxIDsThatCollide(t *testing.T) {
	first, second := collidingBoxes(t)
	boxes := "1000000000000001,x,/m/sandwich,1," + first + ",1,0,1,0,0,0,0,0\n" +
		"1000000000000001,x,/m/sandwich,1," + second + ",1,0,1,0,0,0,0,0\n" +
		"1000000000000002,x,/m/sandwich,1," + second + ",1,0,1,0,0,0,0,0\n"
	tree, _, err := one(t, selection.Kind{Labels: []manifest.Label{{Name: "Sandwich"}}}, boxes, imageRows)
	if err != nil {
		t.Fatal(err)
	}
	got := selected(t, tree, []string{"train"})
	if len(got) != 3 || len(got[0].ID) <= 8 || len(got[1].ID) <= 8 || got[0].ID == got[1].ID || len(got[2].ID) != 8 {
		t.Errorf("got %+v", got)
	}
}

func collidingBoxes(t *testing.T) (first, second string) {
	t.Helper()
	seen := map[string]string{}
	for i := range 1_000_000 {
		x := "0." + string([]byte{'0' + byte(i/100000%10), '0' + byte(i/10000%10), '0' + byte(i/1000%10), '0' + byte(i/100%10), '0' + byte(i/10%10), '0' + byte(i%10)})
		b := openimages.Box{LabelID: "/m/sandwich", XMin: openimages.Fraction(x), XMax: "1", YMin: "0", YMax: "1"}
		id := b.Digest()[:openimages.BoxIDDigits]
		if other, ok := seen[id]; ok {
			return other, x
		}
		seen[id] = x
	}
	t.Fatal("no collision found")
	return "", ""
}

func TestFaults(t *testing.T) {
	sandwich := []manifest.Label{{Name: "Sandwich"}}
	const good = "1000000000000001,x,/m/sandwich,1,0.1,0.2,0.3,0.4,0,0,0,0,0\n"
	tests := []struct {
		name          string
		kind          selection.Kind
		boxes, images string
		err           string
	}{
		{"unknown label", selection.Kind{Labels: []manifest.Label{{Name: "Pizza"}}}, good, imageRows, `dataset.labels[0]: no label is called "Pizza"`},
		{"unknown attribute", selection.Kind{Labels: sandwich, Exclude: []string{"blurry"}}, good, imageRows, `unknown attribute "blurry" of boxes`},
		{"bad box of another label", selection.Kind{Labels: sandwich}, good + "1000000000000001,x,/m/other,1,12,200,30,40,0,0,0,0,0\n", imageRows,
			`boxes/train.csv:3:XMin: want a fraction of the photo's side, from 0 to 1; this looks like pixels, got "12"`},
		{"bad image", selection.Kind{Labels: sandwich}, good, "1000000000000001,train,https://x,,,,,,many,,,\n",
			`images/train.csv:2:OriginalSize: want a number of bytes, got "many"`},
		{"photo listed twice", selection.Kind{Labels: sandwich}, good, imageRows + imageRows,
			`images/train.csv:5:ImageID: the photo 1000000000000001 is listed a second time`},
		{"photo listed twice, far apart and in front of another fault", selection.Kind{Labels: sandwich}, good,
			imageRows + strings.Repeat("2000000000000001,train,https://x,,,,,,,,,\n", 20_000) + imageRows + "..,train,https://x,,,,,,,,,\n",
			`images/train.csv:20005:ImageID: the photo 1000000000000001 is listed a second time`},
		{"no boxes", selection.Kind{Labels: []manifest.Label{{Name: "Sandwich"}, {Name: "Sausage"}}}, good, imageRows,
			`no boxes for Sausage; boxes dropped of all labels by rule: `},
		{"all boxes excluded", selection.Kind{Labels: sandwich, Exclude: []string{"inside"}}, "1000000000000001,x,/m/sandwich,1,0.1,0.2,0.3,0.4,0,0,0,0,1\n", imageRows,
			`no boxes for Sandwich; boxes dropped of all labels by rule: inside 1`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := one(t, test.kind, test.boxes, test.images)
			if err == nil || err.Error() != test.err {
				t.Errorf("got  %v\nwant %s", err, test.err)
			}
		})
	}
}

// What is wrong with a photo that the limit leaves out is of no concern.
func TestBadImageThatIsNotChosen(t *testing.T) {
	var boxes, images strings.Builder
	images.WriteString(imageRows)
	for i := range 30 {
		fmt.Fprintf(&boxes, "%016x,x,/m/sandwich,1,0.1,0.2,0.3,0.4,0,0,0,0,0\n", 0x1000000000000001+i)
		if i >= 3 {
			fmt.Fprintf(&images, "%016x,train,https://x,,,,,,%s,,,\n", 0x1000000000000001+i, map[bool]string{true: "many"}[i == 4])
		}
	}
	k := selection.Kind{Labels: []manifest.Label{{Name: "Sandwich"}}}
	for limit, want := range map[int]bool{1: true, 0: false} {
		k.Limit = limit
		if _, _, err := one(t, k, boxes.String(), images.String()); (err == nil) != want {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

// TestSharedFile reads one pair of files that serves two subsets: the rows say which
// photo is in which.
func TestSharedFile(t *testing.T) {
	store := cas.NewMemory()
	boxes := boxHeader + "1000000000000001,x,/m/sandwich,1,0.1,0.2,0.3,0.4,0,0,0,0,0\n1000000000000002,x,/m/sandwich,1,0.1,0.2,0.3,0.4,0,0,0,0,0\n"
	images := imageHeader + "1000000000000001,validation,https://x/1,,,,,,,,,\n1000000000000002,train,https://x/2,,,,,,,,,\n1000000000000003,test,https://x/3,,,,,,,,,\n"
	metadata := metadataTree(t, store, map[string]string{
		"classes.csv":     classesCSV,
		"boxes/train.csv": boxes, "images/train.csv": images,
		"boxes/validation.csv": boxes, "images/validation.csv": images,
	})
	k := selection.Kind{Labels: []manifest.Label{{Name: "Sandwich"}}, Subsets: []string{"train", "validation"}}
	tree, _ := stagetest.Run(t, store, k, map[string]cas.Tree{"metadata": metadata})
	got := selected(t, tree, k.Subsets)
	if len(got) != 2 || got[0].Subset != "train" || got[1].Subset != "validation" {
		t.Errorf("got %+v", got)
	}
}

func TestRunEndsWithTheContext(t *testing.T) {
	store := cas.NewMemory()
	metadata := metadataTree(t, store, map[string]string{
		"classes.csv":      classesCSV,
		"boxes/train.csv":  boxHeader + strings.Repeat("1000000000000001,x,/m/sandwich,1,0.1,0.2,0.3,0.4,0,0,0,0,0\n", 100_000),
		"images/train.csv": imageHeader + imageRows,
	})
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	// The first news of progress comes in the middle of the first pass.
	observer := observerFunc(func() { cancel(stop) })
	k := selection.Kind{Labels: []manifest.Label{{Name: "Sandwich"}}, Subsets: []string{"train"}}
	_, err := stages.RunKind(ctx, store, k, map[string]cas.Tree{"metadata": metadata}, 1, observer)
	if !errors.Is(err, stop) && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

type observerFunc func()

func (f observerFunc) Observe(stages.Event) { f() }

// realTree builds a metadata tree of files of the shared data.
func realTree(t *testing.T, store cas.Store, files map[string]string) cas.Tree {
	t.Helper()
	contents := map[string]string{}
	for path, name := range files {
		data, err := os.ReadFile(filepath.Join(shared.Dir(t), "data", name))
		if err != nil {
			t.Fatal(err)
		}
		contents[path] = string(data)
	}
	return metadataTree(t, store, contents)
}

// TestReal selects from the real rows. The numbers of the two-label sets are those of
// the files; the digests hold the bytes.
func TestReal(t *testing.T) {
	const (
		classes   = "metadata/v4/class-descriptions-boxable.csv"
		hierarchy = "metadata/v4/bbox_labels_600_hierarchy.json"
		derived   = "metadata/derived-hamburger-sandwich/"
		v3        = "metadata/v3-2017_11-slice/"
		full      = "openimages/full-metadata-23/"
	)
	tests := []struct {
		name     string
		files    map[string]string
		kind     selection.Kind
		counters map[string]int64
		digest   string
	}{
		{
			name: "hamburgers and sandwiches",
			files: map[string]string{
				"classes.csv": classes, "hierarchy.json": hierarchy,
				"boxes/train.csv": derived + "train-annotations-bbox.csv", "images/train.csv": derived + "train-images-with-rotation.csv",
				"boxes/validation.csv": derived + "validation-annotations-bbox.csv", "images/validation.csv": derived + "validation-images-with-rotation.csv",
			},
			kind: selection.Kind{
				Labels:  []manifest.Label{{Name: "Sandwich", Descendants: true}, {Name: "Hamburger"}},
				Subsets: []string{"train", "validation"}, Exclude: []string{"depiction", "group_of"},
			},
			counters: map[string]int64{"boxes": 1447, "images": 1447, "moved": 817},
			digest:   "sha256:87adc280ff2b6c3279fe8195a47dd00a39cfb075823d6d384b17e9baddec89c0",
		},
		{
			name: "no more than 100 each, from a class list of Excel for Mac",
			files: map[string]string{
				"classes.csv":     "metadata/variants/class-descriptions-boxable.cr-only.csv",
				"boxes/train.csv": derived + "train-annotations-bbox.csv", "images/train.csv": derived + "train-images-with-rotation.csv",
			},
			kind:     selection.Kind{Labels: []manifest.Label{{Name: "sandwich"}, {Name: "hamburger"}}, Subsets: []string{"train"}, Limit: 100},
			counters: map[string]int64{"boxes": 200, "images": 200, "moved": 0},
			digest:   "sha256:bdbc2b1216bbf2a72f3db42cf1df20b6a21e47b38e59d2c73c58c12004c6d79a",
		},
		{
			name: "V3, of which train has 8 columns",
			files: map[string]string{
				"classes.csv": v3 + "class-descriptions.csv", "hierarchy.json": hierarchy,
				"boxes/train.csv": v3 + "train/annotations-human-bbox.csv", "images/train.csv": v3 + "train/images.csv",
				"boxes/test.csv": v3 + "test/annotations-human-bbox.csv", "images/test.csv": v3 + "test/images.csv",
			},
			kind: selection.Kind{
				Labels:  []manifest.Label{{Name: "Person", Descendants: true, As: "person"}, {Name: "Tree"}, {Name: "/m/04_sv", As: "motorcycle"}},
				Subsets: []string{"train", "test"}, Exclude: []string{"inside", "group_of"},
			},
			counters: map[string]int64{"boxes": 398, "images": 117},
			digest:   "sha256:11e5811b7f856ed087e5c41b6dd5aa040a2e322c3f58e091be9c6601e91d9bd3",
		},
		{
			name: "23 photos with all that is known of them",
			files: map[string]string{
				"classes.csv": classes, "hierarchy.json": hierarchy,
				"boxes/validation.csv": full + "annotations-human-bbox.csv", "images/validation.csv": full + "images.csv",
			},
			kind:     selection.Kind{Labels: []manifest.Label{{Name: "Person", Descendants: true}}, Subsets: []string{"validation"}},
			counters: map[string]int64{"boxes": 26, "images": 7},
			digest:   "sha256:70726c84ac355e4b6226402ee66b04cf707723645079ffc8883a4024c2221aea",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			store := cas.NewMemory()
			tree, result := stagetest.Run(t, store, test.kind, map[string]cas.Tree{"metadata": realTree(t, store, test.files)})
			selected(t, tree, test.kind.Subsets)
			for _, line := range result.Log {
				t.Log(line.Text)
			}
			t.Log(result.Counters)
			for name, want := range test.counters {
				if got := result.Counters[name]; got != want {
					t.Errorf("%s: got %d, want %d", name, got, want)
				}
			}
			if got := tree.ID().String(); got != test.digest {
				t.Errorf("got %s, want %s", got, test.digest)
			}
		})
	}
}

func TestSuite(t *testing.T) {
	store := cas.NewMemory()
	metadata := metadataTree(t, store, map[string]string{
		"classes.csv": classesCSV, "hierarchy.json": hierarchyJSON, "images/train.csv": imageHeader + imageRows,
		"boxes/train.csv": boxHeader + "1000000000000001,x,/m/sandwich,1,0.1,0.2,0.3,0.4,0,0,0,0,0\n1000000000000002,x,/m/burger,1,0.1,0.2,0.3,0.4,0,0,0,0,0\n",
	})
	k := selection.Kind{Labels: []manifest.Label{{Name: "Sandwich"}, {Name: "Hamburger"}}, Subsets: []string{"train"}, Limit: 5}
	stagetest.Suite(t, store, k, map[string]cas.Tree{"metadata": metadata}, stagetest.Golden{Version: 3, Tree: "sha256:e9bb5545de4a7ac98af95f508d8c421eba97dbeb1ed19f4180209f9749da802f"})
}

// TestMemory holds that the memory in use does not follow what is selected: 20,000 photos of 300
// bytes with 60,000 boxes.
func TestMemory(t *testing.T) {
	const photos, mebibyte = 20_000, 1 << 20
	store := disktest.Open(t, t.TempDir())
	var boxes, images strings.Builder
	for i := range photos {
		fmt.Fprintf(&images, "%016x,train,https://x/%0250d.jpg,,,,,,,,,\n", i*7919, i)
		for label := range 3 {
			fmt.Fprintf(&boxes, "%016x,xclick,/m/%s,1,0.1,0.2,0.3,0.%06d,0,0,0,0,0\n", i*7919, []string{"sandwich", "burger", "sausage"}[label], 400_000+i)
		}
	}
	metadata := metadataTree(t, store, map[string]string{
		"classes.csv": classesCSV, "boxes/train.csv": boxHeader + boxes.String(), "images/train.csv": imageHeader + images.String(),
	})
	boxes.Reset()
	images.Reset()
	use := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	var most, calls int
	before := use()
	observer := observerFunc(func() {
		if calls++; calls%4 == 0 {
			most = max(most, use()-before)
		}
	})
	k := selection.Kind{
		Labels: []manifest.Label{{Name: "Sandwich"}, {Name: "Hamburger"}, {Name: "Sausage"}}, Subsets: []string{"train"},
		Limit: photos - 1, Scratch: t.TempDir(),
	}
	result, err := stages.RunKind(t.Context(), store, k.Holding(mebibyte), map[string]cas.Tree{"metadata": metadata}, 1, observer)
	if err != nil {
		t.Fatal(err)
	}
	if got := result.Counters["images"]; got != photos-1 {
		t.Errorf("%d photos", got)
	}
	// There are the photos' digests, those that each label has chosen, a mebibyte of boxes and one of photos.
	if calls < 30 || most < mebibyte || most > 6*mebibyte {
		t.Errorf("%.1f MiB at the most, seen in %d calls", float64(most)/mebibyte, calls)
	}
}
