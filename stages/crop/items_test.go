package crop_test

import (
	"context"
	"io"
	"maps"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/crop"
	"github.com/sandwich-build/sandwich/stages/stagetest"
)

// world is what a build of crops starts from.
type world struct {
	crop     manifest.Crop
	boxes    manifest.Boxes
	pictures map[openimages.ImageID]picture
}

// newWorld returns six photos, of which one lacks its end, which shows when it is decoded,
// one is no photo, which its header shows, and one is dead. Box sides are 10 to 60 pixels.
func newWorld(tb testing.TB) world {
	tb.Helper()
	w := world{manifest.Crop{Shape: "letterbox", Size: 16}, manifest.Boxes{MinSide: 5}, map[openimages.ImageID]picture{}}
	add := func(id openimages.ImageID, data []byte, boxes ...openimages.SelectedBox) {
		w.pictures[id] = picture{id, data, pinfile.Original, 0, boxes}
	}
	jpg := func(width, height int) []byte { return encodeJPEG(tb, quadrants(width, height)) }
	add("wide", jpg(100, 60), box("A", "0", "0.5", "0", "0.5"), box("B", "0.5", "1", "0.5", "1"), box("B", "0.5", "0.6", "0", "0.5"))
	add("high", jpg(60, 100), box("A", "0.25", "0.75", "0.2", "0.3"))
	add("small", jpg(40, 40), box("B", "0.1", "0.6", "0.1", "0.35"))
	add("short", append(jpg(80, 80)[:900], 0xff, 0xd9), box("A", "0", "1", "0", "1"))
	add("html", []byte("<!DOCTYPE html>"), box("A", "0", "1", "0", "1"))
	add("dead", nil, box("A", "0", "1", "0", "1"))
	return w
}

// with returns a world in which a photo is another one.
func (w world) with(id openimages.ImageID, change func(p *picture)) world {
	w.pictures = maps.Clone(w.pictures)
	p := w.pictures[id]
	p.boxes = slices.Clone(p.boxes)
	change(&p)
	w.pictures[id] = p
	return w
}

func (w world) build(tb testing.TB, store cas.Store, name string) stagetest.Case {
	tb.Helper()
	return stagetest.Case{Name: name, Kind: crop.New(w.crop, w.boxes), Inputs: inputs(tb, store, slices.Collect(maps.Values(w.pictures)))}
}

// change is a change of the world, and which photos have to be read for it.
type change struct {
	name string
	to   world
	read []openimages.ImageID
}

func changes(tb testing.TB) []change {
	w := newWorld(tb)
	rule := func(f func(w *world)) world { w := w; f(&w); return w }
	fewer := maps.Clone(w.pictures)
	delete(fewer, "wide")
	return []change{
		{"nothing", w, nil},
		{"crop.Shape", rule(func(w *world) { w.crop.Shape = "stretch" }), ids("high", "short", "small", "wide")},
		{"crop.Size", rule(func(w *world) { w.crop.Size = 17 }), ids("high", "short", "small", "wide")},
		{"crop.Pad", rule(func(w *world) { w.crop.Pad = 0.1 }), ids("high", "small", "wide")}, // short is cut whole
		{"crop.TruncatedFiles", rule(func(w *world) { w.crop.TruncatedFiles = "keep" }), nil},
		{"boxes.min_side, of which some boxes fall short", rule(func(w *world) { w.boxes.MinSide = 11 }), nil},
		{"boxes.min_area", rule(func(w *world) { w.boxes.MinArea = 0.1 }), nil},
		{"boxes.max_area", rule(func(w *world) { w.boxes.MaxArea = 0.2 }), nil},
		{"boxes.max_aspect", rule(func(w *world) { w.boxes.MaxAspect = 2 }), nil},
		{"boxes.margin", rule(func(w *world) { w.boxes.Margin = 0.01 }), nil},
		{"a photo's bytes", w.with("wide", func(p *picture) { p.data = encodeJPEG(tb, quadrants(102, 60)) }), ids("wide")},
		{"a photo that cannot be used", w.with("wide", func(p *picture) { p.data = []byte("<html>") }), ids("wide")},
		{"a photo dies", w.with("wide", func(p *picture) { p.data = nil }), nil},
		{"a photo is back", w.with("dead", func(p *picture) { p.data = encodeJPEG(tb, quadrants(20, 20)) }), ids("dead")},
		{"a photo is new", w.with("new", func(p *picture) {
			*p = picture{"new", encodeJPEG(tb, quadrants(30, 30)), pinfile.CVDF, 0, []openimages.SelectedBox{box("B", "0", "1", "0", "1")}}
		}), ids("new")},
		{"a photo is gone", world{w.crop, w.boxes, fewer}, nil},
		{"a box is moved", w.with("wide", func(p *picture) { p.boxes[0] = box("A", "0", "0.6", "0", "0.5") }), ids("wide")},
		{"a box is new", w.with("wide", func(p *picture) { p.boxes = append(p.boxes, box("B", "0", "1", "0", "1")) }), ids("wide")},
		{"a box is gone", w.with("wide", func(p *picture) { p.boxes = p.boxes[:1] }), nil},
		{"a label", w.with("wide", func(p *picture) { p.boxes[0].Label = "C" }), nil},
		{"a rotation", w.with("wide", func(p *picture) { p.rotation = 90 }), ids("wide")},
		{"a place, of an upright photo", w.with("wide", func(p *picture) { p.place = pinfile.Thumbnail }), nil},
	}
}

func ids(names ...openimages.ImageID) []openimages.ImageID { return names }

// TestItems holds that no build is misled by another one, whatever differs.
func TestItems(t *testing.T) {
	store := cas.NewMemory()
	var cases []stagetest.Case
	fields := map[string]bool{}
	for _, c := range changes(t) {
		cases = append(cases, c.to.build(t, store, c.name))
		fields[c.name] = true
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[manifest.Crop]()) {
		if !fields["crop."+f.Name] {
			t.Errorf("no case changes %s", f.Name)
		}
	}
	stagetest.Items(t, store, cases...)
}

// reads is a store that knows which photos were read.
type reads struct {
	*cas.Memory

	mu   sync.Mutex // guards seen
	seen map[cas.Digest]bool
}

// Open implements cas.Store.
func (r *reads) Open(ctx context.Context, d cas.Digest) (io.ReadCloser, error) {
	r.mu.Lock()
	r.seen[d] = true
	r.mu.Unlock()
	return r.Memory.Open(ctx, d)
}

// TestOnlyWhatDiffers holds that a change reads, and so decodes, only the photos that it
// concerns, and that the story of the run says so.
func TestOnlyWhatDiffers(t *testing.T) {
	for _, c := range changes(t) {
		t.Run(c.name, func(t *testing.T) {
			store := &reads{Memory: cas.NewMemory(), seen: map[cas.Digest]bool{}}
			builds := stagetest.NewBuilds(store)
			builds.Build(t, newWorld(t).build(t, store, "before"))
			clear(store.seen)
			step := builds.Build(t, c.to.build(t, store, c.name))
			var read []openimages.ImageID
			found := 0
			for id, p := range c.to.pictures {
				if p.data != nil {
					found++
				}
				if p.data != nil && store.seen[cas.Sum(p.data)] {
					read = append(read, id)
				}
			}
			slices.Sort(read)
			if diff := cmp.Diff(c.read, read); diff != "" {
				t.Errorf("photos read (-want +got)\n%s", diff)
			}
			want := []stages.Work{{Unit: "photos", Verb: "read", Done: int64(len(read)), Reused: int64(found - len(read))}}
			if c.name == "nothing" {
				want = nil // the stage is cached
			}
			if diff := cmp.Diff(want, step.Work); diff != "" {
				t.Errorf("work (-want +got)\n%s", diff)
			}
		})
	}
}

// TestMemory gives the stage more memory and less than a photo may take.
func TestMemory(t *testing.T) {
	store := cas.NewMemory()
	c := newWorld(t).build(t, store, "as it likes")
	want := stagetest.NewBuilds(store).Build(t, c).Result
	c.Limit.Memory = 1 << 30
	if got := stagetest.NewBuilds(store).Build(t, c).Result; got.Tree != want.Tree {
		t.Errorf("with more memory the output is %s, not %s", got.Tree, want.Tree)
	}
	c.Limit.Memory = 100 << 20
	_, err := stagetest.NewBuilds(store).Try(t.Context(), c)
	if want := "crop: a photo may take 192 MiB to decode, and the stage is to have 100: raise its limit of memory"; err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
}
