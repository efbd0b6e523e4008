package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// minimal has the required keys only.
const minimal = `version: 1
name: quilt/open_images
dataset:
  source: open-images/v4
  labels: [Sandwich, Hamburger]
`

// everything is testdata/everything.yaml, decoded by hand.
func everything() *Manifest {
	return &Manifest{
		Version: 1,
		Name:    "team/burgers",
		Message: "two\nlines: and a tab\t",
		Dataset: Dataset{
			Source: Source{
				Classes:   "meta/classes.csv",
				Hierarchy: "https://example.org/hierarchy.json",
				Boxes:     "meta/{subset} boxes.csv",
				Images:    "https://example.org/{subset}/images.csv",
			},
			Subsets: []string{"validation", "test"},
			Labels: []Label{
				{Name: "Bread"},
				{Name: "/m/0cdn1"},
				{Name: "Sandwich", As: "no", Descendants: true, Except: []string{"Hamburger", "12"}},
			},
			Images:  []string{"cvdf"},
			Boxes:   Boxes{Exclude: []string{"occluded", "inside"}, MinSide: 32, MinArea: 0.01, MaxArea: 0.9, MaxAspect: 4, Margin: 0.005},
			Limit:   2000,
			Licence: []string{"CC BY", "https://example.org/terms"},
			OptOut:  []string{"noimageai"},
		},
		Crop:    Crop{Pad: 0.25, Shape: "letterbox", Size: 192, TruncatedFiles: "keep"},
		Quality: Quality{MinSharpness: 12.5, MinContrast: 4, MinColour: 2},
		Split:   Split{Train: 0.7, Validation: 0.2, Test: 0.1, By: "image"},
		Model: Model{
			Size: 96,
			Layers: []Layer{
				{Conv: &Conv{Filters: 8, Kernel: 5, Stride: 1, Padding: "same", Dilation: 1, Groups: 1, Bias: true, Activation: "none"}},
				{BatchNorm: &BatchNorm{Momentum: 0.9, Epsilon: 1e-5}},
				{Activation: &Activation{Name: "silu"}},
				{MaxPool: &Pool{Size: 3, Padding: "valid"}},
				{Conv: &Conv{Filters: 12, Kernel: 3, Stride: 2, Padding: "valid", Dilation: 1, Groups: 4, Activation: "relu"}},
				{Depthwise: &Depthwise{Kernel: 5, Stride: 1, Padding: "valid", Dilation: 2, Activation: "relu6"}},
				{BatchNorm: &BatchNorm{Momentum: 0.99, Epsilon: 1e-3}},
				{AveragePool: &Pool{Size: 2, Stride: 1, Padding: "same"}},
				{Residual: &Residual{
					Layers: []Layer{
						{Conv: &Conv{Filters: 4, Kernel: 3, Stride: 1, Padding: "same", Dilation: 1, Groups: 1, Bias: true, Activation: "relu"}},
						{BatchNorm: &BatchNorm{Momentum: 0.9, Epsilon: 1e-5}},
					},
					Shortcut: []Layer{
						{Conv: &Conv{Filters: 4, Kernel: 1, Stride: 1, Padding: "valid", Dilation: 1, Groups: 1, Bias: true, Activation: "relu"}},
					},
					Activation: "none",
				}},
				{Dropout: &Dropout{Rate: 0.25}},
				{Flatten: &Flatten{}},
				{Dense: &Dense{Units: 16, Activation: "none"}},
			},
			Augment: Augment{
				Rotation: 40, Shift: 0.2, Shear: 0.3, Zoom: 0.4, Flip: "both",
				Crop: 4, Brightness: 0.1, Contrast: 0.2, Saturation: 0.3, Hue: 0.05, Cutout: 0.25, Mixup: 0.2,
			},
			Optimizer: Optimizer{
				Name: "adamw", LearningRate: 0.001, Rho: 0.9, Beta1: 0.8, Beta2: 0.99, Epsilon: 1e-6, WeightDecay: 0.01, ClipNorm: 1,
			},
			Schedule:      Schedule{Cosine: &CosineSchedule{WarmUp: 1.5, Floor: 0.01}},
			ClassWeights:  ClassWeights{Weights: map[string]float64{"Bread": 2, "Sandwich": 0.5}},
			Smoothing:     0.1,
			Batch:         32,
			Epochs:        7,
			EarlyStopping: &EarlyStopping{Monitor: "val_accuracy", Patience: 2, MinDelta: 0.01},
		},
		Stages: []Command{
			{
				Name: "embed", Run: []string{"python3", "embed.py", "--crops", "crop", "--note=two\nlines"},
				Inputs: []string{"crop", "embed.py", "lib/"}, Outputs: []string{"vectors.npy", "plots"},
				Env: map[string]string{"OMP_NUM_THREADS": "1"}, Network: true, Resources: Resources{CPU: 2, Memory: 2 << 30},
			},
			{Name: "train", Run: []string{"./train.sh"}, Inputs: []string{"embed", "split", "train.sh"}},
		},
		Seed:        9007199254740991,
		Code:        &Code{Git: ".."},
		Environment: Environment{Image: "docker.io/library/python:3.12-slim", Pip: "env/requirements.txt"},
		Registry:    "s3://my-bucket/prefix",
		Cache:       &Cache{Remote: "s3://team-bucket/cache", Mode: "read-only"},
		Mirrors: map[string]string{
			"https://storage.googleapis.com/openimages": "./mirror",
			"http://example.org/":                       "http://localhost:8080/x",
		},
		Limits: []Limit{{Stage: "crop", CPU: 2, Memory: 1 << 30}, {Stage: "train", Memory: 1536 << 20}},
		Matrix: []Axis{
			{Path: "model.optimizer.learning_rate", Values: []string{"0.001", "5e-4"}},
			{Path: "model.layers[0].conv", Values: []string{"{filters: 8}", "{filters: 4, padding: same}"}},
			{Path: "dataset.boxes.min_side", Values: []string{"32"}},
		},
	}
}

func readTestdata(t testing.TB, name string) []byte {
	t.Helper()
	src, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func mustDecode(t testing.TB, src string) *Manifest {
	t.Helper()
	m, err := Decode("manifest.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDecode(t *testing.T) {
	if diff := cmp.Diff(everything(), mustDecode(t, string(readTestdata(t, "everything.yaml")))); diff != "" {
		t.Errorf("everything.yaml (-want +got):\n%s", diff)
	}
	want := defaults()
	want.Version, want.Name = 1, "quilt/open_images"
	want.Dataset.Source.Name = "open-images/v4"
	want.Dataset.Labels = []Label{{Name: "Sandwich"}, {Name: "Hamburger"}}
	if diff := cmp.Diff(want, mustDecode(t, minimal)); diff != "" {
		t.Errorf("minimal manifest (-want +got):\n%s", diff)
	}
}

func TestDecodeDockerfile(t *testing.T) {
	m := mustDecode(t, minimal+"environment: {dockerfile: env/Dockerfile}\nstages: {a: {run: [x]}}\n")
	if want := (Environment{Dockerfile: "env/Dockerfile"}); m.Environment != want {
		t.Errorf("the environment is %+v, want %+v", m.Environment, want)
	}
	text, err := Render(m)
	if err != nil {
		t.Fatal(err)
	}
	if again := mustDecode(t, string(text)); again.Environment != m.Environment {
		t.Errorf("rendered, it is %+v", again.Environment)
	}
}

func TestDecodeConda(t *testing.T) {
	m := mustDecode(t, minimal+"environment: {conda: env/environment.yml}\nstages: {a: {run: [x]}}\n")
	if want := (Environment{Native: true, Conda: "env/environment.yml"}); m.Environment != want {
		t.Errorf("the environment is %+v, want %+v", m.Environment, want)
	}
	text, err := Render(m)
	if err != nil {
		t.Fatal(err)
	}
	if again := mustDecode(t, string(text)); again.Environment != m.Environment {
		t.Errorf("rendered, it is %+v", again.Environment)
	}
}

// TestEveryFieldHasAKey holds the Go types and the language together: a field that
// the grammar forgets would keep its default in everything.yaml.
func TestEveryFieldHasAKey(t *testing.T) {
	sameAsDefault := []string{"Manifest.Dataset.Source.Name", "Manifest.Split.Test", "Manifest.Split.By",
		// Those of other optimizers and schedules: TestDecodeModel has them.
		"Manifest.Model.Optimizer.Momentum", "Manifest.Model.Optimizer.Nesterov", "Manifest.Model.Optimizer.Rho",
		"Manifest.Model.Schedule.Step", "Manifest.Model.Schedule.Plateau",
		"Manifest.Model.RepeatArticle", // nothing stands beside it: TestRepeatArticle
		// Those of other forms of data sets: TestForms has them.
		"Manifest.Dataset.Source.Folders", "Manifest.Dataset.Source.COCO", "Manifest.Dataset.Source.VOC", "Manifest.Dataset.Source.YOLO",
		"Manifest.Dataset.Source.URLs", "Manifest.Dataset.All",
		"Manifest.Environment.Dockerfile", // there is an image: TestDecodeDockerfile
		"Manifest.Environment.Conda"}      // there are requirements of pip's: TestDecodeConda
	got := mustDecode(t, string(readTestdata(t, "everything.yaml")))
	var walk func(path string, got, standard reflect.Value)
	walk = func(path string, got, standard reflect.Value) {
		if got.Kind() == reflect.Struct {
			for i := range got.NumField() {
				walk(path+"."+got.Type().Field(i).Name, got.Field(i), standard.Field(i))
			}
			return
		}
		if reflect.DeepEqual(got.Interface(), standard.Interface()) && !slices.Contains(sameAsDefault, path) {
			t.Errorf("%s = %v, as without a file: give it a key in grammar.go and a value in everything.yaml", path, got)
		}
	}
	walk("Manifest", reflect.ValueOf(got).Elem(), reflect.ValueOf(defaults()).Elem())
	for _, l := range []reflect.Value{reflect.ValueOf(got.Dataset.Labels[2]), reflect.ValueOf(mergedLayer(got.Model.Layers)), reflect.ValueOf(*got.Model.EarlyStopping)} {
		for i := range l.NumField() {
			if name := l.Type().Field(i).Name; l.Field(i).IsZero() && name != "RestoreBest" && name != "GlobalPool" {
				t.Errorf("%s.%s is not set by everything.yaml", l.Type().Name(), name)
			}
		}
	}
}

// mergedLayer has every field that some layer has.
func mergedLayer(layers []Layer) Layer {
	var all Layer
	to := reflect.ValueOf(&all).Elem()
	for _, l := range layers {
		from := reflect.ValueOf(l)
		for i := range from.NumField() {
			if !from.Field(i).IsNil() {
				to.Field(i).Set(from.Field(i))
			}
		}
	}
	return all
}

// TestFaults has manifests with one fault each: text is put in place of, or behind,
// a part of the minimal manifest.
func TestFaults(t *testing.T) {
	labels := func(s string) string { return strings.Replace(minimal, "[Sandwich, Hamburger]", s, 1) }
	source := func(s string) string { return strings.Replace(minimal, "open-images/v4", s, 1) }
	boxes := func(s string) string { return minimal + "  boxes: " + s + "\n" }
	subsets := func(src, s string) string {
		return strings.Replace(src, "dataset:\n", "dataset:\n  subsets: "+s+"\n", 1)
	}
	with := func(s string) string { return minimal + s + "\n" }
	tests := []struct{ name, src, want string }{
		// keys
		{"unknown key", with("modell: {}"), "6:1: modell: unknown key (did you mean `model`?)"},
		{"unknown far from all", with("colour: red"), "6:1: colour: unknown key"},
		{"case", with("Seed: 1"), "6:1: Seed: unknown key (did you mean `seed`?)"},
		{"unknown nested", with("model: {batch-size: 1, Epochs: 2}"), "6:9: model.batch-size: unknown key\n6:24: model.Epochs: unknown key (did you mean `epochs`?)"},
		{"duplicate", with("seed: 1\nseed: 2"), "7:1: seed: set a second time; first on line 6"},
		{"missing", "version: 1\nname: a/b\n", "1:1: dataset: missing"},
		{"missing nested", "version: 1\nname: a/b\ndataset:\n  subsets: [train]\n", "3:1: dataset.source: missing\n3:1: dataset.labels: missing"},
		{"misspelt is not missing", strings.Replace(minimal, "name", "nam", 1), "2:1: nam: unknown key (did you mean `name`?)"},
		{"key that is a list", with("[a]: b"), "6:1: want a key, got a list"},
		{"key that needs quotes", with(`"a\nb": c`), `6:1: ["a\nb"]: unknown key`},
		{"image without a tag", with("environment: {image: python}"), `6:22: environment.image: want an image: repository:tag, repository@sha256:…, or the path of one, which begins with ./ or /, got "python"`},
		{"Dockerfile without a folder", with("environment: {dockerfile: ./Dockerfile}\nstages: {a: {run: [x]}}"), "6:27: environment.dockerfile: want a file in a folder of its own, such as environment/Dockerfile (all that is in its folder is what it is built from, and a change of any of it builds it again)"},
		{"Dockerfile elsewhere", with("environment: {dockerfile: ../env/Dockerfile}\nstages: {a: {run: [x]}}"), "6:27: environment.dockerfile: want a file in a folder of its own, such as environment/Dockerfile (all that is in its folder is what it is built from, and a change of any of it builds it again)"},
		{"Dockerfile and image", with("environment: {image: 'python:3', dockerfile: env/Dockerfile}\nstages: {a: {run: [x]}}"), "6:46: environment.dockerfile: there is an image already (remove one of the two)"},
		{"Dockerfile and native", with("environment: {dockerfile: env/Dockerfile, native: true}\nstages: {a: {run: [x]}}"), "6:51: environment.native: stages run in the image, and not on this machine (remove one of the two)"},
		{"image and native", with("environment: {image: 'python:3', native: true}\nstages: {a: {run: [x]}}"), "6:42: environment.native: stages run in the image, and not on this machine (remove one of the two)"},
		{"stage named as that of the image", with("environment: {image: 'python:3'}\nstages: {image: {run: [x]}}"), "7:10: stages.image: the stage that fetches the image of the environment has that name"},
		{"requirements outside", with("environment: {pip: ../requirements.txt}\nstages: {a: {run: [x]}}"), "6:20: environment.pip: want a path within the folder of the manifest"},
		{"requirements of no stage", with("environment: {pip: requirements.txt}"), "6:20: environment.pip: nothing would import it: there are no stages of your own, and the others are this program itself"},
		{"stage named as that of the wheels", with("environment: {pip: requirements.txt}\nstages: {wheels: {run: [x]}}"), "7:10: stages.wheels: the stage that unpacks the wheels of the environment has that name"},
		{"environment of pip and conda", with("environment: {pip: r.txt, conda: e.yml}\nstages: {a: {run: [x]}}"), "6:34: environment.conda: there are requirements of pip's already (remove one of the two)"},
		{"environment.yml outside", with("environment: {conda: ../e.yml}\nstages: {a: {run: [x]}}"), "6:22: environment.conda: want a path within the folder of the manifest"},
		{"environment.yml of no stage", with("environment: {conda: e.yml}"), "6:22: environment.conda: nothing would import it: there are no stages of your own, and the others are this program itself"},
		{"stage named as that of conda", with("environment: {conda: e.yml}\nstages: {conda: {run: [x]}}"), "7:10: stages.conda: the stage that unpacks the packages of the environment has that name"},
		{"input named as what conda installs", with("environment: {conda: e.yml}\nstages: {a: {run: [x], inputs: [.conda/lib]}}"), "7:33: stages.a.inputs[0]: the folder of what environment.conda installs has that name"},
		{"input named as what pip installs", with("environment: {pip: requirements.txt}\nstages: {a: {run: [x], inputs: [.venv/lib]}}"), "7:33: stages.a.inputs[0]: the folder of what environment.pip installs has that name"},
		{"merge key", with("crop: &c {pad: 1}\nmodel: {<<: *c}"), "7:9: model: merge keys are not part of the language (write the keys themselves)"},

		// types
		{"word for integer", with("model:\n  epochs: ten"), `7:11: model.epochs: want a positive integer, got "ten"`},
		{"quoted integer", with(`seed: "7"`), `6:7: seed: want an integer, got "7" (remove the quotes)`},
		{"fraction for integer", with("seed: 1.5"), "6:7: seed: want an integer, got 1.5"},
		{"null", with("seed:"), "6:6: seed: want an integer, got nothing"},
		{"list", with("seed: [1]"), "6:7: seed: want an integer, got a list"},
		{"mapping", with("seed: {a: 1}"), "6:7: seed: want an integer, got a mapping"},
		{"number for text", with("message: 12"), "6:10: message: want a message, got 12 (put it in quotes)"},
		{"boolean for text", labels("[Sandwich, true]"), "5:22: dataset.labels[1]: want a label's name or id, got true (put it in quotes)"},
		{"text for list", with("model: {layers: [conv]}"), "6:18: model.layers[0]: conv needs a value (write `conv: …`)"},
		{"scalar for list", labels("Sandwich"), `5:11: dataset.labels: want a list of labels, got "Sandwich" (write [Sandwich])`},
		{"scalar for mapping", with("crop: 128"), "6:7: crop: want a mapping with pad, shape, size, truncated_files, got 128"},
		{"root is a list", "- version: 1\n", "1:1: want a mapping with version, name, message, dataset, crop, quality, split, model, stages, seed, code, environment, package, registry, cache, mirrors, limits, matrix, got a list"},
		{"long text", with("seed: " + strings.Repeat("x", 100)), `6:7: seed: want an integer, got "` + strings.Repeat("x", 60) + `…"`},

		// what YAML's versions read differently
		{"yes", with("package: {originals: yes}"), "6:22: package.originals: want true or false, got \"yes\" (did you mean `true`?)"},
		{"off", with("package: {originals: off}"), "6:22: package.originals: want true or false, got \"off\" (did you mean `false`?)"},
		{"octal", with("seed: 010"), "6:7: seed: want an integer, got 010 (write a finite number in plain decimal digits: YAML's versions disagree about this spelling)"},
		{"hexadecimal", with("seed: 0x10"), "6:7: seed: want an integer, got 0x10 (write a finite number in plain decimal digits: YAML's versions disagree about this spelling)"},
		{"sexagesimal", with("seed: 1:30"), "6:7: seed: want an integer, got 1:30 (write a finite number in plain decimal digits: YAML's versions disagree about this spelling)"},
		{"underscores", with("dataset_: 1_000"), "6:1: dataset_: unknown key (did you mean `dataset`?)"},
		{"NaN", with("crop: {pad: .nan}"), "6:13: crop.pad: want a number from 0 to 10, got .nan (write a finite number in plain decimal digits: YAML's versions disagree about this spelling)"},
		{"infinity", with("crop: {pad: .inf}"), "6:13: crop.pad: want a number from 0 to 10, got .inf (write a finite number in plain decimal digits: YAML's versions disagree about this spelling)"},
		{"overflow", with("crop: {pad: 1e999}"), "6:13: crop.pad: want a number from 0 to 10, got 1e999"},
		{"octal as text", with("message: 010"), "6:10: message: want a message, got 010 (put it in quotes)"},
		{"tag", with(`seed: !!int "7"`), "6:7: seed: want an integer, got the tag !!int (aliases and tags are not part of the language: write the value itself)"},
		{"alias", with("seed: &s 7\nmodel: {batch: *s}"), "7:16: model.batch: want a positive integer, got an alias (aliases and tags are not part of the language: write the value itself)"},

		// ranges and forms
		{"zero", with("model: {epochs: 0}"), "6:17: model.epochs: want an integer from 1 to 100000, got 0"},
		{"too many", with("model: {batch: 1000000}"), "6:16: model.batch: want an integer from 1 to 4096, got 1000000"},
		{"too large for any", with("seed: 123456789012345678901234567890"), "6:7: seed: want an integer from 0 to 9007199254740991, got 123456789012345678901234567890"},
		{"open end", with("model: {optimizer: {rho: 1}}"), "6:26: model.optimizer.rho: want a number above 0 below 1, got 1"},
		{"size or none", with("crop: {size: small}"), "6:14: crop.size: want a positive integer, got \"small\" (or `none`)"},
		{"aspect below one", boxes("{max_aspect: 0.5}"), "6:23: dataset.boxes.max_aspect: want a number from 1 to 1000, got 0.5 (or `none`)"},
		{"areas that exclude each other", boxes("{max_area: 0.1, min_area: 0.2}"), "6:36: dataset.boxes.min_area: 0.2 is more than max_area, 0.1, so that no box passes"},
		{"version", strings.Replace(with("sneed: 2"), "version: 1", "version: 2", 1), "1:10: version: want 1, got 2"},
		{"name", strings.Replace(minimal, "quilt/open_images", "open_images", 1), `2:7: name: want a package name, namespace/name, of letters, digits, _ and -, got "open_images"`},
		{"long name", strings.Replace(minimal, "quilt/", strings.Repeat("q", 200)+"/", 1), "2:7: name: want a package name, namespace/name, of letters, digits, _ and - of at most 128 characters, got 212"},
		{"choice", with("crop: {shape: strech}"), "6:15: crop.shape: want one of keep, stretch, square, letterbox, got \"strech\" (did you mean `stretch`?)"},
		{"unknown optimizer", with("model: {optimizer: {name: adan}}"), "6:27: model.optimizer.name: want one of sgd, rmsprop, adam, adamw, got \"adan\" (did you mean `adam`?)"},
		{"registry", with("registry: gs://bucket"), `6:11: registry: want s3://bucket, file:///path or a folder, got "gs://bucket"`},
		{"stages as a list", with("stages: [train]"), "6:9: stages: want a mapping from names of stages to what they run, got a list"},
		{"stage without a program", with("stages: {a: {}}"), "6:10: stages.a.run: missing"},
		{"stage that runs nothing", with("stages: {a: {run: [\"\"]}}"), "6:20: stages.a.run[0]: want a program, got nothing"},
		{"stage that runs a text", with("stages: {a: {run: ls}}"), "6:19: stages.a.run: want a list of arguments, got \"ls\" (write [ls])"},
		{"stage with a bad name", with("stages: {A b: {run: [ls]}}"), "6:10: stages[\"A b\"]: want the name of a stage, of lower-case letters, digits, _ and -"},
		{"stage that cannot be replaced", with("stages: {pack: {run: [ls]}}"), "6:10: stages.pack: no stage of your own can have this name: what a package is made of is the same for all"},
		{"stage that reads itself", with("stages: {a: {run: [ls], inputs: [a]}}"), "6:34: stages.a.inputs[0]: the stage cannot read its own output (write `./a` if a file of this name is meant)"},
		{"stage that reads the package", with("stages: {a: {run: [ls], inputs: [pack]}}"), "6:34: stages.a.inputs[0]: pack comes last"},
		{"stage that reads elsewhere", with("stages: {a: {run: [ls], inputs: [b/../../c]}}"), "6:34: stages.a.inputs[0]: want a stage, or a path within the folder of the manifest"},
		{"stage that reads a root", with("stages: {a: {run: [ls], inputs: [/etc]}}"), "6:34: stages.a.inputs[0]: want a stage, or a file or folder beside the manifest, got \"/etc\""},
		{"stage that reads its output", with("stages: {a: {run: [ls], inputs: [out/x]}}"), "6:34: stages.a.inputs[0]: the folder of the output has that name"},
		{"stage that reads a file in a stage", with("stages: {a: {run: [ls], inputs: [crop, crop/x]}}"), "6:40: stages.a.inputs[1]: crop is where the output of that stage is"},
		{"stage that reads twice", with("stages: {a: {run: [ls], inputs: [crop, crop]}}"), "6:40: stages.a.inputs[1]: \"crop\" is listed twice"},
		{"stage that writes elsewhere", with("stages: {a: {run: [ls], outputs: [../x]}}"), "6:35: stages.a.outputs[0]: want a path within the folder out"},
		{"stage with a variable of ours", with("stages: {a: {run: [ls], env: {SANDWICH_SEED: \"1\"}}}"), "6:46: stages.a.env.SANDWICH_SEED: variables that begin with SANDWICH_ are set by sandwich"},
		{"stages in a circle", with("stages: {a: {run: [ls], inputs: [train]}, split: {run: [ls], inputs: [a]}}"), "6:25: stages.a.inputs: stages that wait for each other: a reads train reads split reads a"},
		{"limit of no stage", with("limits: {corp: {cpu: 2}}"), "6:10: limits.corp: unknown key (did you mean `crop`?)"},
		{"limit of nothing", with("limits: {crop: {cpu: 0}}"), "6:22: limits.crop.cpu: want an integer from 1 to 4096, got 0 (or `none`)"},
		{"limit without a unit", with("limits: {crop: {memory: 1024}}"), "6:25: limits.crop.memory: want an amount of memory, such as 512MiB or 4GiB, got 1024 (give it a unit: MiB, GiB or TiB)"},
		{"limit in another unit", with("limits: {crop: {memory: 1GB}}"), "6:25: limits.crop.memory: want an amount of memory, such as 512MiB or 4GiB, got \"1GB\" (or `none`)"},
		{"mirror", with("mirrors: {ftp://a: b}"), `6:11: mirrors["ftp://a"]: want an http, https or s3 URL prefix, got "ftp://a"`},
		{"class that climbs", labels("[A, {name: B, as: ../B}]"), `5:29: dataset.labels[1].as: want the name of a class (no slash, no dot or space in front), got "../B"`},
		{"one label", labels("[Sandwich]"), "5:11: dataset.labels: want 2 to 601 labels, got 1"},
		{"listed twice", subsets(minimal, "[train, test, train]"), "4:26: dataset.subsets[2]: \"train\" is listed twice"},
		{"source", source("open-images/v5"), "4:11: dataset.source: want one of open-images/v4, open-images/v7, got \"open-images/v5\" (did you mean `open-images/v4`?)"},

		// layers
		{"unknown layer", with("model: {layers: [max_pol: 2]}"), "6:18: model.layers[0].max_pol: unknown key (did you mean `max_pool`?)"},
		{"two keys", with("model: {layers: [{max_pool: 2, dropout: 0.5}]}"), "6:18: model.layers[0]: want one key, got 2 (start each layer with its own `- `)"},
		{"layer that is a number", with("model: {layers: [3]}"), "6:18: model.layers[0]: want a layer: one of conv, depthwise, batch_norm, activation, max_pool, average_pool, global_pool, dense, dropout, residual, flatten, got 3"},
		{"unknown network", with("model: {layers: vgg16}"), `6:17: model.layers: want one of article, slider, got "vgg16"`},
		{"conv without filters", with("model: {layers: [conv: {kernel: 3}, flatten]}"), "6:18: model.layers[0].conv.filters: missing"},

		// contradictions
		{"same label", labels("[Sandwich, Hamburger, sandwich]"), `5:33: dataset.labels[2]: "sandwich" is already labels[0]`},
		{"one class", labels("[{name: A, as: x}, {name: B, as: x}]"), "5:3: dataset.labels: all labels become one class, and there is nothing to tell apart"},
		{"shared folder", labels("[A b, {name: C, as: a_B}]"), "5:17: dataset.labels[1]: the classes \"A b\" and \"a_B\" would share a folder (give one of them another name with `as`)"},
		{"except", labels("[A, {name: B, except: [C]}]"), "5:25: dataset.labels[1].except: there is nothing to leave out without descendants (add `descendants: true`)"},
		{"except itself", labels("[A, {name: B, descendants: true, except: [b]}]"), "5:53: dataset.labels[1].except[0]: the label cannot leave out itself"},
		{"no hierarchy", strings.Replace(labels("[A, {name: B, descendants: true}]"), "open-images/v4", "{classes: c, boxes: b, images: i}", 1), "5:38: dataset.labels[1].descendants: the source has no hierarchy (give dataset.source.hierarchy a path or URL)"},
		{"one file for two subsets", subsets(source("{classes: c, boxes: b, images: 'i/{subset}'}"), "[train, test]"), "5:31: dataset.source.boxes: one file for 2 subsets (put {subset} where the subset's name belongs)"},
		{"placeholder", source("{classes: c, boxes: 'b/{split}', images: 'i'}"), "4:31: dataset.source.boxes: unknown placeholder in \"b/{split}\" (did you mean `{subset}`?)"},
		{"placeholder in classes", source("{classes: '{subset}', boxes: b, images: i}"), `4:21: dataset.source.classes: unknown placeholder in "{subset}"`},
		{"fractions", with("split: {train: 0.9}"), "6:1: split: train 0.9 + validation 0.1 + test 0.1 add up to 1.1, want 1"},
		{"early stopping", with("split: {train: 0.9, validation: 0}\nmodel: {early_stopping: {patience: 2}}"), "7:9: model.early_stopping: val_loss needs a validation set, and split.validation is 0 (write `early_stopping: none`, or give split.validation a fraction)"},
		{"article on few pixels of any crops", with("crop: {size: none}\nmodel: {size: 16}"), "7:15: model.layers: article's layers[4]: nothing is left of the picture, which is 2×2 pixels here"},
		{"article on few pixels", with("crop: {size: 16}"), "6:14: model.layers: article's layers[4]: nothing is left of the picture, which is 2×2 pixels here"},
		{"article on few pixels by name", with("crop: {size: 16}\nmodel:\n  layers: article"), "8:11: model.layers: article's layers[4]: nothing is left of the picture, which is 2×2 pixels here"},
		{"pool eats the picture", with("crop: {size: 4}\nmodel:\n  layers:\n    - max_pool: 2\n    - max_pool: 3\n    - flatten"), "10:7: model.layers[1]: nothing is left of the picture, which is 2×2 pixels here"},
		{"dense on a picture", with("model: {layers: [dense: {units: 2}]}"), "6:18: model.layers[0]: the layer reads a vector, and here is a picture: put `- flatten` before it"},
		{"conv on a vector", with("model: {layers: [flatten, conv: {filters: 2}]}"), "6:27: model.layers[1]: the layer reads a picture, and here is a vector: an earlier layer is flatten or global_pool"},
		{"no flatten", with("model: {layers: [max_pool: 2]}"), "6:9: model.layers: the layers end with a picture, and the classification needs a vector (add `- flatten` or `- global_pool: average` behind the last convolution)"},
		{"convs that do not meet", with("model: {layers: [residual: {layers: [conv: {filters: 4, padding: same}]}, flatten]}"), "6:18: model.layers[0]: the layers make 128×128×4 and the shortcut 128×128×3, which cannot be added: give the shortcut a conv of the same stride and filters"},
		{"layer within a block", with("model:\n  layers:\n    - residual:\n        layers: [flatten, conv: {filters: 2}]\n    - flatten"), "9:27: model.layers[0].residual.layers[1]: the layer reads a picture, and here is a vector: an earlier layer is flatten or global_pool"},
		{"block within a block", with("model: {layers: [residual: {layers: [residual: {layers: [flatten]}]}]}"), "6:38: model.layers[0].residual.layers[0].residual: unknown key"},
		{"groups", with("model: {layers: [conv: {filters: 4, groups: 2}, flatten]}"), "6:18: model.layers[0]: 2 groups must divide the 3 channels that come in and the 4 filters"},
		{"stride and dilation", with("model: {layers: [conv: {filters: 4, stride: 2, dilation: 2}, flatten]}"), "6:18: model.layers[0]: stride and dilation cannot both be above 1"},
		{"activation", with("model: {layers: [activation: reul]}"), `6:30: model.layers[0].activation: want one of none, relu, relu6, leaky_relu, elu, silu, gelu, sigmoid, tanh, got "reul" (did you mean ` + "`relu`?)"},
		{"setting of another optimizer", with("model: {optimizer: {name: adam, nesterov: true}}"), "6:43: model.optimizer.nesterov: a setting of sgd, and the optimizer is adam"},
		{"nesterov alone", with("model: {optimizer: {name: sgd, nesterov: true}}"), "6:42: model.optimizer.nesterov: there is no momentum to take first (give momentum a value, such as 0.9)"},
		{"schedule", with("model: {schedule: cosin}"), `6:19: model.schedule: want a schedule: one of step, cosine, plateau, constant, got "cosin" (did you mean ` + "`cosine`?)"},
		{"plateau without validation", with("split: {train: 0.9, validation: 0, test: 0.1}\nmodel: {schedule: {plateau: {}}}"), "7:9: model.schedule.plateau: val_loss needs a validation set, and split.validation is 0 (take another schedule, or give split.validation a fraction)"},
		{"class weights", with("model: {class_weights: {Sandwich: -1}}"), "6:35: model.class_weights.Sandwich: want a number from 0 to 1000, got -1"},
		{"too many parameters", with("model: {layers: [flatten, dense: {units: 60000}]}"), "6:27: model.layers[1]: the network has 2949180000 parameters up to here, more than 268435456"},
		{"too large a batch", with("crop: {size: 1024}\nmodel: {batch: 1024, layers: [conv: {filters: 1}, flatten]}"), "7:31: model.layers[0]: a batch of 1024 makes 1069551616 values here, more than 536870912"},
		{"not native", with("environment: {native: false}"), "6:23: environment.native: want true, or an image"},

		// the file
		{"empty", "", "1:1: the file is empty (`sandwich init` writes a manifest to start from)"},
		{"only a comment", "# nothing\n", "1:1: the file is empty (`sandwich init` writes a manifest to start from)"},
		{"not UTF-8", "version: 1\nname: caf\xe9\n", "2:10: the file is not UTF-8 text (save it as UTF-8)"},
		{"UTF-16", "\xff\xfev\x00", "1:1: the file is not UTF-8 text (save it as UTF-8)"},
		{"two documents", minimal + "---\nversion: 1\n", "6:1: a second document starts here (a manifest is one document: remove the `---`)"},
		{"a second document that is not YAML", minimal + "---\na: [\n", "7:1: not YAML: did not find expected node content"},
		{"tab", "version: 1\ndataset:\n\tsource: x\n", "3:1: not YAML: found character that cannot start any token (the line has a tab: YAML is indented with spaces)"},
		{"unclosed", "version: [1\n", "1:1: not YAML: did not find expected ',' or ']'"},
		{"unknown anchor", "version: *v\n", "1:1: not YAML: unknown anchor 'v' referenced"},
		{"control character", "version: \x01\n", "1:1: not YAML: control characters are not allowed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Decode("m.yaml", []byte(test.src))
			var faults *Faults
			if !errors.As(err, &faults) {
				t.Fatalf("got %v, want *Faults", err)
			}
			want := "m.yaml:" + strings.ReplaceAll(test.want, "\n", "\nm.yaml:")
			if diff := cmp.Diff(want, err.Error()); diff != "" {
				t.Errorf("(-want +got):\n%s\nin:\n%s", diff, test.src)
			}
		})
	}
}

func TestAllFaultsInTextOrder(t *testing.T) {
	src := string(readTestdata(t, "faults.yaml"))
	_, err := Decode("testdata/faults.yaml", []byte(src))
	var want []string
	for i, line := range strings.Split(src, "\n") {
		if _, comment, ok := strings.Cut(line, "# FAULT "); ok {
			for message := range strings.SplitSeq(comment, " ; ") {
				want = append(want, fmt.Sprintf("testdata/faults.yaml:%d:%s", i+1, message))
			}
		}
	}
	if diff := cmp.Diff(strings.Join(want, "\n"), fmt.Sprint(err)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestHostile gives files that cost an unguarded reader its time or memory.
func TestHostile(t *testing.T) {
	laughs := "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n"
	for i := range 20 {
		laughs += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d, ", i), 9))
	}
	almost := MaxSize - len(minimal) - 16
	tests := map[string]struct{ src, want string }{
		"billion laughs":       {minimal + laughs + "message: *a20\n", "message: want a message, got an alias"},
		"laughing labels":      {laughs + strings.Replace(minimal, "[Sandwich", "[*a20", 1), "labels[0]: want"},
		"recursive alias":      {minimal + "crop: &c {size: *c}\n", "crop.size: want a positive integer, got an alias"},
		"deep lists":           {minimal + "crop: " + strings.Repeat("[", almost), "not YAML: exceeded max depth"},
		"deep mappings":        {minimal + "crop: " + strings.Repeat("{a: ", almost/4), "not YAML: exceeded max depth"},
		"deep indent":          {minimal + strings.Repeat("- ", almost/2), "not YAML"},
		"deep but legal":       {minimal + "crop: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "\n", "crop: want a mapping"},
		"a deep variant":       {minimal + "matrix: {crop: [" + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "]}\n", "crop: want a mapping"},
		"large variants":       {minimal + "matrix: {crop: [" + strings.Repeat("{"+strings.Repeat("a: {}, ", 500)+"},", 63) + "{}]}\n", "more faults from here on"},
		"many axes":            {minimal + "matrix: {" + strings.Repeat("crop: [1], ", almost/16) + "}\n", "matrix: want at most 16 settings"},
		"many different axes":  {minimal + "matrix: {" + manyAxes(almost-16) + "}\n", "matrix: want at most 16 settings"},
		"many keys":            {minimal + strings.Repeat("a: 1\n", almost/5), "more faults from here on"},
		"many different keys":  {minimal + manyKeys(almost), "more faults from here on"},
		"many labels":          {strings.Replace(minimal, "[", "["+strings.Repeat("A,", almost/2), 1), "want 2 to 601 labels, got"},
		"a long key":           {minimal + strings.Repeat("m", almost) + ": 1\n", "not YAML"},
		"a long quoted key":    {minimal + "? " + strings.Repeat("m", almost-8) + "\n: 1\n", "unknown key"},
		"a long text":          {minimal + "message: " + strings.Repeat("m", almost) + "\n", "of at most 4096 characters"},
		"a long number":        {minimal + "seed: " + strings.Repeat("9", almost) + "\n", "want an integer from 0"},
		"a long fraction":      {minimal + "crop: {pad: 0." + strings.Repeat("9", almost-8) + "e99}\n", "want a number"},
		"comments":             {minimal + strings.Repeat("#\n", almost/2) + "x: 1\n", "unknown key"},
		"too large":            {minimal + strings.Repeat("#", MaxSize), "larger than a manifest may be"},
		"too large, not UTF-8": {strings.Repeat("\xff", MaxSize+1), "larger than a manifest may be"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := Decode("m.yaml", []byte(test.src))
			var faults *Faults
			if !errors.As(err, &faults) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %.300v\nwant %s", err, test.want)
			}
			if faults != nil && len(*faults) > maxFaults+1 {
				t.Errorf("%d faults are told", len(*faults))
			}
			t.Logf("%v", time.Since(start))
		})
	}
}

func manyAxes(size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size-24; i++ {
		fmt.Fprintf(&b, "crop.k%d: [1], ", i)
	}
	return b.String()
}

func manyKeys(size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size-16; i++ {
		fmt.Fprintf(&b, "k%d: 1\n", i)
	}
	return b.String()
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "manifest.yaml")
	if _, _, err := ReadFile(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v, want fs.ErrNotExist", err)
	}
	if _, _, err := ReadFile(dir); err == nil {
		t.Error("a folder was read")
	}
	if err := os.WriteFile(path, []byte(minimal), 0o600); err != nil {
		t.Fatal(err)
	}
	m, src, err := ReadFile(path)
	if err != nil || m.Name != "quilt/open_images" || string(src) != minimal {
		t.Errorf("ReadFile = %v, %q, %v", m, src, err)
	}
	if err := os.Truncate(path, 100<<20); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err = ReadFile(path)
	runtime.ReadMemStats(&after)
	want := path + ":1:1: the file is larger than a manifest may be, 256 KiB (is it another file?)"
	if fmt.Sprint(err) != want {
		t.Errorf("100 MB: %v, want %s", err, want)
	}
	if taken := after.TotalAlloc - before.TotalAlloc; taken > 8*MaxSize {
		t.Errorf("100 MB: %d bytes of memory were taken", taken)
	}
}

func TestTemplate(t *testing.T) {
	m := mustDecode(t, string(Template("quilt/open_images")))
	if m.Name != "quilt/open_images" || len(m.Dataset.Labels) != 2 || m.Seed != 42 {
		t.Errorf("the template is not the article's build: %+v", m)
	}
}

// TestDecodeModel has what a manifest cannot say together with the rest of everything.yaml.
func TestDecodeModel(t *testing.T) {
	standard := defaults().Model
	for text, change := range map[string]func(*Model){
		"optimizer: {name: sgd, momentum: 0.9, nesterov: true}": func(m *Model) {
			m.Optimizer.Name, m.Optimizer.Momentum, m.Optimizer.Nesterov = "sgd", 0.9, true
		},
		"optimizer: {rho: 0.8}": func(m *Model) { m.Optimizer.Rho = 0.8 },
		"schedule: {step: {every: 3, factor: 0.5}}": func(m *Model) {
			m.Schedule.Step = &StepSchedule{Every: 3, Factor: 0.5}
		},
		"schedule: constant": func(*Model) {},
		"schedule: {plateau: {monitor: val_accuracy, factor: 0.5, patience: 2, min_delta: 0, floor: 0.1}}": func(m *Model) {
			m.Schedule.Plateau = &PlateauSchedule{Monitor: "val_accuracy", Factor: 0.5, Patience: 2, Floor: 0.1}
		},
		"class_weights: balanced": func(m *Model) { m.ClassWeights.Name = "balanced" },
		"layers: slider":          func(m *Model) { m.LayersName, m.Layers = "slider", SliderLayers() },
		"layers: [global_pool: max, dense: {units: 4}]": func(m *Model) {
			m.LayersName = ""
			m.Layers = []Layer{{GlobalPool: &GlobalPool{Of: "max"}}, {Dense: &Dense{Units: 4, Activation: "relu"}}}
		},
	} {
		want := standard
		change(&want)
		m := mustDecode(t, minimal+"model: {"+text+"}\n")
		if diff := cmp.Diff(want, m.Model); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
		rendered, err := Render(m)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, mustDecode(t, string(rendered))); diff != "" {
			t.Errorf("%s, rendered (-want +got):\n%s\n%s", text, diff, rendered)
		}
	}
}

func TestSliderFitsAnySize(t *testing.T) {
	for _, side := range []int{8, 32, 128, 131} {
		shape := Shape{Side: side, Channels: 3}
		for _, l := range SliderLayers() {
			next, _, err := l.Through(shape)
			if err != nil {
				t.Fatalf("%d pixels: %v", side, err)
			}
			shape = next
		}
		if shape != (Shape{Channels: 96}) {
			t.Errorf("%d pixels become %v", side, shape)
		}
	}
}

func TestArticleLayers(t *testing.T) {
	shape, parameters := Shape{Side: articleSide, Channels: 3}, 0
	for _, l := range ArticleLayers() {
		next, arrays, err := l.Through(shape)
		if err != nil {
			t.Fatal(err)
		}
		shape = next
		for _, a := range arrays {
			parameters += a.Size()
		}
	}
	// The original's classification layer: one unit on 64 values.
	if total := parameters + shape.Channels + 1; total != 831_585 {
		t.Errorf("%d parameters, want 831585", total)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add(Template("a/b"))
	for _, name := range []string{"everything.yaml", "faults.yaml"} {
		f.Add(readTestdata(f, name))
	}
	// The first is odd, the others made older versions of the parser panic.
	for _, src := range []string{"? [a]\n: &x !!y {<<: *x}\n--- |\n", "a:\n.\n-\n", "#\n-\n-\n0", "#\n - - Q", "! !00 x", "{{},<<}", "  0: [\n] 0", "? \ufeff:\n"} {
		f.Add([]byte(src))
	}
	schema := compileSchema(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		m, err := Decode("m.yaml", src)
		if err != nil {
			checkFaults(t, src, err)
			return
		}
		text, err := Render(m)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode("rendered.yaml", text)
		if err != nil {
			t.Fatalf("render is refused: %v\n%s", err, text)
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Fatalf("render says something else (-file +render):\n%s\n%s", diff, text)
		}
		if err := schema.Validate(instance(t, text)); err != nil {
			t.Fatalf("the schema refuses what the decoder accepts: %v", err)
		}
	})
}

// checkFaults holds what is true of every fault: one line, at a place in the file,
// in order.
func checkFaults(t *testing.T, src []byte, err error) {
	t.Helper()
	var faults *Faults
	if !errors.As(err, &faults) || len(*faults) == 0 {
		t.Fatalf("got %#v, want *Faults", err)
	}
	last := Fault{}
	lines := strings.Count(strings.NewReplacer("\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n").Replace(string(src)), "\n") + 1
	for _, f := range *faults {
		if f.Line < max(last.Line, 1) || f.Column < 1 || f.Line > lines+1 {
			t.Errorf("%v is no place in a file of %d lines, or out of order", f, lines)
		}
		if strings.ContainsAny(f.String(), "\n\r") {
			t.Errorf("%q is not one line", f)
		}
		last = f
	}
}
