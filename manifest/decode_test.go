package manifest

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestQuick(t *testing.T) {
	m, err := Decode("manifest.yaml", Template("quilt/open_images"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := Render(m)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(string(out))
	again, err := Decode("x", out)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, again); diff != "" {
		t.Error(diff)
	}
	_, err = Decode("manifest.yaml", []byte(`version: 1
nmae: a/b
dataset:
  source: open-images/v5
  labels: [Sandwich, sandwich, 12, {name: Foo, except: [Foo], descendant: yes}]
  limit: 0
crop: {size: none}
split: {train: 0.9}
model:
  epochs: ten
  epochs: 5
  layers:
  - conv: {filters: 8}
  - max_pol: 2
  - max_pool
  early_stopping: {monitor: vall_loss, restore_best: yes}
<<: {a: b}
environment: {image: foo}
seed: 0x10
`))
	fmt.Println(err)
}
