package manifest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestVariants holds the order of the product, and that the text of a variant is a
// manifest of its own.
func TestVariants(t *testing.T) {
	src := minimal + "message: Try\nmatrix:\n  seed: [1, 2]\n  model.optimizer.learning_rate: [0.001, 0.0005, 2e-3]\n  crop: [{size: 64}]\n"
	variants, err := Variants("m.yaml", []byte(src), []Setting{"model.epochs=3"})
	if err != nil {
		t.Fatal(err)
	}
	var titles []string
	for _, v := range variants {
		titles = append(titles, v.Title())
		m, err := Decode("m.yaml", v.Text)
		if err != nil {
			t.Fatalf("%s: %v\n%s", v.Title(), err, v.Text)
		}
		if diff := cmp.Diff(v.Manifest, m); diff != "" {
			t.Errorf("%s: the text means something else\n%s", v.Title(), diff)
		}
		if want := "Try (" + v.Title() + ")"; m.Message != want || m.Crop.Size != 64 || m.Model.Epochs != 3 || m.Matrix != nil {
			t.Errorf("%s: got %+v", v.Title(), m)
		}
		// The matrix does what the command line does.
		plain, _, err := Override("m.yaml", []byte(minimal), append([]Setting{"model.epochs=3"}, v.Set...))
		if err != nil {
			t.Fatal(err)
		}
		plain.Message = m.Message
		if diff := cmp.Diff(plain, m); diff != "" {
			t.Errorf("%s: -S makes something else\n%s", v.Title(), diff)
		}
	}
	want := []string{
		"seed=1, model.optimizer.learning_rate=0.001, crop={size: 64}",
		"seed=1, model.optimizer.learning_rate=0.0005, crop={size: 64}",
		"seed=1, model.optimizer.learning_rate=2e-3, crop={size: 64}",
		"seed=2, model.optimizer.learning_rate=0.001, crop={size: 64}",
		"seed=2, model.optimizer.learning_rate=0.0005, crop={size: 64}",
		"seed=2, model.optimizer.learning_rate=2e-3, crop={size: 64}",
	}
	if diff := cmp.Diff(want, titles); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if !strings.HasPrefix(string(variants[3].Text), "# -S model.epochs=3\n# -S seed=2\n") {
		t.Errorf("the text does not say what was set:\n%s", variants[3].Text)
	}
}

// TestVariantsWithoutMatrix: a manifest of one build is its own only variant, to the byte.
func TestVariantsWithoutMatrix(t *testing.T) {
	for _, src := range []string{minimal, minimal + "matrix: {}\n"} {
		variants, err := Variants("m.yaml", []byte(src), nil)
		if err != nil || len(variants) != 1 || variants[0].Title() != "" || string(variants[0].Text) != src {
			t.Errorf("got %+v, %v", variants, err)
		}
	}
	src := []byte(minimal + "matrix: {seed: [1, 2]}\n")
	variants, err := Variants("m.yaml", src, []Setting{"matrix={}"})
	if err != nil || len(variants) != 1 {
		t.Errorf("got %d variants, %v", len(variants), err)
	}
}

func TestMatrixFaults(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat("1, ", MaxVariants+1), ", ")
	line := strings.Count(minimal, "\n") + 1
	tests := []struct {
		matrix string
		column int
		want   string
	}{
		{"3", 9, "matrix: want a mapping from settings to lists of values, got 3"},
		{"{seed: 3}", 16, "matrix.seed: want a list of values, got 3"},
		{"{seed: []}", 16, "matrix.seed: want 1 to 64 values, got 0"},
		{"{seed: [" + many + "]}", 16, "matrix.seed: want 1 to 64 values, got 65"},
		{"{seed: [1], seed: [2]}", 21, fmt.Sprintf("matrix.seed: set a second time; first on line %d", line)},
		{"{name: [a/b]}", 10, "matrix.name: the matrix cannot vary it: the variants are revisions of one package"},
		{"{dataset.limit: [1, 2]}", 10, `matrix["dataset.limit"]: the matrix cannot vary it: the variants share one lock, and so one selection of photos`},
		{"{'dataset.labels[0]': [Egg]}", 10, `matrix["dataset.labels[0]"]: the matrix cannot vary it: the variants share one lock`},
		{"{mirrors: [{}]}", 10, "matrix.mirrors: the matrix cannot vary it: where bytes are fetched from does not change what is built"},
		{"{registry: [x]}", 10, "matrix.registry: the matrix cannot vary it: the variants are revisions of one package, in one registry"},
		{"{modle.epochs: [1]}", 10, "matrix[\"modle.epochs\"]: want the path of a setting, such as model.epochs (did you mean `model`?)"},
		{"{'a b': [1]}", 10, `matrix["a b"]: want the path of a setting, such as model.epochs`},
		{"{seed: [!!int 1]}", 17, "matrix.seed[0]: aliases and tags are not part of the language"},
		{"{model.batch: [8, ten]}", 27, `model.batch: want a positive integer, got "ten"`},
		{"{model.epoch: [1, 2]}", 10, "model.epoch: unknown key (did you mean `epochs`?)"},
		{"{'model.layers[9].dropout': [0.5]}", 10, "there is no layers[9] to replace"},
		{"{crop.size: [4, 128]}", 22, "article's layers[2]: nothing is left of the picture"},
		{"{split.train: [0.8, 0.5]}", 10, "split: train 0.5 + validation 0.1 + test 0.1 add up to 0.7, want 1"},
		{"{crop: [{size: 64}], crop.size: [32]}", 30, `matrix["crop.size"]: the matrix varies crop too, and one of them would replace the other`},
		{"{seed: [1, 1.0]}", 1, "matrix: two variants are the same build: seed=1 and seed=1.0"},
		{"{seed: [1, 2, 3, 4, 5, 6, 7, 8, 9], model.batch: [1, 2, 3, 4, 5, 6, 7, 8]}", 1, "matrix: the values make more than 64 variants"},
	}
	for _, test := range tests {
		_, err := Decode("m.yaml", []byte(minimal+"matrix: "+test.matrix+"\n"))
		var faults *Faults
		if !errors.As(err, &faults) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v\nwant %s", test.matrix, err, test.want)
			continue
		}
		if f := (*faults)[0]; f.Line != line || f.Column != test.column {
			t.Errorf("%s: %v stands at %d:%d, want column %d", test.matrix, err, f.Line, f.Column, test.column)
		}
		if len(*faults) > 1 {
			t.Errorf("%s: told %d times:\n%v", test.matrix, len(*faults), err)
		}
	}
}

// TestMatrixFaultElsewhere: a fault that does not stand at a value says which variant has it.
func TestMatrixFaultElsewhere(t *testing.T) {
	_, err := Decode("m.yaml", []byte(minimal+"split: {by: image}\nmatrix: {split.train: [0.8, 0.5]}\n"))
	want := fmt.Sprintf("m.yaml:%d:1: split: train 0.5 + validation 0.1 + test 0.1 add up to 0.7, want 1 in the variant split.train=0.5",
		strings.Count(minimal, "\n")+1)
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// TestSettingsBesideMatrix: what the matrix varies cannot be set beside it.
func TestSettingsBesideMatrix(t *testing.T) {
	src := []byte(minimal + "matrix: {model.batch: [8, 16]}\n")
	for setting, want := range map[string]string{
		"model.batch=4":            "-S model.batch=4: model.batch: the matrix varies model.batch (-S 'matrix={}' builds without",
		"model={batch: 4}":         "-S model={batch: 4}: model: the matrix varies model.batch",
		"matrix={seed: [a]}":       `-S matrix={seed: [a]}: seed: want an integer, got "a"`,
		"matrix={model.bach: [1]}": "-S matrix={model.bach: [1]}: model.bach: unknown key",
	} {
		_, err := Variants("m.yaml", src, []Setting{Setting(setting)})
		var faults *Faults
		if !errors.As(err, &faults) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v\nwant %s", setting, err, want)
		}
	}
}

func FuzzMatrix(f *testing.F) {
	for _, s := range []string{"{seed: [1, 2]}", "{crop: [{size: 9}, {size: none}]}", "{model.layers: [article, [flatten]]}", "{seed: [~, '', |-\n a]}", "{model.layers[0]: [x]}", "&a {seed: [*a]}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, matrix string) {
		variants, err := Variants("m.yaml", []byte(minimal+"matrix: "+matrix+"\n"), nil)
		if err != nil {
			var faults *Faults
			if !errors.As(err, &faults) {
				t.Fatalf("%q: %v", matrix, err)
			}
			return
		}
		for _, v := range variants {
			m, err := Decode("m.yaml", v.Text)
			if err != nil {
				t.Fatalf("%q gives a text that is no manifest: %v\n%s", matrix, err, v.Text)
			}
			if diff := cmp.Diff(v.Manifest, m); diff != "" {
				t.Fatalf("%q: the text means something else\n%s", matrix, diff)
			}
		}
	})
}
