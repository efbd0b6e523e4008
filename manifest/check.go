package manifest

import (
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sandwich-build/sandwich/internal/licence"
)

// check reports what no single position can know: values that contradict each other.
// Each part runs only on values that the file really says, so that one mistake is
// told once.
func (d *decoder) check(m *Manifest) {
	if d.sound("dataset.source", "dataset.subsets") {
		d.checkSource(m.Dataset.Source, m.Dataset.Subsets)
	}
	d.checkLabels(m.Dataset)
	if b := m.Dataset.Boxes; d.sound("dataset.boxes") && b.MaxArea != 0 && b.MinArea > b.MaxArea {
		d.faultAt("dataset.boxes.min_area", "dataset.boxes.min_area",
			fmt.Sprintf("%s is more than max_area, %s, so that no box passes", formatNumber(b.MinArea), formatNumber(b.MaxArea)), "")
	}
	d.checkLicences(m.Dataset.Licence)
	if d.sound("split") {
		d.checkSplit(m.Split)
	}
	if d.sound("split.validation", "model.early_stopping") && m.Model.EarlyStopping != nil && m.Split.Validation == 0 && !m.Model.RepeatArticle {
		d.faultAt("model.early_stopping", "model.early_stopping",
			m.Model.EarlyStopping.Monitor+" needs a validation set, and split.validation is 0", "write `early_stopping: none`, or give split.validation a fraction")
	}
	if d.sound("split.validation", "model.schedule") && m.Model.Schedule.Plateau != nil && m.Split.Validation == 0 {
		d.faultAt("model.schedule", "model.schedule.plateau",
			m.Model.Schedule.Plateau.Monitor+" needs a validation set, and split.validation is 0", "take another schedule, or give split.validation a fraction")
	}
	if d.sound("model.optimizer") {
		d.checkOptimizer(m.Model.Optimizer)
	}
	if d.sound("crop", "model.size", "model.layers", "model.batch", "stages") && m.Command("train") == nil {
		d.checkLayers(m)
	}
	d.checkCommands(m)
	if d.sound("environment") {
		d.checkEnvironment(m)
	}
}

func (d *decoder) checkEnvironment(m *Manifest) {
	e := m.Environment
	switch {
	case !e.InImage() && !e.Native:
		d.faultAt("environment.native", "environment.native", "want true, or an image", "")
	case e.InImage() && e.Native:
		d.faultAt("environment.native", "environment.native", "stages run in the image, and not on this machine", "remove one of the two")
	case e.Image != "" && e.Dockerfile != "":
		d.faultAt("environment.dockerfile", "environment.dockerfile", "there is an image already", "remove one of the two")
	}
	if e.Dockerfile != "" && (!isLocal(e.Dockerfile) || path.Dir(path.Clean(e.Dockerfile)) == ".") {
		const at = "environment.dockerfile"
		d.faultAt(at, at, "want "+dockerfileWant, "all that is in its folder is what it is built from, and a change of any of it builds it again")
	}
	if c := m.Command(ImageStage); c != nil && e.InImage() {
		at := join("stages", c.Name)
		d.faultAt(at, at, "the stage that fetches the image of the environment has that name", "")
	}
	if e.Pip != "" {
		d.checkLibraries(m, "pip", e.Pip, WheelsStage, "wheels")
	}
	if e.Conda != "" {
		d.checkLibraries(m, "conda", e.Conda, CondaStage, "packages")
	}
	if e.Pip != "" && e.Conda != "" {
		d.faultAt("environment.conda", "environment.conda", "there are requirements of pip's already", "remove one of the two")
	}
}

// checkLibraries checks the file that a tool makes libraries of, which a stage unpacks.
func (d *decoder) checkLibraries(m *Manifest, tool, file, stage, what string) {
	at := "environment." + tool
	switch {
	case !isLocal(file):
		d.faultAt(at, at, "want a path within the folder of the manifest", "")
	case len(m.Stages) == 0 && d.sound("stages"):
		d.faultAt(at, at, "nothing would import it: there are no stages of your own, and the others are this program itself", "")
	}
	if c := m.Command(stage); c != nil {
		at := join("stages", c.Name)
		d.faultAt(at, at, "the stage that unpacks the "+what+" of the environment has that name", "")
	}
}

// repeatArticle gives the model the article's settings. A manifest may say them, as a
// rendered one does, and no others.
func (d *decoder) repeatArticle(m *Manifest) {
	said, article := m.Model, articleModel()
	saidFields, articleFields := modelGrammar(&said).fields, modelGrammar(&article).fields
	for i, f := range saidFields {
		path := "model." + f.key
		if d.places[path] == nil || !d.sound(path) {
			continue
		}
		got, want := oneLineOf(f.value.encode()), oneLineOf(articleFields[i].value.encode())
		if got != want {
			d.faultAt(path, path, fmt.Sprintf("with %s it is %s", repeatArticle, want), "remove one of them")
		}
	}
	m.Model = article
}

// oneLineOf is a node as a person would write it in one line.
func oneLineOf(n *yaml.Node) string {
	n.Style = yaml.FlowStyle
	text, err := yaml.Marshal(n)
	if err != nil {
		return describe(n)
	}
	return strings.TrimSpace(string(text))
}

// optimizerSettings are the settings that some optimizers only have.
var optimizerSettings = []struct {
	key string
	of  []string
}{
	{"momentum", []string{sgd}},
	{"nesterov", []string{sgd}},
	{"rho", []string{rmsprop}},
	{"beta1", []string{adam, adamW}},
	{"beta2", []string{adam, adamW}},
	{"epsilon", []string{rmsprop, adam, adamW}},
}

func (d *decoder) checkOptimizer(o Optimizer) {
	for _, s := range optimizerSettings {
		path := "model.optimizer." + s.key
		if d.places[path] != nil && !slices.Contains(s.of, o.Name) {
			d.faultAt(path, path, fmt.Sprintf("a setting of %s, and the optimizer is %s", strings.Join(s.of, " and "), o.Name), "")
		}
	}
	if o.Name == sgd && o.Nesterov && o.Momentum == 0 {
		d.faultAt("model.optimizer.nesterov", "model.optimizer.nesterov", "there is no momentum to take first", "give momentum a value, such as 0.9")
	}
}

// sourcePlace is a path or URL of a source, as check sees it.
type sourcePlace struct {
	key, at   string // at is what the file says there
	perSubset bool   // may have the placeholder
	needs     bool   // must have it where there are several subsets
}

// places are the paths and URLs of a source that is not named.
func (s Source) places() []sourcePlace {
	switch s.Form() {
	case FoldersForm:
		return []sourcePlace{{"folders", s.Folders.Photos, true, true}}
	case COCOForm:
		return []sourcePlace{{"coco.annotations", s.COCO.Annotations, true, true}, {"coco.images", s.COCO.Images, true, false}}
	case VOCForm:
		return []sourcePlace{{"voc.annotations", s.VOC.Annotations, true, true}, {"voc.images", s.VOC.Images, true, false}}
	case YOLOForm:
		return []sourcePlace{{"yolo.classes", s.YOLO.Classes, true, false}, {"yolo.labels", s.YOLO.Labels, true, true}, {"yolo.images", s.YOLO.Images, true, false}}
	case URLsForm:
		return []sourcePlace{{"urls.table", s.URLs.Table, true, true}}
	}
	return []sourcePlace{{"classes", s.Classes, false, false}, {"hierarchy", s.Hierarchy, false, false}, {"boxes", s.Boxes, true, true}, {"images", s.Images, true, true}}
}

func (d *decoder) checkSource(s Source, subsets []string) {
	if s.Name != "" {
		return
	}
	for _, f := range s.places() {
		path := "dataset.source." + f.key
		rest := f.at
		if f.perSubset {
			rest = strings.ReplaceAll(rest, subsetPlaceholder, "")
		}
		if open := strings.IndexAny(rest, "{}"); open >= 0 {
			hint := ""
			if f.perSubset {
				hint = "did you mean `" + subsetPlaceholder + "`?"
			}
			d.faultAt(path, path, fmt.Sprintf("unknown placeholder in %q", shorten(f.at)), hint)
		} else if f.needs && len(subsets) > 1 && rest == f.at {
			d.faultAt(path, path, fmt.Sprintf("one file for %d subsets", len(subsets)), "put "+subsetPlaceholder+" where the subset's name belongs")
		}
	}
	if s.Form() != "" && d.places["dataset.images"] != nil {
		d.faultAt("dataset.images", "dataset.images", "only photos of Open Images are at several places", "leave it out")
	}
}

func (d *decoder) checkLabels(data Dataset) {
	names := make(map[string]int)    // folded name -> index
	folders := make(map[string]int)  // folded folder -> index of the first label in it
	classes := make(map[string]bool) // as the labels' names have them
	for i, l := range data.Labels {
		path := fmt.Sprintf("dataset.labels[%d]", i)
		if !d.sound(path) {
			continue
		}
		if first, ok := names[strings.ToLower(l.Name)]; ok {
			d.faultAt(path, path, fmt.Sprintf("%q is already labels[%d]", shorten(l.Name), first), "")
			continue
		}
		names[strings.ToLower(l.Name)] = i
		d.checkDescendants(path, l, data.Source)
		class := l.class()
		classes[class] = true
		folder := strings.ToLower(strings.NewReplacer(" ", "_", "/", "_").Replace(class))
		if first, ok := folders[folder]; !ok {
			folders[folder] = i
		} else if other := data.Labels[first].class(); other != class {
			d.faultAt(path, path, fmt.Sprintf("the classes %q and %q would share a folder", shorten(other), shorten(class)), "give one of them another name with `as`")
		}
	}
	if len(classes) == 1 && !data.All && d.sound("dataset.labels") {
		d.faultAt("dataset.labels", "dataset.labels", "all labels become one class, and there is nothing to tell apart", "")
	}
}

func (d *decoder) checkLicences(licences []string) {
	for i, name := range licences {
		path := fmt.Sprintf("dataset.licence[%d]", i)
		if _, err := licence.Parse(name); err != nil && d.sound(path) {
			d.faultAt(path, path, fmt.Sprintf("%v, got %q", err, shorten(name)), didYouMean(name, licence.Names()))
		}
	}
}

// class is what the label's boxes become, as far as that is known without the class
// list.
func (l Label) class() string {
	if l.As != "" {
		return l.As
	}
	return l.Name
}

func (d *decoder) checkDescendants(path string, l Label, s Source) {
	switch {
	case l.Descendants && d.sound("dataset.source") && s.Form() != "":
		d.faultAt(path+".descendants", path+".descendants", "the labels of this source have no hierarchy", "list the labels, and merge them with `as`")
	case l.Descendants && d.sound("dataset.source") && s.Name == "" && s.Hierarchy == "":
		d.faultAt(path+".descendants", path+".descendants", "the source has no hierarchy", "give dataset.source.hierarchy a path or URL")
	case !l.Descendants && len(l.Except) > 0:
		d.faultAt(path+".except", path+".except", "there is nothing to leave out without descendants", "add `descendants: true`")
	}
	for i, name := range l.Except {
		if strings.EqualFold(name, l.Name) {
			at := fmt.Sprintf("%s.except[%d]", path, i)
			d.faultAt(at, at, "the label cannot leave out itself", "")
		}
	}
}

func (d *decoder) checkSplit(s Split) {
	sum := s.Train + s.Validation + s.Test
	// The fractions are decimal and the sum is binary: 0.8 + 0.1 + 0.1 is not quite 1.
	if math.Abs(sum-1) > 1e-9 {
		d.faultAt("split", "split", fmt.Sprintf("train %s + validation %s + test %s add up to %s, want 1",
			formatNumber(s.Train), formatNumber(s.Validation), formatNumber(s.Test), formatNumber(math.Round(sum*1e9)/1e9)), "")
	}
}

// Bounds of what a network may hold. The article's network
// needs 831,585 and 8 million.
const (
	maxParameters = 1 << 28 // numbers: 1 GiB as float32
	maxBatchCells = 1 << 29 // numbers that one layer makes of one batch: 2 GiB
)

// checkLayers follows a picture through the layers.
func (d *decoder) checkLayers(m *Manifest) {
	shape := Shape{Side: m.InputSide(), Channels: 3}
	parameters := 0
	for i, l := range m.Model.Layers {
		next, err := d.checkLayer(m, l, shape, &parameters)
		if err != nil {
			e, _ := errors.AsType[*LayerError](err)
			d.faultInLayer(m, i, e)
			return // what follows has no shape to be judged by
		}
		shape = next
	}
	if shape.Side != 0 {
		d.faultAt("model.layers", "model.layers", "the layers end with a picture, and the classification needs a vector",
			"add `- flatten` or `- global_pool: average` behind the last convolution")
	}
}

// checkLayer follows a picture through a layer and those within it, whose parameters it
// adds.
func (d *decoder) checkLayer(m *Manifest, l Layer, in Shape, parameters *int) (Shape, error) {
	out, arrays, err := l.Through(in)
	if err != nil {
		return in, err
	}
	if l.Residual != nil {
		for _, inner := range [][]Layer{l.Residual.Layers, l.Residual.Shortcut} {
			shape := in
			for _, one := range inner {
				if shape, err = d.checkLayer(m, one, shape, parameters); err != nil {
					return in, err
				}
			}
		}
	}
	for _, a := range arrays {
		*parameters += a.Size()
	}
	switch {
	case *parameters > maxParameters:
		err = misplaced("the network has %d parameters up to here, more than %d", *parameters, maxParameters)
	case out.Values() > maxBatchCells/m.Model.Batch:
		err = misplaced("a batch of %d makes %d values here, more than %d", m.Model.Batch, out.Values()*m.Model.Batch, maxBatchCells)
	}
	return out, err
}

// faultInLayer stands at the layer, or where a named network's fault comes from: its
// name, or the size of the pictures when even the name is a default.
func (d *decoder) faultInLayer(m *Manifest, i int, e *LayerError) {
	name, path, problem := m.Model.LayersName, "model.layers", e.Problem
	switch {
	case name == "":
		path = fmt.Sprintf("model.layers[%d]%s", i, e.Path)
		d.faultAt(path, path, problem, "")
	case d.places[path] != nil:
		d.faultAt(path, path, fmt.Sprintf("%s's layers[%d]: %s", name, i, problem), "")
	case d.places["model.size"] != nil:
		d.faultAt("model.size", path, fmt.Sprintf("%s's layers[%d]: %s", name, i, problem), "")
	default:
		d.faultAt("crop.size", path, fmt.Sprintf("%s's layers[%d]: %s", name, i, problem), "")
	}
}
