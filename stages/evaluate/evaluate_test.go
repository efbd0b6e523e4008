package evaluate_test

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/evaluate"
	"github.com/sandwich-build/sandwich/stages/stagetest"
)

// brightness is a model that was never trained: it takes bright pictures for "Bright".
func brightness(t *testing.T) map[string]string {
	t.Helper()
	n, err := model.New([]manifest.Layer{{Flatten: &manifest.Flatten{}}}, 4, []string{"Bright", "Dark"})
	if err != nil {
		t.Fatal(err)
	}
	weights := n.Initial(1)
	for i := range weights[0].Data {
		weights[0].Data[i] = -1
	}
	weights[1].Data[0] = float32(len(weights[0].Data)) / 2
	desc, tensors, err := (&model.Model{Network: n, Input: model.Preparation{Shape: model.Stretch, Resize: model.CatmullRom}, Weights: weights}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{model.DescriptionFile: string(desc), model.WeightsFile: string(tensors)}
}

func grey(t *testing.T, level uint8) string {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, 8, 8))
	for y := range 8 {
		for x := range 8 {
			img.Set(x, y, color.Gray{Y: level})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const splitHeader = "Crop,Label,ImageID,Set\n"

func TestEvaluate(t *testing.T) {
	store := cas.NewMemory()
	files := map[string]string{
		// Nobody may even look at these.
		"crops/Bright/train.jpg": "not a picture",
		"crops/Dark/val.jpg":     "not a picture",
	}
	rows := []string{
		"crops/Bright/train.jpg,Bright,t,train\n", "crops/Dark/val.jpg,Dark,v,validation\n", "crops/Dark/absent.jpg,Dark,a,train\n",
	}
	for i, c := range []struct {
		label string
		level uint8
	}{{"Bright", 255}, {"Bright", 200}, {"Bright", 20}, {"Dark", 0}, {"Dark", 60}} {
		path := fmt.Sprintf("crops/%s/%d.jpg", c.label, i)
		files[path] = grey(t, c.level)
		rows = append(rows, fmt.Sprintf("%s,%s,%d,test\n", path, c.label, i))
	}
	slices.Sort(rows)
	split := splitHeader + strings.Join(rows, "")
	inputs := map[string]cas.Tree{
		evaluate.InputCrops: stagetest.Tree(t, store, files),
		evaluate.InputSplit: stagetest.Tree(t, store, map[string]string{"split.csv": split}),
		evaluate.InputModel: stagetest.Tree(t, store, brightness(t)),
	}
	tree, result := stagetest.Run(t, store, evaluate.New(evaluate.Params{}, ""), inputs)

	const report = `              precision    recall  f1-score   support

      Bright       1.00      0.67      0.80         3
        Dark       0.67      1.00      0.80         2

    accuracy                           0.80         5
   macro avg       0.83      0.83      0.80         5
weighted avg       0.87      0.80      0.80         5

Confusion matrix (a row for each true label, a column for each predicted one)

        Bright  Dark
Bright       2     1
  Dark       0     2

Accuracy 0.8000 (4 of 5), 95 % confidence interval 0.3755 to 0.9638 (Wilson)
`
	if diff := cmp.Diff(report, stagetest.Read(t, tree, evaluate.ReportFile)); diff != "" {
		t.Errorf("report.txt (-want +got):\n%s", diff)
	}
	predictions := strings.Split(stagetest.Read(t, tree, evaluate.PredictionsFile), "\n")
	if predictions[0] != "Crop,Label,Predicted,P(Bright),P(Dark)" || len(predictions) != 7 ||
		!strings.HasPrefix(predictions[3], "crops/Bright/2.jpg,Bright,Dark,") {
		t.Errorf("predictions.csv:\n%s", strings.Join(predictions, "\n"))
	}
	if !strings.Contains(stagetest.Read(t, tree, evaluate.MetricsFile), `"value": 0.8,`) {
		t.Errorf("metrics.json:\n%s", stagetest.Read(t, tree, evaluate.MetricsFile))
	}
	if result.Counters["tested"] != 5 || result.Counters["correct"] != 4 {
		t.Errorf("counters = %v", result.Counters)
	}
}

// The article measured on all that it had, and a report that does so says it.
func TestRepeatArticle(t *testing.T) {
	store := cas.NewMemory()
	files := map[string]string{"a.jpg": grey(t, 255), "b.jpg": grey(t, 200), "c.jpg": grey(t, 250)}
	tree, result := stagetest.Run(t, store, evaluate.New(evaluate.Params{RepeatArticle: true}, ""), map[string]cas.Tree{
		evaluate.InputCrops: stagetest.Tree(t, store, files),
		evaluate.InputSplit: stagetest.Tree(t, store, map[string]string{"split.csv": splitHeader + "a.jpg,Bright,a,train\nb.jpg,Bright,b,validation\nc.jpg,Dark,c,test\n"}),
		evaluate.InputModel: stagetest.Tree(t, store, brightness(t)),
	})
	if report := stagetest.Read(t, tree, evaluate.ReportFile); !strings.HasPrefix(report, "THE ARTICLE'S PROCEDURE, REPEATED") || !strings.Contains(report, "(2 of 3)") {
		t.Errorf("report:\n%s", report)
	}
	if metrics := stagetest.Read(t, tree, evaluate.MetricsFile); !strings.Contains(metrics, `"repeat_article": true`) {
		t.Errorf("metrics:\n%s", metrics)
	}
	if want := "accuracy 0.667 on 3 pictures that it was trained on, as the article did (95 % interval 0.208 to 0.939)"; result.Log[len(result.Log)-1].Text != want {
		t.Errorf("log %v, want %q", result.Log, want)
	}
}

func TestEvaluateRefuses(t *testing.T) {
	store := cas.NewMemory()
	run := func(split string, files map[string]string) error {
		_, err := stages.RunKind(t.Context(), store, evaluate.New(evaluate.Params{}, ""), map[string]cas.Tree{
			evaluate.InputCrops: stagetest.Tree(t, store, files),
			evaluate.InputSplit: stagetest.Tree(t, store, map[string]string{"split.csv": splitHeader + split}),
			evaluate.InputModel: stagetest.Tree(t, store, brightness(t)),
		}, 2, stages.Discard)
		return err
	}
	if err := run("a.jpg,Bright,a,train\n", map[string]string{"a.jpg": grey(t, 255)}); !errors.Is(err, evaluate.ErrNoTest) {
		t.Errorf("without test crops: error %v, want %v", err, evaluate.ErrNoTest)
	}
	if err := run("a.jpg,Grey,a,test\n", map[string]string{"a.jpg": grey(t, 255)}); err == nil || !strings.Contains(err.Error(), `the label "Grey" is none of the model's`) {
		t.Errorf("with an unknown label: error %v", err)
	}
	if err := run("a.jpg,Dark,a,test\n", map[string]string{"a.jpg": "no picture"}); err == nil || !strings.Contains(err.Error(), "crop a.jpg: ") {
		t.Errorf("with a broken crop: error %v", err)
	}
}

func TestSuite(t *testing.T) {
	golden := stagetest.Golden{Version: 5, Tree: "sha256:ff41ada9ad714ea4ca658dbe7efa47fd29c50538608515a12d9a10104194f434"}
	store := cas.NewMemory()
	files, split := map[string]string{}, splitHeader
	for i := range 150 {
		path := fmt.Sprintf("crops/Bright/%03d.jpg", i)
		files[path] = grey(t, uint8(100+i))
		split += fmt.Sprintf("%s,Bright,%d,test\n", path, i)
	}
	inputs := map[string]cas.Tree{
		evaluate.InputCrops: stagetest.Tree(t, store, files),
		evaluate.InputSplit: stagetest.Tree(t, store, map[string]string{"split.csv": split}),
		evaluate.InputModel: stagetest.Tree(t, store, brightness(t)),
	}
	stagetest.Suite(t, store, evaluate.New(evaluate.Params{}, ""), inputs, golden)
}
