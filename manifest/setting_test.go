package manifest

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func everythingText(t testing.TB) []byte {
	t.Helper()
	src, err := os.ReadFile("testdata/everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func TestOverride(t *testing.T) {
	src := everythingText(t)
	m, text, err := Override("m.yaml", src, []Setting{
		"model.epochs=3", "model.early_stopping=none", "crop={shape: letterbox, size: 64}", "seed=7", "dataset.limit=none",
		`message="a: b # c"`, "model.augment.flip=none", "model.optimizer.beta1=0.5",
	})
	if err != nil {
		t.Fatal(err)
	}
	want, err := Decode("m.yaml", src)
	if err != nil {
		t.Fatal(err)
	}
	want.Model.Epochs, want.Model.EarlyStopping, want.Seed, want.Dataset.Limit = 3, nil, 7, 0
	want.Crop = Crop{Shape: "letterbox", Size: 64, TruncatedFiles: "drop"}
	want.Message, want.Model.Augment.Flip, want.Model.Optimizer.Beta1 = "a: b # c", "none", 0.5
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	again, err := Decode("m.yaml", text)
	if err != nil {
		t.Fatalf("the text is no manifest: %v\n%s", err, text)
	}
	if diff := cmp.Diff(m, again); diff != "" {
		t.Errorf("the text means something else (-want +got)\n%s", diff)
	}
	if !strings.HasPrefix(string(text), "# -S model.epochs=3\n") {
		t.Errorf("the text does not say what was set:\n%s", text)
	}
}

func TestOverrideWithoutSettingsIsDecode(t *testing.T) {
	src := everythingText(t)
	_, text, err := Override("m.yaml", src, nil)
	if err != nil || string(text) != string(src) {
		t.Errorf("got %v\n%s", err, text)
	}
}

// TestOverrideFaults holds that a setting is judged as the file is, and where its faults
// are said to be.
func TestOverrideFaults(t *testing.T) {
	src := everythingText(t)
	tests := []struct{ setting, want string }{
		{"model.epochs=ten", `-S model.epochs=ten: model.epochs: want a positive integer, got "ten"`},
		{"epochs=2", "-S epochs=2: epochs: unknown key (did you mean `model.epochs`?)"},
		{"model.learning-rate=1", "-S model.learning-rate=1: model.learning-rate: unknown key (did you mean `model.optimizer.learning_rate`?)"},
		{"model.epoch=2", "-S model.epoch=2: model.epoch: unknown key (did you mean `epochs`?)"},
		{"modle.epochs=2", "-S modle.epochs=2: modle: unknown key (did you mean `model`?)"},
		{"model.epochs=[", "-S model.epochs=[: model.epochs: not YAML: "},
		{"split.train=0.5", "m.yaml:23:1: split: train 0.5 + validation"},
		{"dataset.labels[99]=Egg", "-S dataset.labels[99]=Egg: dataset.labels[99]: there is no labels[99] to replace"},
		{"dataset.labels[0].name=", "dataset.labels[0].name: want a label's name or id, got nothing"},
		{"version=2", "-S version=2: version: "},
	}
	for _, test := range tests {
		_, _, err := Override("m.yaml", src, []Setting{Setting(test.setting)})
		var faults *Faults
		if !errors.As(err, &faults) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.setting, err, test.want)
		}
	}
	for _, s := range []Setting{"epochs", "=3", "a b=3", "a.=3", "a[x]=3"} {
		if _, _, err := Override("m.yaml", src, []Setting{s}); !errors.Is(err, ErrSetting) {
			t.Errorf("%q: got %v", s, err)
		}
	}
	if _, _, err := Override("m.yaml", []byte("a: [\n"), []Setting{"seed=1"}); err == nil {
		t.Error("a file that is no YAML was accepted")
	}
}

func FuzzOverride(f *testing.F) {
	src := everythingText(f)
	for _, s := range []string{"seed=1", "model.epochs=ten", "dataset.labels[0]=x", "a=[", "model.layers[0].conv.kernel=5", "mirrors={a: b}", "message=|-\n a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, setting string) {
		m, text, err := Override("m.yaml", src, []Setting{Setting(setting)})
		if err != nil {
			return
		}
		again, err := Decode("m.yaml", text)
		if err != nil {
			t.Fatalf("%q gives a text that is no manifest: %v\n%s", setting, err, text)
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Fatalf("%q: the text means something else\n%s", setting, diff)
		}
	})
}

func TestSays(t *testing.T) {
	src := []byte("version: 1\nregistry: registry\n")
	for key, want := range map[string]bool{"registry": true, "version": true, "cache": false, "": false} {
		if got := Says(src, key); got != want {
			t.Errorf("%q: %v", key, got)
		}
	}
	if Says([]byte("- registry"), "registry") {
		t.Error("a list says a key")
	}
}
