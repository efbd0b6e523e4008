package provenance_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/provenance"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

func blob(text string) cas.Digest { return cas.Sum([]byte(text)) }

func example() []provenance.Stage {
	photos := cas.NewTreeID(blob("photos"))
	step := stages.Step{
		Stage: "crop", Action: blob("action"),
		Result: cas.Result{Tree: cas.NewTreeID(blob("crops")), Counters: map[string]int64{"crops": 3}, Log: []cas.Line{{Warning: true, Text: "one is \"odd\""}}},
	}
	return []provenance.Stage{provenance.NewStage(step, stages.Description{
		Kind: "crop", Version: 2, Params: json.RawMessage(`{"size":32}`), Inputs: map[string]cas.TreeID{"photos": photos}, Environment: "sha256:abc",
	})}
}

func TestStages(t *testing.T) {
	want := example()
	text, err := provenance.EncodeStages(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := provenance.DecodeStages(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	again, err := provenance.EncodeStages(got)
	if err != nil || !bytes.Equal(again, text) {
		t.Errorf("read and written again it is\n%s\nwant\n%s\n%v", again, text, err)
	}
	if differences := got[0].Description().Differences(want[0].Description()); len(differences) > 0 {
		t.Errorf("the action differs: %v", differences)
	}
	if diff := cmp.Diff(want[0].Result(), got[0].Result(), cmp.AllowUnexported(cas.TreeID{}, cas.Digest{})); diff != "" {
		t.Errorf("result (-want +got)\n%s", diff)
	}
}

func TestStagesThatAreNone(t *testing.T) {
	text, err := provenance.EncodeStages(append(example(), example()...))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"no JSON":         "stages",
		"a stage twice":   string(text),
		"no name":         `{"stages": [{"action": "sha256:` + strings.Repeat("a", 64) + `/1"}]}`,
		"a wrong digest":  `{"stages": [{"stage": "a", "action": "sha256:abc/1"}]}`,
		"a digest's tail": `{"stages": [{"stage": "a", "action": "sha256:` + strings.Repeat("a", 64) + `/1 "}]}`,
	} {
		if got, err := provenance.DecodeStages(strings.NewReader(text)); err == nil {
			t.Errorf("%s: got %v, want an error", name, got)
		}
	}
}

func trees(t testing.TB, store cas.Store) []cas.Tree {
	t.Helper()
	var all []cas.Tree
	for _, files := range [][]string{{"a.csv", "crops/x/1.jpg", "crops/x/2.jpg"}, {}, {"model,\"1\".json"}} {
		b := cas.NewBuilder(store)
		for _, name := range files {
			if err := b.PutBytes(t.Context(), name, []byte(name)); err != nil {
				t.Fatal(err)
			}
		}
		tree, err := b.Commit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, tree)
	}
	return all
}

func outputs(t testing.TB, all []cas.Tree) string {
	t.Helper()
	var text bytes.Buffer
	if err := provenance.WriteOutputs(t.Context(), &text, slices.Values(all)); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func TestOutputs(t *testing.T) {
	all := trees(t, cas.NewMemory())
	store := cas.NewMemory()
	listed, err := provenance.RestoreOutputs(t.Context(), strings.NewReader(outputs(t, all)), store)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range all {
		if !listed[want.ID()] {
			t.Errorf("%s is not restored", want.ID())
			continue
		}
		changes, err := cas.Diff(t.Context(), want, cas.NewTree(store, want.ID()), 1)
		if err != nil || len(changes.First) > 0 {
			t.Errorf("restored: %s, %v", changes, err)
		}
	}
}

// TestOutputsThatWereChanged: a list that does not make the tree that it says is refused.
func TestOutputsThatWereChanged(t *testing.T) {
	text := outputs(t, trees(t, cas.NewMemory()))
	for name, changed := range map[string]string{
		"another name":    strings.Replace(text, "1.jpg", "3.jpg", 1),
		"a file less":     strings.Replace(text, strings.SplitAfter(text, "\n")[1], "", 1),
		"a file twice":    text + strings.SplitAfter(text, "\n")[4],
		"another content": strings.Replace(text, blob("a.csv").Hex(), blob("b.csv").Hex(), 1),
		"a way out":       strings.Replace(text, "a.csv", "../a.csv", 1),
		"no size":         strings.Replace(text, ",5\n", ",five\n", 1),
		"other columns":   "Tree,Path\n",
	} {
		if changed == text {
			t.Fatalf("%s: nothing is changed", name)
		}
		if _, err := provenance.RestoreOutputs(t.Context(), strings.NewReader(changed), cas.NewMemory()); err == nil {
			t.Errorf("%s: want an error", name)
		}
	}
}

func FuzzDecodeStages(f *testing.F) {
	text, err := provenance.EncodeStages(example())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := provenance.DecodeStages(bytes.NewReader(text))
		if err != nil {
			return
		}
		for _, s := range all {
			s.Description().Differences(example()[0].Description())
		}
		written, err := provenance.EncodeStages(all)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := provenance.DecodeStages(bytes.NewReader(written)); err != nil {
			t.Errorf("what was written cannot be read: %v\n%s", err, written)
		}
	})
}

func FuzzRestoreOutputs(f *testing.F) {
	f.Add(outputs(f, trees(f, cas.NewMemory())))
	f.Fuzz(func(t *testing.T, text string) {
		store := cas.NewMemory()
		listed, err := provenance.RestoreOutputs(t.Context(), strings.NewReader(text), store)
		if err != nil {
			return
		}
		for id := range listed {
			for _, err := range cas.NewTree(store, id).Files(t.Context()) {
				if err != nil {
					t.Errorf("the tree %s cannot be read: %v", id, err)
				}
			}
		}
	})
}
