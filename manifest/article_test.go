package manifest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRepeatArticle(t *testing.T) {
	m, err := Decode("manifest.yaml", []byte(minimal+"split: {train: 0.9, validation: 0, test: 0.1}\nmodel: {repeat_article: true, batch: 16}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(articleModel(), m.Model); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	text, err := Render(m)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode("rendered.yaml", text)
	if diff := cmp.Diff(m, again); err != nil || diff != "" {
		t.Errorf("rendered, it is another: %v\n%s", err, diff)
	}
}

func TestRepeatArticleTakesNoOtherSettings(t *testing.T) {
	_, err := Decode("manifest.yaml", []byte(minimal+`model:
  layers: slider
  epochs: 10
  augment: {rotation: 40}
  repeat_article: true
`))
	want := strings.Join([]string{
		"manifest.yaml:7:11: model.layers: with repeat_article it is article (remove one of them)",
		"manifest.yaml:8:11: model.epochs: with repeat_article it is 50 (remove one of them)",
		"manifest.yaml:9:3: model.augment: with repeat_article it is {rotation: 40, shift: 0.2, shear: 0.2, zoom: 0.2, flip: horizontal, crop: 0, brightness: 0, contrast: 0, saturation: 0, hue: 0, cutout: 0, mixup: 0} (remove one of them)",
	}, "\n")
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// As the reference says: both procedures, side by side.
func TestRepeatArticleInAMatrix(t *testing.T) {
	variants, err := Variants("manifest.yaml", []byte(minimal+"matrix: {model: [{repeat_article: true}, {epochs: 2}]}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(variants) != 2 || !variants[0].Manifest.Model.RepeatArticle || variants[1].Manifest.Model.RepeatArticle || variants[1].Manifest.Model.Epochs != 2 {
		t.Errorf("variants %+v", variants)
	}
}
