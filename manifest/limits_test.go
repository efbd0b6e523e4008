package manifest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseLimit(t *testing.T) {
	for text, want := range map[string]Limit{
		"crop.cpu=2":         {Stage: "crop", CPU: 2},
		"train.memory=4GiB":  {Stage: "train", Memory: 4 << 30},
		"pack.memory=512MiB": {Stage: "pack", Memory: 512 << 20},
	} {
		if got, err := ParseLimit(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"crop":             `limit "crop": want STAGE.cpu=CORES or STAGE.memory=SIZE`,
		"crop.cpu":         `limit "crop.cpu": want STAGE.cpu=CORES or STAGE.memory=SIZE`,
		"corp.cpu=1":       "limit \"corp.cpu=1\": corp: unknown key (did you mean `crop`?)",
		"crop.cpus=1":      "limit \"crop.cpus=1\": crop.cpus: unknown key (did you mean `cpu`?)",
		"crop.cpu=none":    `limit "crop.cpu=none": want STAGE.cpu=CORES or STAGE.memory=SIZE`,
		"crop.cpu=two":     `limit "crop.cpu=two": crop.cpu: want a positive integer, got "two"`,
		"crop.memory=1000": `limit "crop.memory=1000": crop.memory: want an amount of memory, such as 512MiB or 4GiB, got 1000 (give it a unit: MiB, GiB or TiB)`,
	} {
		if _, err := ParseLimit(text); err == nil || err.Error() != want {
			t.Errorf("%s: %v\nwant %s", text, err, want)
		}
	}
}

func FuzzParseLimit(f *testing.F) {
	f.Add("crop.cpu=2")
	f.Add("train.memory=9999TiB")
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseLimit(s)
		if err == nil && (l.CPU < 0 || l.Memory < 0) {
			t.Errorf("%q is %v", s, l)
		}
	})
}

func TestMergeLimits(t *testing.T) {
	got := MergeLimits([]Limit{{"crop", 2, 1}, {"train", 3, 0}}, []Limit{{"crop", 4, 0}, {"pack", 0, 5}})
	if diff := cmp.Diff([]Limit{{"crop", 4, 1}, {"train", 3, 0}, {"pack", 0, 5}}, got); diff != "" {
		t.Error(diff)
	}
}
