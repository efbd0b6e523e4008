package manifest

import (
	"fmt"
	"math"
	"strings"
)

// check reports what no single position can know: values that contradict each other.
// Each part runs only on values that the file really says, so that one mistake is
// told once.
func (d *decoder) check(m *Manifest) {
	if d.sound("dataset.source", "dataset.subsets") {
		d.checkSource(m.Dataset.Source, m.Dataset.Subsets)
	}
	d.checkLabels(m.Dataset)
	if d.sound("split") {
		d.checkSplit(m.Split)
	}
	if d.sound("split.validation", "model.early_stopping") && m.Model.EarlyStopping != nil && m.Split.Validation == 0 {
		d.faultAt("model.early_stopping", "model.early_stopping",
			m.monitor()+" needs a validation set, and split.validation is 0", "write `early_stopping: none`, or give split.validation a fraction")
	}
	if d.sound("crop", "model.size", "model.layers", "model.batch") {
		d.checkLayers(m)
	}
	if d.sound("environment") && !m.Environment.Native {
		d.faultAt("environment.native", "environment.native", "want true: there is no other environment yet", "")
	}
}

func (m *Manifest) monitor() string { return m.Model.EarlyStopping.Monitor }

func (d *decoder) checkSource(s Source, subsets []string) {
	if s.Name != "" {
		return
	}
	for _, f := range []struct {
		key, place string
		perSubset  bool
	}{{"classes", s.Classes, false}, {"hierarchy", s.Hierarchy, false}, {"boxes", s.Boxes, true}, {"images", s.Images, true}} {
		path := "dataset.source." + f.key
		rest := f.place
		if f.perSubset {
			rest = strings.ReplaceAll(rest, subsetPlaceholder, "")
		}
		if open := strings.IndexAny(rest, "{}"); open >= 0 {
			hint := ""
			if f.perSubset {
				hint = "did you mean `" + subsetPlaceholder + "`?"
			}
			d.faultAt(path, path, fmt.Sprintf("unknown placeholder in %q", shorten(f.place)), hint)
		} else if f.perSubset && len(subsets) > 1 && rest == f.place {
			d.faultAt(path, path, fmt.Sprintf("one file for %d subsets", len(subsets)), "put "+subsetPlaceholder+" where the subset's name belongs")
		}
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
	if len(classes) == 1 && d.sound("dataset.labels") {
		d.faultAt("dataset.labels", "dataset.labels", "all labels become one class, and there is nothing to tell apart", "")
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
	shape := picture{side: m.InputSide(), channels: 3}
	parameters := 0
	for i, l := range m.Model.Layers {
		next, weights, problem := shape.through(l)
		parameters += weights
		switch {
		case problem != "":
		case parameters > maxParameters:
			problem = fmt.Sprintf("the network has %d parameters up to here, more than %d", parameters, maxParameters)
		case next.values() > maxBatchCells/m.Model.Batch:
			problem = fmt.Sprintf("a batch of %d makes %d values here, more than %d", m.Model.Batch, next.values()*m.Model.Batch, maxBatchCells)
		}
		if problem != "" {
			d.faultInLayer(m, i, problem)
			return // what follows has no shape to be judged by
		}
		shape = next
	}
	if shape.side != 0 {
		d.faultAt("model.layers", "model.layers", "the layers end with a picture, and the classification needs a vector", "add `- flatten` behind the last convolution")
	}
}

// faultInLayer stands at the layer, or where a named network's fault comes from: its
// name, or the size of the pictures when even the name is a default.
func (d *decoder) faultInLayer(m *Manifest, i int, problem string) {
	name, path := m.Model.LayersName, "model.layers"
	switch {
	case name == "":
		path = fmt.Sprintf("model.layers[%d]", i)
		d.faultAt(path, path, problem, "")
	case d.places[path] != nil:
		d.faultAt(path, path, fmt.Sprintf("%s's layers[%d]: %s", name, i, problem), "")
	case d.places["model.size"] != nil:
		d.faultAt("model.size", path, fmt.Sprintf("%s's layers[%d]: %s", name, i, problem), "")
	default:
		d.faultAt("crop.size", path, fmt.Sprintf("%s's layers[%d]: %s", name, i, problem), "")
	}
}

// picture is the shape between two layers: side×side×channels, or a vector of
// channels where side is 0.
type picture struct{ side, channels int }

func (p picture) values() int {
	if p.side == 0 {
		return p.channels
	}
	return p.side * p.side * p.channels
}

// through is the shape behind a layer and the layer's number of parameters, or why
// the layer cannot stand here.
func (p picture) through(l Layer) (next picture, parameters int, problem string) {
	vector := p.side == 0
	switch {
	case vector && (l.Conv != nil || l.MaxPool != nil || l.Flatten != nil):
		return p, 0, "the layer reads a picture, and here is a vector: an earlier layer is flatten"
	case !vector && l.Dense != nil:
		return p, 0, "the layer reads a vector, and here is a picture: put `- flatten` before it"
	case l.Conv != nil:
		next = picture{p.side, l.Conv.Filters}
		if l.Conv.Padding == "valid" {
			next.side -= l.Conv.Kernel - 1
		}
		parameters = (l.Conv.Kernel*l.Conv.Kernel*p.channels + 1) * l.Conv.Filters
	case l.MaxPool != nil:
		next = picture{p.side / l.MaxPool.Size, p.channels}
	case l.Flatten != nil:
		next = picture{0, p.values()}
	case l.Dense != nil:
		next, parameters = picture{0, l.Dense.Units}, (p.channels+1)*l.Dense.Units
	default: // dropout
		next = p
	}
	if !vector && l.Flatten == nil && next.side < 1 {
		return p, 0, fmt.Sprintf("nothing is left of the picture, which is %d×%d pixels here", p.side, p.side)
	}
	return next, parameters, ""
}
