package pipeline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/sandwich-build/sandwich/internal/dataset"
	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pin"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/metadata"
	selection "github.com/sandwich-build/sandwich/stages/select"
)

// keys says of every setting of a manifest which stages have another action when it
// changes, before any input of theirs does; what follows from them changes by content.
// The project that pack records is left out: the manifest's text is in it, so that
// every setting is part of the package.
//
// A setting that must not change an action has no stages here, and a line in free.
var keys = map[string]string{
	"Name":                            "pack",
	"Message":                         "pack",
	"Dataset.Source.Name":             "metadata",
	"Dataset.Source.Classes":          "metadata",
	"Dataset.Source.Hierarchy":        "metadata",
	"Dataset.Source.Boxes":            "metadata",
	"Dataset.Source.Images":           "metadata",
	"Dataset.Source.Folders":          "download metadata",
	"Dataset.Source.Folders.Photos":   "metadata",
	"Dataset.Source.COCO":             "download metadata", // the photos of Open Images may be at other places
	"Dataset.Source.COCO.Annotations": "metadata",
	"Dataset.Source.COCO.Images":      "metadata",
	"Dataset.Source.VOC":              "download metadata",
	"Dataset.Source.VOC.Annotations":  "metadata",
	"Dataset.Source.VOC.Images":       "metadata",
	"Dataset.Source.YOLO":             "download metadata",
	"Dataset.Source.YOLO.Labels":      "metadata",
	"Dataset.Source.YOLO.Images":      "metadata",
	"Dataset.Source.YOLO.Classes":     "metadata",
	"Dataset.Source.URLs":             "download metadata",
	"Dataset.Source.URLs.Table":       "metadata",
	"Dataset.Source.URLs.URL":         "metadata",
	"Dataset.Source.URLs.Label":       "metadata",
	"Dataset.Subsets":                 "metadata select",
	"Dataset.Subsets[]":               "metadata select",
	"Dataset.Labels":                  "select train",
	"Dataset.Labels[].Name":           "select train",
	"Dataset.Labels[].As":             "select train",
	"Dataset.Images":                  "download",
	"Dataset.Images[]":                "download",
	"Dataset.Boxes.Exclude":           "select",
	"Dataset.Boxes.Exclude[]":         "select",
	"Dataset.Boxes.MinSide":           "crop",
	"Dataset.Limit":                   "select",
	"Dataset.Licence":                 "select",
	"Dataset.Licence[]":               "select",
	"Crop.Pad":                        "crop",
	"Crop.Shape":                      "crop quality train",
	"Crop.Size":                       "crop", // and train, where there is no Model.Size
	"Split.Train":                     "split",
	"Split.Validation":                "split",
	"Split.Test":                      "split",
	"Split.By":                        "split",
	"Model.Optimizer.Name":            refused,
	"Seed":                            "embed split train",
	"Package.Originals":               "pack",
	"Package.Image":                   "pack",
	"Environment.Image":               "image", // whose output is an input of what runs in it
	"Environment.Dockerfile":          "image",
	"Environment.Pip":                 "wheels", // as that of the image
	"Package.Wheels":                  "pack",
	"Environment.Conda":               "conda",
	"Package.Conda":                   "pack",
	"Dataset.Labels[].Except":         "select",
	"Dataset.Labels[].Except[]":       "select",
	"Crop.TruncatedFiles":             "crop",
	"Dataset.Boxes.MinArea":           "crop",
	"Dataset.Boxes.MaxArea":           "crop",
	"Dataset.Boxes.MaxAspect":         "crop",
	"Dataset.Boxes.Margin":            "crop",
	"Quality.MinSharpness":            "quality",
	"Quality.MinContrast":             "quality",
	"Quality.MinColour":               "quality",

	"Dataset.Labels[].Descendants": "select",

	"Model.Layers":                        "train",
	"Model.Layers[].Conv":                 refused,
	"Model.Layers[].Conv.Filters":         "train",
	"Model.Layers[].Conv.Kernel":          "train",
	"Model.Layers[].Conv.Stride":          "train",
	"Model.Layers[].Conv.Padding":         "train",
	"Model.Layers[].Conv.Dilation":        "train",
	"Model.Layers[].Conv.Groups":          refused,
	"Model.Layers[].Conv.Bias":            "train",
	"Model.Layers[].Conv.Activation":      "train",
	"Model.Layers[].Depthwise":            refused,
	"Model.Layers[].Depthwise.Kernel":     "train",
	"Model.Layers[].Depthwise.Stride":     "train",
	"Model.Layers[].Depthwise.Padding":    "train",
	"Model.Layers[].Depthwise.Dilation":   "train",
	"Model.Layers[].Depthwise.Bias":       "train",
	"Model.Layers[].Depthwise.Activation": "train",
	"Model.Layers[].BatchNorm":            refused,
	"Model.Layers[].BatchNorm.Momentum":   "train",
	"Model.Layers[].BatchNorm.Epsilon":    "train",
	"Model.Layers[].Activation":           refused,
	"Model.Layers[].Activation.Name":      "train",
	"Model.Layers[].MaxPool":              refused,
	"Model.Layers[].MaxPool.Size":         "train",
	"Model.Layers[].MaxPool.Stride":       "train",
	"Model.Layers[].MaxPool.Padding":      "train",
	"Model.Layers[].AveragePool":          refused,
	"Model.Layers[].AveragePool.Size":     "train",
	"Model.Layers[].AveragePool.Stride":   "train",
	"Model.Layers[].AveragePool.Padding":  "train",
	"Model.Layers[].GlobalPool":           refused,
	"Model.Layers[].GlobalPool.Of":        "train",
	"Model.Layers[].Flatten":              refused,
	"Model.Layers[].Dense":                refused,
	"Model.Layers[].Dense.Units":          "train",
	"Model.Layers[].Dense.Activation":     "train",
	"Model.Layers[].Dropout":              refused,
	"Model.Layers[].Dropout.Rate":         "train",
	"Model.Layers[].Residual":             refused,
	"Model.Layers[].Residual.Layers":      "train",
	"Model.Layers[].Residual.Shortcut":    "train",
	"Model.Layers[].Residual.Activation":  "train",
	"Model.Augment.Rotation":              "train",
	"Model.Augment.Shift":                 "train",
	"Model.Augment.Shear":                 "train",
	"Model.Augment.Zoom":                  "train",
	"Model.Augment.Flip":                  "train",
	"Model.Augment.Crop":                  "train",
	"Model.Augment.Brightness":            "train",
	"Model.Augment.Contrast":              "train",
	"Model.Augment.Saturation":            "train",
	"Model.Augment.Hue":                   "train",
	"Model.Augment.Cutout":                "train",
	"Model.Augment.Mixup":                 "train",
	"Model.Optimizer.LearningRate":        "train",
	"Model.Optimizer.Momentum":            "train",
	"Model.Optimizer.Nesterov":            "train",
	"Model.Optimizer.Rho":                 "train",
	"Model.Optimizer.Beta1":               "train",
	"Model.Optimizer.Beta2":               "train",
	"Model.Optimizer.Epsilon":             "train",
	"Model.Optimizer.WeightDecay":         "train",
	"Model.Optimizer.ClipNorm":            "train",
	"Model.Schedule.Step":                 "train",
	"Model.Schedule.Step.Every":           "train",
	"Model.Schedule.Step.Factor":          "train",
	"Model.Schedule.Cosine":               "train",
	"Model.Schedule.Cosine.WarmUp":        "train",
	"Model.Schedule.Cosine.Floor":         "train",
	"Model.Schedule.Plateau":              "train",
	"Model.Schedule.Plateau.Monitor":      "train",
	"Model.Schedule.Plateau.Factor":       "train",
	"Model.Schedule.Plateau.Patience":     "train",
	"Model.Schedule.Plateau.MinDelta":     "train",
	"Model.Schedule.Plateau.Floor":        "train",
	"Model.ClassWeights.Name":             "train",
	"Model.ClassWeights.Weights":          "train",
	"Model.ClassWeights.Weights{}":        "train",
	"Model.Smoothing":                     "train",
	"Model.RepeatArticle":                 "evaluate train",
	"Model.Batch":                         "train",
	"Model.Size":                          "train",
	"Model.Epochs":                        "train",
	"Stages":                              "embed pack",
	"Stages[].Name":                       "embed pack",
	"Stages[].Run":                        "embed",
	"Stages[].Run[]":                      "embed",
	"Stages[].Inputs":                     "embed",
	"Stages[].Inputs[]":                   "embed",
	"Stages[].Outputs":                    "embed",
	"Stages[].Outputs[]":                  "embed",
	"Stages[].Env":                        "embed",
	"Stages[].Env{}":                      "embed",
	"Stages[].Network":                    "embed",
	"Model.EarlyStopping":                 "train",
	"Model.EarlyStopping.Monitor":         "train",
	"Model.EarlyStopping.Patience":        "train",
	"Model.EarlyStopping.MinDelta":        "train",
	"Model.EarlyStopping.RestoreBest":     "train",
}

// free are the settings that no key may depend on, each with the reason.
var free = map[string]string{
	"Dataset.All":               "the labels that it stands for are in the metadata, and none are listed beside it",
	"Dataset.OptOut":            "what an owner opts out of is dead in the lock, and so in the pins",
	"Dataset.OptOut[]":          "as above",
	"Version":                   "the language has one version, and means the same in every build",
	"Model.LayersName":          "a name for the same layers is the same model",
	"Code":                      "the sources enter by their content, with the project that pack records",
	"Code.Git":                  "the sources enter by their content, wherever they lie",
	"Environment.Native":        "whether there is an image beside it; what it stands for, this machine and this binary, has a digest that is a field of every action",
	"Registry":                  "where a package is pushed is not part of what it is",
	"Cache":                     "where results are kept does not decide them: a key is the same on every machine",
	"Cache.Remote":              "as above",
	"Cache.Mode":                "as above",
	"Mirrors":                   "where bytes are fetched from does not decide them: their digests are pinned",
	"Mirrors{}":                 "as above",
	"Limits":                    "what a stage may take of the machine decides how a build runs, not what it makes",
	"Limits[].Stage":            "as above",
	"Limits[].CPU":              "as above",
	"Limits[].Memory":           "as above",
	"Matrix":                    "each variant is a manifest of its own, without a matrix",
	"Matrix[].Path":             "as above",
	"Matrix[].Values":           "as above",
	"Matrix[].Values[]":         "as above",
	"Stages[].Resources.CPU":    "what a stage may take of the machine decides how a build runs, not what it makes",
	"Stages[].Resources.Memory": "as above",
}

// refused is what a plan says of a setting that its sample cannot have.
const refused = "refused"

// other are values for settings that cannot have just any.
var other = map[string]string{
	"Dataset.Source.Name":             "open-images/v4",
	"Dataset.Labels[].Name":           "Pizza",
	"Dataset.Labels[].Except[]":       "Hot dog",
	"Crop.Shape":                      "letterbox",
	"Crop.TruncatedFiles":             "keep",
	"Model.Layers[].Conv.Padding":     "same",
	"Model.Layers[].Conv.Activation":  "none",
	"Model.Layers[].Dense.Activation": "none",

	"Model.Layers[].Depthwise.Padding":    "valid",
	"Model.Layers[].Depthwise.Activation": "none",
	"Model.Layers[].Activation.Name":      "none",
	"Model.Layers[].MaxPool.Padding":      "same",
	"Model.Layers[].AveragePool.Padding":  "same",
	"Model.Layers[].GlobalPool.Of":        "max",
	"Model.Layers[].Residual.Activation":  "none",
	"Model.Schedule.Plateau.Monitor":      "val_accuracy",
	"Model.ClassWeights.Name":             "balanced",
	"Model.EarlyStopping.Monitor":         "val_accuracy",
	"Model.Augment.Flip":                  "none",
}

// sample is a manifest in which everything is set.
func sample() *manifest.Manifest {
	return &manifest.Manifest{
		Version: 1, Name: "a/b", Message: "m",
		Dataset: manifest.Dataset{
			Source:  manifest.Source{Classes: "classes.csv", Hierarchy: "h.json", Boxes: "boxes-{subset}.csv", Images: "images-{subset}.csv"},
			Subsets: []string{"train", "test"},
			Labels: []manifest.Label{
				{Name: "Sandwich", Descendants: true, Except: []string{"Hamburger"}}, {Name: "Salad"}, {Name: "Taco"},
			},
			Images:  []string{"original", "thumbnail"},
			Boxes:   manifest.Boxes{Exclude: []string{"occluded", "inside"}, MinSide: 3, MinArea: 0.1, MaxArea: 0.5, MaxAspect: 4, Margin: 0.1},
			Limit:   7,
			Licence: []string{"CC BY", "CC0"},
			OptOut:  []string{"noai", "noindex"},
		},
		Crop:    manifest.Crop{Pad: 0.1, Shape: "stretch", Size: 32, TruncatedFiles: "drop"},
		Quality: manifest.Quality{MinSharpness: 1, MinContrast: 1, MinColour: 1},
		Split:   manifest.Split{Train: 0.5, Validation: 0.25, Test: 0.25, By: "image"},
		Model: manifest.Model{
			Layers: []manifest.Layer{
				{Conv: &manifest.Conv{Filters: 4, Kernel: 3, Stride: 1, Padding: "valid", Dilation: 1, Groups: 1, Bias: true, Activation: "relu"}},
				{Residual: &manifest.Residual{
					Layers:     []manifest.Layer{{BatchNorm: &manifest.BatchNorm{Momentum: 0.9, Epsilon: 1e-5}}, {Dropout: &manifest.Dropout{}}},
					Shortcut:   []manifest.Layer{{Activation: &manifest.Activation{Name: "tanh"}}},
					Activation: "relu",
				}},
				{Depthwise: &manifest.Depthwise{Kernel: 3, Stride: 1, Padding: "same", Dilation: 1, Bias: true, Activation: "relu"}},
				{BatchNorm: &manifest.BatchNorm{Momentum: 0.9, Epsilon: 1e-5}},
				{Activation: &manifest.Activation{Name: "relu"}},
				{MaxPool: &manifest.Pool{Size: 2, Stride: 2, Padding: "valid"}},
				{AveragePool: &manifest.Pool{Size: 2, Stride: 2, Padding: "valid"}},
				{GlobalPool: &manifest.GlobalPool{Of: "average"}},
				{Dense: &manifest.Dense{Units: 4, Activation: "relu"}},
				{Dropout: &manifest.Dropout{Rate: 0.5}},
			},
			Size:          32,
			LayersName:    "mine",
			Augment:       manifest.Augment{Rotation: 1, Shift: 0.1, Shear: 1, Zoom: 0.1, Flip: "horizontal"},
			Optimizer:     manifest.Optimizer{Name: "rmsprop", LearningRate: 0.1, Rho: 0.9, Epsilon: 1e-7},
			Schedule:      manifest.Schedule{Step: &manifest.StepSchedule{Every: 1}, Cosine: &manifest.CosineSchedule{}, Plateau: &manifest.PlateauSchedule{Monitor: "val_loss"}},
			ClassWeights:  manifest.ClassWeights{Name: "none", Weights: map[string]float64{"Salad": 2}},
			Batch:         4,
			Epochs:        5,
			EarlyStopping: &manifest.EarlyStopping{Monitor: "val_loss", Patience: 2, MinDelta: 0.1},
		},
		Stages: []manifest.Command{
			{
				Name: "embed", Run: []string{"./embed.sh", "x"}, Inputs: []string{"select", "crop", "lib"}, Outputs: []string{"a", "b"},
				Env: map[string]string{"A": "1"}, Network: true, Resources: manifest.Resources{CPU: 1, Memory: 1 << 30},
			},
		},
		Seed:        3,
		Code:        &manifest.Code{Git: "."},
		Environment: manifest.Environment{Image: "python:3", Pip: "requirements.txt", Conda: "environment.yml"},
		Package:     manifest.Package{Originals: true, Image: true},
		Registry:    "registry",
		Cache:       &manifest.Cache{Remote: "s3://a", Mode: "read-write"},
		Mirrors:     map[string]string{"https://a": "b"},
		Limits:      []manifest.Limit{{Stage: "crop", CPU: 2, Memory: 1 << 30}},
		Matrix:      []manifest.Axis{{Path: "seed", Values: []string{"1", "2"}}},
	}
}

// TestEverySettingReachesAKey changes each setting of a manifest by itself. None may be
// forgotten: a setting that changes nothing is one that a build would ignore.
func TestEverySettingReachesAKey(t *testing.T) {
	seen := map[string]bool{}
	trySettings(t, "", sample, seen)
	trySettings(t, "", func() *manifest.Manifest { // a vector is made in one way only
		m := sample()
		for i, l := range m.Model.Layers {
			if l.GlobalPool != nil {
				m.Model.Layers[i] = manifest.Layer{Flatten: &manifest.Flatten{}}
			}
		}
		return m
	}, seen)
	for _, source := range []func() manifest.Source{
		func() manifest.Source { return manifest.Source{Folders: &manifest.Folders{Photos: "photos"}} },
		func() manifest.Source {
			return manifest.Source{COCO: &manifest.COCO{Annotations: "a.json", Images: "b"}}
		},
		func() manifest.Source { return manifest.Source{VOC: &manifest.VOC{Annotations: "a", Images: "b"}} },
		func() manifest.Source {
			return manifest.Source{YOLO: &manifest.YOLO{Labels: "a", Images: "b", Classes: "c.txt"}}
		},
		func() manifest.Source {
			return manifest.Source{URLs: &manifest.URLs{Table: "a.csv", URL: "b", Label: "c"}}
		},
	} {
		trySettings(t, "Dataset.Source."+formField(source()), func() *manifest.Manifest {
			m := sample()
			m.Dataset.Source = source()
			return m
		}, seen)
	}
	for path := range settings(reflect.TypeFor[manifest.Manifest](), "") {
		if !seen[path] {
			t.Errorf("%s was not tried: give it a value in sample", path)
		}
	}
	for path := range maps.Keys(keys) {
		if !seen[path] {
			t.Errorf("%s is no setting", path)
		}
	}
}

// formField is the field of a source that is set.
func formField(s manifest.Source) string {
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		if !v.Field(i).IsZero() {
			return v.Type().Field(i).Name
		}
	}
	return ""
}

// trySettings changes each setting of a manifest at and below a path, and notes which it tried.
func trySettings(t *testing.T, below string, sample func() *manifest.Manifest, seen map[string]bool) {
	t.Helper()
	before, err := actions(t, sample())
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		m := sample()
		c := changer{left: i}
		c.visit(reflect.ValueOf(m).Elem(), "")
		if c.changed == "" {
			break
		}
		if !strings.HasPrefix(c.changed, below) {
			continue
		}
		seen[c.changed] = true
		if c.changed == "Dataset.Labels[].Name" || c.changed == "Dataset.Labels[].As" {
			m.Model.ClassWeights.Weights = nil // they may be of the class that is gone
		}
		got := refused
		if after, err := actions(t, m); err == nil {
			got = strings.Join(differing(before, after), " ")
		}
		want, isKey := keys[c.changed]
		_, isFree := free[c.changed]
		switch {
		case isKey == isFree:
			t.Errorf("%s is in one of keys and free: want it there once; it changes %q", c.changed, got)
		case got != want:
			t.Errorf("%s changes the actions of %q, want %q", c.changed, got, want)
		}
	}
}

// actions describes what of each stage's action the manifest decides by itself.
func actions(t *testing.T, m *manifest.Manifest) (map[string]string, error) {
	t.Helper()
	client, err := fetch.New(fetch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	s := &session{Project: &Project{Manifest: m}, client: client, lock: new(lockfile)}
	for _, f := range manifest.Files(m.Dataset) {
		s.lock.Sources = append(s.lock.Sources, lock.Source{URL: f.URL, Digest: digest.FromString(f.URL), Size: int64(len(f.URL))})
	}
	if name := m.Environment.Image + m.Environment.Dockerfile; name != "" {
		s.lock.Image = &lock.Image{Digest: digest.FromString(name), Size: int64(len(name)), Name: name}
	}
	if name := m.Environment.Pip; name != "" { // the wheels that it comes to
		s.lock.Python = &lock.Python{ABI: "cpython-312", Site: "lib/python3.12/site-packages"}
		s.lock.Wheels = []lock.Archive{{URL: "https://example.org/a-1-py3-none-any.whl", Digest: digest.FromString(name), Size: int64(len(name))}}
	}
	if name := m.Environment.Conda; name != "" { // as above
		s.lock.Platform = "linux-64"
		s.lock.Conda = []lock.Archive{{URL: "https://example.org/noarch/a-1-0.conda", Digest: digest.FromString(name), Size: int64(len(name))}}
	}
	if form := dataset.New(m.Dataset.Source); form != nil {
		text := form.Describe()
		for _, f := range manifest.Files(m.Dataset) {
			text += f.URL
		}
		s.converted = &converted{files: []metadata.File{{Path: openimages.ClassesFile, Digest: cas.Sum([]byte(text))}}}
	}
	s.classes = classes(t, m.Dataset.Labels)
	plan, err := s.plan(s.lockedPinner())
	if err != nil {
		return nil, err
	}
	described := map[string]string{}
	for _, stage := range plan.Stages() {
		params, err := json.Marshal(stage.Kind.Params())
		if err != nil {
			t.Fatal(err)
		}
		remade(t, stage.Kind, params)
		text := fmt.Sprintf("%s %d %s", stage.Kind.Name(), stage.Kind.Version(), params)
		for _, in := range stage.Inputs {
			text += fmt.Sprintf(" %s<-%s", in.Name, in.From)
			// The places are no parameter: they are in the pins, and a lock with other
			// places is out of date.
			if locked, ok := in.Pin.(*pin.Locked); ok {
				text += fmt.Sprint(locked.Places)
			}
			if files, ok := in.Pin.(declared); ok { // by their content, which is not there
				text += fmt.Sprint(files.paths)
			}
		}
		described[stage.Name] = text
	}
	return described, nil
}

// remade makes a kind of its parameters, as a process within an image does, which must have them all.
func remade(t *testing.T, k stages.Kind, params []byte) {
	t.Helper()
	parse := Catalogue().Kinds[k.Name()]
	if parse == nil {
		return
	}
	again, err := parse(params)
	if err != nil {
		t.Fatalf("%s: %v", k.Name(), err)
	}
	got, err := json.Marshal(again.Params())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, params) {
		t.Errorf("%s of the parameters %s has %s", k.Name(), params, got)
	}
}

// classes looks the labels up as a session does. Those that contradict themselves never
// get that far; they stand as they are written.
func classes(t *testing.T, labels []manifest.Label) []string {
	t.Helper()
	list, err := openimages.ReadClasses(strings.NewReader("/m/1,Sandwich\n/m/2,Hamburger\n/m/3,Hot dog\n/m/4,Salad\n/m/5,Taco\n/m/6,Pizza\n"), "")
	if err != nil {
		t.Fatal(err)
	}
	hierarchy, err := openimages.ReadHierarchy(strings.NewReader(
		`{"LabelName":"/m/0","Subcategory":[{"LabelName":"/m/1","Subcategory":[{"LabelName":"/m/2"},{"LabelName":"/m/3"}]},`+
			`{"LabelName":"/m/6","Subcategory":[{"LabelName":"/m/2"},{"LabelName":"/m/3"}]},{"LabelName":"/m/4"},{"LabelName":"/m/5"}]}`), "")
	if err != nil {
		t.Fatal(err)
	}
	if resolved, err := selection.ResolveLabels(list, hierarchy, labels); err == nil {
		return resolved.Classes()
	}
	var names []string
	for _, l := range labels {
		names = append(names, l.Name)
	}
	slices.Sort(names)
	return names
}

func differing(before, after map[string]string) []string {
	var names []string
	for name, text := range before {
		if after[name] != text {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// changer changes one setting of a manifest: the one that left others come before.
type changer struct {
	left    int
	changed string // the setting's path; empty when there are not that many
}

func (c *changer) visit(v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.Struct:
		if within(path) {
			return
		}
		for i := range v.NumField() {
			c.visit(v.Field(i), join(path, v.Type().Field(i).Name))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			c.visit(v.Elem(), path)
			c.change(path, v.SetZero)
		}
	case reflect.Slice:
		for i := range v.Len() {
			c.visit(v.Index(i), path+"[]")
		}
		if v.Len() > 0 {
			c.change(path, func() { v.SetLen(v.Len() - 1) })
		}
	case reflect.Map:
		c.change(path, v.SetZero)
		c.change(path+"{}", func() { setEntry(v) })
	default:
		c.change(path, func() { setOther(v, path) })
	}
}

func (c *changer) change(path string, change func()) {
	if c.left == 0 {
		c.changed = path
		change()
	}
	c.left--
}

// within tells a layer of a residual block, which is as any other.
func within(path string) bool {
	return strings.Contains(path, ".Residual.Layers[]") || strings.Contains(path, ".Residual.Shortcut[]")
}

// setEntry adds an entry to a map of a setting, or changes one.
func setEntry(v reflect.Value) {
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	if v.Type().Elem().Kind() == reflect.Float64 {
		v.SetMapIndex(reflect.ValueOf("Salad"), reflect.ValueOf(3.0))
		return
	}
	v.SetMapIndex(reflect.ValueOf("https://c"), reflect.ValueOf("d"))
}

// setOther gives a scalar another value.
func setOther(v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Uint64:
		v.SetUint(v.Uint() + 1)
	case reflect.Float64:
		v.SetFloat(v.Float() + 0.015625)
	case reflect.String:
		if text, ok := other[path]; ok && text != v.String() {
			v.SetString(text)
		} else {
			v.SetString(v.String() + "x")
		}
	default:
		panic("a setting of a kind that the test does not know: " + path)
	}
}

// settings yields the path of everything that a manifest can set.
func settings(t reflect.Type, path string) map[string]bool {
	all := map[string]bool{}
	switch t.Kind() {
	case reflect.Struct:
		if within(path) {
			return all
		}
		for i := range t.NumField() {
			maps.Copy(all, settings(t.Field(i).Type, join(path, t.Field(i).Name)))
		}
	case reflect.Pointer:
		all[path] = true
		maps.Copy(all, settings(t.Elem(), path))
	case reflect.Slice:
		all[path] = true
		maps.Copy(all, settings(t.Elem(), path+"[]"))
	case reflect.Map:
		all[path], all[path+"{}"] = true, true
	default:
		all[path] = true
	}
	return all
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
