package history

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

func TestFind(t *testing.T) {
	records := []Record{{ID: "aa11"}, {ID: "ab22"}, {ID: "cc33"}}
	for name, want := range map[string]string{"@1": "aa11", "@3": "cc33", "ab": "ab22", "cc33": "cc33"} {
		if got, err := Find(records, name); err != nil || got.ID != want {
			t.Errorf("%s: got %q, %v", name, got.ID, err)
		}
	}
	for name, found := range map[string]int{"@0": 0, "@4": 0, "@x": 0, "a": 2, "": 0, "dd": 0} {
		_, err := Find(records, name)
		var none *NoBuildError
		if !errors.As(err, &none) || none.Name != name || none.Found != found {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

// TestHistorySkipsWhatItCannotRead has entries of another version among its own.
func TestHistorySkipsWhatItCannotRead(t *testing.T) {
	store, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	accuracy := 0.5
	record := Record{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Manifest: "/m.yaml", Package: "a/b@1", Accuracy: &accuracy,
		Stages: []Stage{
			{Stage: "crop", Action: Digest{cas.Sum([]byte("a"))}, Tree: Digest{cas.Sum([]byte("tree"))}, Why: []string{"because"}},
			{Stage: "split", Cached: true},
		},
	}
	text, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range []string{`{"time":1}`, string(text), "no JSON", `{"stages":[{"action":"x/1"}]}`} {
		if err := store.Append(t.Context(), "a/b", []byte(entry)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Read(t.Context(), store, "a/b")
	if err != nil || len(got) != 1 {
		t.Fatalf("got %d records, %v", len(got), err)
	}
	record.ID = cas.Sum(text).Hex()[:idDigits]
	if diff := cmp.Diff(record, got[0], cmp.Comparer(func(a, b Digest) bool { return a == b })); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if got[0].Ran() != 1 {
		t.Errorf("%d stages ran", got[0].Ran())
	}
}

// TestCompareSaysWhatIsLost compares builds of which the store has nothing any more.
func TestCompareSaysWhatIsLost(t *testing.T) {
	stage := func(name, content string) Stage {
		d := Digest{cas.Sum([]byte(content))}
		return Stage{Stage: name, Action: d, Tree: d}
	}
	old := Record{Stages: []Stage{stage("same", "1"), stage("differs", "1"), stage("gone", "1")}}
	now := Record{Stages: []Stage{stage("same", "1"), stage("differs", "2"), stage("new", "1")}}
	got, err := Compare(t.Context(), cas.NewMemory(), old, now)
	if err != nil {
		t.Fatal(err)
	}
	want := []StageChange{{Stage: "differs", Lost: true}, {Stage: "new", Only: "new"}, {Stage: "gone", Only: "old"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
