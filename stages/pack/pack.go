// Package pack is the kind of stage that lays out the package: everything that a person
// needs to use the model, and to build it again.
//
//	README.md                   the card
//	manifest.yaml, manifest.lock
//	data/photos/<ImageID>.jpg   the photos as downloaded, unless the manifest leaves them out
//	data/photos.csv, dead.csv   where each came from; those that are gone
//	data/boxes.csv, images.csv  the boxes that were asked for, and the rows of their photos
//	data/labels.json            the classes
//	data/metadata/              the lists of labels that the classes were looked up in
//	data/crops/<set>/<label>/…  the crops
//	data/crops.csv, split.csv   what each crop is cut from, what it is for
//	data/X_meta.csv             the boxes of the crops, with the article's columns
//	data/attribution.csv        author, title, licence and address of every photo
//	data/attribution.html       the same as a page
//	code/                       the user's sources, or this binary's list of modules
//	environment/                what the build ran in, and how to make that again
//	environment/image/          the layout of the image that the user's own stages ran in, unless the manifest leaves it out
//	environment/wheels/         the wheels that the user's own stages import, unless the manifest leaves them out
//	environment/conda/          the packages of conda's that they run with, unless the manifest leaves them out
//	model/                      weights, network, preprocessing, history
//	report/                     a page that shows it all, contact sheets, metrics, predictions, what was left out and why
//	provenance/                 how each stage came to its output, and the files of that
//	files/                      what stages of the user's own read, as it lay beside the manifest
//	stages/<stage>/             what they wrote, unless they took another stage's place
//
// Nothing is copied: the package is a tree of pointers to what the other stages wrote.
package pack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/sandwich-build/sandwich/internal/conda/archive"
	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/internal/provenance"
	"github.com/sandwich-build/sandwich/internal/table"
	"github.com/sandwich-build/sandwich/internal/wheel"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// The names of the stage's inputs.
const (
	Metadata   = "metadata"   // the output of metadata
	Selection  = "selection"  // of select
	Photos     = "photos"     // of download
	Crops      = "crops"      // of crop
	Quality    = "quality"    // of quality
	Split      = "split"      // of split
	Model      = "model"      // of train
	Evaluation = "evaluation" // of evaluate
	Report     = "report"     // of report
	Image      = "image"      // of image, if it goes into the package
	Wheels     = "wheels"     // of wheels, if they go into the package
	Conda      = "conda"      // of conda, if its packages go into the package
	Project    = "project"    // manifest.yaml, manifest.lock, code/, environment/ and the stages in provenance/
)

// ImageFolder has the image in a package.
const ImageFolder = "environment/image"

// WheelsFolder has the wheels in a package.
const WheelsFolder = "environment/wheels"

// CondaFolder has the packages of conda's in a package.
const CondaFolder = "environment/conda"

// outputs are the inputs that are outputs of stages, in the order in which those run.
var outputs = []string{Conda, Wheels, Image, Metadata, Selection, Photos, Crops, Quality, Split, Model, Evaluation, Report}

// OwnInput is the name of the input that has the output of a stage of the user's own, which
// does not take the place of another.
func OwnInput(stage string) string { return "stage " + stage }

// Params decide the package besides its inputs.
type Params struct {
	Package   string   `json:"package"`          // its name, namespace/name
	Message   string   `json:"message"`          // what this revision is about
	Originals bool     `json:"originals"`        // whether the photos go into it
	Stages    []string `json:"stages,omitempty"` // of the user's own, whose outputs go into it besides
}

// Kind is the stage.
type Kind struct{ params Params }

// New returns the stage.
func New(p Params) Kind { return Kind{p} }

// Parse makes the stage of its parameters, as they are in an action.
func Parse(text []byte) (Kind, error) {
	p, err := stages.ParseParams[Params](text)
	return New(p), err
}

// Name returns "pack".
func (Kind) Name() string { return "pack" }

// Version returns the behaviour version. Since 4, there is attribution.html.
func (Kind) Version() int { return 4 }

// Params returns the parameters.
func (k Kind) Params() any { return k.params }

// Run lays out the package.
func (k Kind) Run(ctx context.Context, t *stages.Task) error {
	if err := k.addParts(ctx, t); err != nil {
		return err
	}
	assigned, err := k.addCrops(ctx, t)
	if err != nil {
		return err
	}
	if err := addMeta(ctx, t, assigned); err != nil {
		return err
	}
	photos, err := addAttribution(ctx, t, k.params.Package)
	if err != nil {
		return err
	}
	card, err := k.card(ctx, t, assigned, photos)
	if err != nil {
		return err
	}
	if err := k.addOutputs(ctx, t); err != nil {
		return err
	}
	t.Count("crops", int64(len(assigned)))
	return t.Out().PutBytes(ctx, "README.md", card)
}

// part is a file or a directory of an input, and its place in the package.
type part struct{ input, from, to string }

// files are the parts that are single files.
var files = []part{
	{Selection, openimages.SelectedBoxesFile, "data/boxes.csv"},
	{Selection, openimages.SelectedImagesFile, "data/images.csv"},
	{Selection, openimages.LabelsFile, "data/labels.json"},
	{Selection, openimages.FunnelFile, "report/funnel-select.json"},
	{Photos, pinfile.PhotosFile, "data/photos.csv"},
	{Photos, pinfile.DeadFile, "data/dead.csv"},
	{Quality, cropfile.CropsFile, "data/crops.csv"},
	{Crops, cropfile.CropsFile, "report/crops.csv"}, // those that quality left out as well
	{Crops, openimages.FunnelFile, "report/funnel-crop.json"},
	{Crops, "quarantine.csv", "report/quarantine.csv"},
	{Quality, openimages.FunnelFile, "report/funnel-quality.json"},
	{Quality, cropfile.MeasuresFile, "report/measures.csv"},
	{Quality, cropfile.DuplicatesFile, "report/duplicates.csv"},
	{Quality, cropfile.ContradictionsFile, "report/contradictions.csv"},
	{Split, cropfile.SplitFile, "data/split.csv"},
	{Split, cropfile.AuditFile, "report/audit.json"},
}

// addParts points at what other stages wrote.
func (k Kind) addParts(ctx context.Context, t *stages.Task) error {
	for _, p := range files {
		d, err := t.Input(p.input).Lookup(ctx, p.from)
		if err != nil {
			return err
		}
		if err := t.Out().Add(p.to, d); err != nil {
			return err
		}
	}
	if err := addLists(ctx, t); err != nil {
		return err
	}
	trees := []part{{Project, "", ""}, {Model, "", "model"}, {Evaluation, "", "report"}}
	if has(t, Report) {
		trees = append(trees, part{Report, "", "report"})
	}
	if has(t, Image) {
		trees = append(trees, part{Image, "", ImageFolder})
	}
	if has(t, Wheels) {
		trees = append(trees, part{Wheels, wheel.Archives, WheelsFolder})
	}
	if has(t, Conda) {
		trees = append(trees, part{Conda, archive.Archives, CondaFolder})
	}
	if k.params.Originals {
		trees = append(trees, part{Photos, "photos", "data/photos"})
	}
	for _, name := range k.params.Stages {
		trees = append(trees, part{OwnInput(name), "", path.Join("stages", name)})
	}
	for _, p := range trees {
		if err := addTree(ctx, t, p); err != nil {
			return err
		}
	}
	return nil
}

// addLists points at the metadata that are not in folders of subsets: the labels of the
// data set. The rows of the boxes and the photos, which may be gigabytes, are there as far as
// they were selected.
func addLists(ctx context.Context, t *stages.Task) error {
	for f, err := range t.Input(Metadata).Files(ctx) {
		if err != nil {
			return err
		}
		if strings.Contains(f.Path, "/") {
			continue
		}
		if err := t.Out().Add(path.Join("data/metadata", f.Path), f.Digest); err != nil {
			return err
		}
	}
	return nil
}

// addOutputs lists the files of the stages' outputs, most of which are in the package.
func (k Kind) addOutputs(ctx context.Context, t *stages.Task) error {
	trees := func(yield func(cas.Tree) bool) {
		for _, name := range outputs {
			if has(t, name) && !yield(t.Input(name)) {
				return
			}
		}
		for _, name := range k.params.Stages {
			if !yield(t.Input(OwnInput(name))) {
				return
			}
		}
	}
	return t.Out().Write(ctx, provenance.OutputsFile, func(w io.Writer) error { return provenance.WriteOutputs(ctx, w, trees) })
}

// has says whether there is an input. Without our evaluation there is no report.
func has(t *stages.Task, input string) bool { return !t.Input(input).ID().IsZero() }

func addTree(ctx context.Context, t *stages.Task, p part) error {
	tree := t.Input(p.input)
	if p.from != "" {
		sub, err := tree.Sub(ctx, p.from)
		if errors.Is(err, fs.ErrNotExist) { // no photo was found, or no wheel required
			return nil
		}
		if err != nil {
			return err
		}
		tree = sub
	}
	for f, err := range tree.Files(ctx) {
		if err != nil {
			return err
		}
		if err := t.Out().Add(path.Join(p.to, f.Path), f.Digest); err != nil {
			return err
		}
	}
	return nil
}

// addCrops puts the crops below data/crops, by set and label, and those that were left out
// below report/dropped, by label.
func (k Kind) addCrops(ctx context.Context, t *stages.Task) (map[string]cropfile.Assignment, error) {
	digests := make(map[string]cas.Digest)
	for f, err := range t.Input(Crops).Files(ctx) {
		if err != nil {
			return nil, err
		}
		digests[f.Path] = f.Digest
	}
	assigned := make(map[string]cropfile.Assignment)
	for a, err := range table.Rows(ctx, t.Input(Split), cropfile.SplitFile, cropfile.Split) {
		if err != nil {
			return nil, err
		}
		d, ok := digests[a.Path]
		if !ok {
			return nil, fmt.Errorf("pack: %s has no file %s", cropfile.SplitFile, a.Path)
		}
		assigned[a.Path] = a
		_, below, _ := strings.Cut(a.Path, "/") // crops/<label>/<file>
		if err := t.Out().Add(path.Join("data/crops", string(a.Set), below), d); err != nil {
			return nil, err
		}
	}
	for name, d := range digests {
		dir, below, _ := strings.Cut(name, "/")
		if _, kept := assigned[name]; kept || dir != "crops" {
			continue
		}
		if err := t.Out().Add(path.Join("report/dropped", below), d); err != nil {
			return nil, err
		}
	}
	return assigned, nil
}

// boxKey names a box in the whole data set.
type boxKey struct {
	image openimages.ImageID
	box   openimages.BoxID
}

// metaColumns are the columns of the article's X_meta.csv.
var metaColumns = []string{
	"ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax",
	"IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside", "OriginalURL", "ImageCropURL",
}

// addMeta writes X_meta.csv: a row for each crop, in the order of the boxes. As the
// article had it, OriginalURL and ImageCropURL hold the last part of the path only, and
// LabelName the class.
func addMeta(ctx context.Context, t *stages.Task, assigned map[string]cropfile.Assignment) error {
	cropOf := make(map[boxKey]string)
	for c, err := range table.Rows(ctx, t.Input(Quality), cropfile.CropsFile, cropfile.Crops) {
		if err != nil {
			return err
		}
		if _, ok := assigned[c.Path]; ok {
			cropOf[boxKey{c.ImageID, c.Box}] = c.Path
		}
	}
	urls := make(map[openimages.ImageID]string)
	for i, err := range table.Rows(ctx, t.Input(Selection), openimages.SelectedImagesFile, openimages.SelectedImages) {
		if err != nil {
			return err
		}
		urls[i.ImageID] = i.OriginalURL
	}
	var meta [][]string
	for b, err := range table.Rows(ctx, t.Input(Selection), openimages.SelectedBoxesFile, openimages.SelectedBoxes) {
		if err != nil {
			return err
		}
		crop, ok := cropOf[boxKey{b.ImageID, b.ID}]
		if !ok {
			continue
		}
		row := []string{
			string(b.ImageID), b.Source, b.Label, string(b.Confidence),
			string(b.XMin), string(b.XMax), string(b.YMin), string(b.YMax),
		}
		for _, f := range b.Flags {
			row = append(row, strconv.Itoa(int(f)))
		}
		original := ""
		if u := urls[b.ImageID]; u != "" {
			original = path.Base(u)
		}
		meta = append(meta, append(row, original, path.Base(crop)))
	}
	return putTable(ctx, t, "data/X_meta.csv", metaColumns, slices.Values(meta))
}

func putTable(ctx context.Context, t *stages.Task, name string, columns []string, rows iter.Seq[[]string]) error {
	return t.Out().Write(ctx, name, func(w io.Writer) error { return table.Write(w, columns, rows) })
}
