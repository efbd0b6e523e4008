package train_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io/fs"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/internal/neural"
	"github.com/sandwich-build/sandwich/internal/random"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/stagetest"
	"github.com/sandwich-build/sandwich/stages/train"
)

const side = 12

// drawing is a noisy picture with a bright bar, lying for label 0 and standing for 1.
func drawing(label, number int) []byte {
	draws := random.New(random.Key{Stage: "drawing", Item: fmt.Sprint(label), Epoch: number})
	img := image.NewRGBA(image.Rect(0, 0, side, side))
	at := 2 + draws.Intn(side-5)
	for y := range side {
		for x := range side {
			across := y
			if label == 1 {
				across = x
			}
			v := uint8(draws.Intn(120))
			if across >= at && across < at+3 {
				v += 135
			}
			img.Set(x, y, color.RGBA{R: v, G: v / 2, B: uint8(draws.Intn(100)), A: 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 90}); err != nil {
		panic(err) // a picture in memory
	}
	return b.Bytes()
}

// data makes the trees of crop and split: per label, that many crops of each set.
func data(t *testing.T, store cas.Store, training, validation, test int) map[string]cas.Tree {
	t.Helper()
	files := make(map[string]string)
	split := "Crop,Label,ImageID,Set\n"
	for label, name := range []string{"Flat", "Upright"} {
		for i := range training + validation + test {
			set := "train"
			switch {
			case i >= training+validation:
				set = "test"
			case i >= training:
				set = "validation"
			}
			path := fmt.Sprintf("crops/%s/%03d.jpg", name, i)
			files[path] = string(drawing(label, i))
			split += fmt.Sprintf("%s,%s,%s%d,%s\n", path, name, name, i, set)
		}
	}
	return map[string]cas.Tree{
		train.InputCrops: stagetest.Tree(t, store, files),
		train.InputSplit: stagetest.Tree(t, store, map[string]string{"split.csv": split}),
	}
}

func params() train.Params {
	return train.Params{
		Model: manifest.Model{
			Layers: []manifest.Layer{
				{Conv: &manifest.Conv{Filters: 4, Kernel: 3, Stride: 1, Padding: "valid", Dilation: 1, Groups: 1, Bias: true, Activation: "relu"}},
				{MaxPool: &manifest.Pool{Size: 2, Padding: "valid"}},
				{Flatten: &manifest.Flatten{}},
				{Dense: &manifest.Dense{Units: 8, Activation: "relu"}},
				{Dropout: &manifest.Dropout{Rate: 0.2}},
			},
			Augment:       manifest.Augment{Rotation: 5, Shift: 0.05, Zoom: 0.05, Flip: "horizontal"},
			Optimizer:     manifest.Optimizer{Name: "rmsprop", LearningRate: 0.01, Rho: 0.9, Epsilon: 1e-7},
			Batch:         6,
			Epochs:        8,
			EarlyStopping: &manifest.EarlyStopping{Monitor: "val_loss", Patience: 3, RestoreBest: true},
		},
		Shape:  "stretch",
		Side:   side,
		Labels: []string{"Flat", "Upright"},
		Seed:   42,
	}
}

func kind(t *testing.T, p train.Params) *train.Kind {
	t.Helper()
	k, err := train.New(p, "")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestTrain(t *testing.T) {
	store := cas.NewMemory()
	inputs := data(t, store, 25, 6, 0)
	tree, result := stagetest.Run(t, store, kind(t, params()), inputs)

	m, err := model.Decode([]byte(stagetest.Read(t, tree, model.DescriptionFile)), []byte(stagetest.Read(t, tree, model.WeightsFile)))
	if err != nil {
		t.Fatal(err)
	}
	if m.Counts.Train != 50 || m.Counts.Validation != 12 || m.Counts.Epochs < 1 || m.Counts.BestEpoch < 1 {
		t.Errorf("counts = %+v", m.Counts)
	}
	history := strings.Split(strings.TrimSpace(stagetest.Read(t, tree, train.HistoryFile)), "\n")
	if history[0] != "epoch,loss,accuracy,val_loss,val_accuracy" || len(history) != 1+m.Counts.Epochs {
		t.Errorf("history:\n%s", strings.Join(history, "\n"))
	}
	if got := result.Counters["epochs"]; got != int64(m.Counts.Epochs) {
		t.Errorf("counter epochs = %d, want %d", got, m.Counts.Epochs)
	}

	predictor, err := neural.NewPredictor(m, neural.Options{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer predictor.Close()
	// It has learnt: new pictures of the same sort are told apart.
	right := 0
	for i := range 40 {
		img, err := jpeg.Decode(bytes.NewReader(drawing(i%2, 1000+i)))
		if err != nil {
			t.Fatal(err)
		}
		p, err := predictor.Predict(t.Context(), []image.Image{img})
		if err != nil {
			t.Fatal(err)
		}
		if model.Largest(p[0]) == i%2 {
			right++
		}
	}
	if right < 36 {
		t.Errorf("%d of 40 new pictures are right, want at least 36\n%s", right, strings.Join(history, "\n"))
	}
}

// These bytes may change only together with Kind.Version. They are the same on arm64: see
// TestTrainIsStableOnARM64.
func TestTrainIsStable(t *testing.T) {
	store := cas.NewMemory()
	inputs := data(t, store, 7, 2, 0)
	for batch, want := range map[int]string{
		6: "sha256:2e07fc42a57772ce1aec9a76595d6a71947d35a605d1a945c70de8e18916661b",
		1: "sha256:f02e2f59a5ca1f14360fd39f4350a289805de12b2f633645de14438be0bd9a2b",
	} {
		p := params()
		p.Model.Epochs, p.Model.Batch = 2, batch
		for _, setting := range []struct {
			workers, cores int
			kernels        string
		}{{1, 1, ""}, {2, 2, ""}, {3, 2, "portable"}, {8, 8, ""}, {1, 2, "portable"}} {
			t.Run(fmt.Sprintf("batch %d, %+v", batch, setting), func(t *testing.T) {
				t.Setenv("SANDWICH_KERNELS", setting.kernels)
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(setting.cores))
				result, err := stages.RunKind(t.Context(), store, kind(t, p), inputs, setting.workers, stages.Discard)
				if err != nil {
					t.Fatal(err)
				}
				tree := cas.NewTree(store, result.Tree)
				if got := cas.Sum([]byte(stagetest.Read(t, tree, model.WeightsFile) + stagetest.Read(t, tree, train.HistoryFile))).String(); got != want {
					t.Errorf("weights and history are %s, want %s\n%s", got, want, stagetest.Read(t, tree, train.HistoryFile))
				}
			})
		}
	}
}

func TestRestoreBestRestores(t *testing.T) {
	store := cas.NewMemory()
	inputs := data(t, store, 10, 4, 0)
	// A rate at which later epochs are worse than an earlier one.
	p := params()
	p.Model.Optimizer.LearningRate = 0.05
	p.Model.Epochs = 12
	p.Model.EarlyStopping.Patience = 2
	tree, _ := stagetest.Run(t, store, kind(t, p), inputs)
	m, err := model.Decode([]byte(stagetest.Read(t, tree, model.DescriptionFile)), []byte(stagetest.Read(t, tree, model.WeightsFile)))
	if err != nil {
		t.Fatal(err)
	}
	if m.Counts.BestEpoch == m.Counts.Epochs {
		t.Fatalf("the last epoch was the best, so this test shows nothing:\n%s", stagetest.Read(t, tree, train.HistoryFile))
	}
	v, err := train.ReadValidation(t.Context(), tree)
	row := strings.Split(strings.Split(stagetest.Read(t, tree, train.HistoryFile), "\n")[m.Counts.BestEpoch], ",")
	if err != nil || v == nil || v.Epoch != m.Counts.BestEpoch || fmt.Sprint(v.Loss) != row[3] || fmt.Sprint(v.Accuracy) != row[4] {
		t.Errorf("validation is %+v, %v; want that of %v", v, err, row)
	}
	// Training for just as many epochs as the best one ends with the same weights.
	p.Model.Epochs = m.Counts.BestEpoch
	p.Model.EarlyStopping = nil
	short, _ := stagetest.Run(t, store, kind(t, p), inputs)
	if stagetest.Read(t, tree, model.WeightsFile) != stagetest.Read(t, short, model.WeightsFile) {
		t.Errorf("the weights are not those of epoch %d", m.Counts.BestEpoch)
	}
}

func TestTrainWithoutValidation(t *testing.T) {
	store := cas.NewMemory()
	p := params()
	p.Model.Epochs = 4
	p.Model.EarlyStopping.Patience = 1
	tree, result := stagetest.Run(t, store, kind(t, p), data(t, store, 3, 0, 1))
	var warnings []string
	for _, line := range result.Log {
		if line.Warning {
			warnings = append(warnings, line.Text)
		}
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "early stopping is off") {
		t.Errorf("warnings = %q", warnings)
	}
	history := strings.Split(strings.TrimSpace(stagetest.Read(t, tree, train.HistoryFile)), "\n")
	if len(history) != 5 || !strings.HasSuffix(history[4], ",,") {
		t.Errorf("want four epochs without validation:\n%s", strings.Join(history, "\n"))
	}
	if v, err := train.ReadValidation(t.Context(), tree); v != nil || err != nil {
		t.Errorf("validation is %+v, %v", v, err)
	}
}

func TestValidationBetter(t *testing.T) {
	worst := &train.Validation{Accuracy: 0.5, Loss: 0.9}
	sure := &train.Validation{Accuracy: 0.5, Loss: 0.4}
	right := &train.Validation{Accuracy: 0.6, Loss: 2}
	order := []*train.Validation{nil, worst, sure, right}
	for i, v := range order {
		for k, than := range order {
			if got := v.Better(than); got != (i > k) {
				t.Errorf("%+v better than %+v: %v", v, than, got)
			}
		}
	}
}

func TestTrainRefuses(t *testing.T) {
	store := cas.NewMemory()
	inputs := data(t, store, 4, 1, 0)
	run := func(p train.Params, inputs map[string]cas.Tree) error {
		_, err := stages.RunKind(t.Context(), store, kind(t, p), inputs, 2, stages.Discard)
		return err
	}

	wild := params()
	wild.Model.Optimizer.LearningRate = 1e30
	var diverged *train.DivergedError
	if err := run(wild, inputs); !errors.As(err, &diverged) || diverged.Epoch != 1 || diverged.Step < 2 || diverged.Where == "" {
		t.Errorf("a learning rate of 1e30: error %v, want a DivergedError in epoch 1 after step 1", err)
	}

	three := params()
	three.Labels = []string{"Flat", "Oblique", "Upright"}
	if err := run(three, inputs); err == nil || !strings.Contains(err.Error(), `label "Oblique": no crop to train on`) {
		t.Errorf("a label without crops: error %v", err)
	}
	other := params()
	other.Labels = []string{"Flat", "Standing"}
	if err := run(other, inputs); err == nil || !strings.Contains(err.Error(), `the label "Upright" is none of`) {
		t.Errorf("an unknown label: error %v", err)
	}
	missing := map[string]cas.Tree{
		train.InputCrops: stagetest.Tree(t, store, map[string]string{"x": ""}),
		train.InputSplit: inputs[train.InputSplit],
	}
	if err := run(params(), missing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing crops: error %v, want fs.ErrNotExist", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for want, spoil := range map[string]func(*train.Params){
		"layer 1: nothing is left": func(p *train.Params) { p.Side = 2 },
		"want a batch and epochs":  func(p *train.Params) { p.Model.Batch = 0 },
		`unknown optimizer "adan"`: func(p *train.Params) { p.Model.Optimizer.Name = "adan" },
		`unknown shape "round"`:    func(p *train.Params) { p.Shape = "round" },
	} {
		p := params()
		spoil(&p)
		if _, err := train.New(p, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestLayersNameIsNoParameter(t *testing.T) {
	named := params()
	named.Model.LayersName = "article"
	without, err := json.Marshal(kind(t, params()).Params())
	if err != nil {
		t.Fatal(err)
	}
	with, err := json.Marshal(kind(t, named).Params())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(without), string(with)); diff != "" {
		t.Errorf("a name for the same layers changes the parameters (-without +with):\n%s", diff)
	}
}

// observer counts progress events and calls a function at each.
type observer struct {
	events atomic.Int64
	each   func(n int64)
}

func (o *observer) Observe(e stages.Event) {
	if _, ok := e.(stages.Progress); ok {
		o.each(o.events.Add(1))
	}
}

func TestTrainStopsWhenCancelled(t *testing.T) {
	store := cas.NewMemory()
	inputs := data(t, store, 12, 2, 0)
	p := params()
	p.Model.Epochs = 1 << 20
	p.Model.EarlyStopping = nil
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("interrupted")
	var cancelled time.Time
	o := &observer{each: func(n int64) {
		if n == 12 { // in the fourth epoch
			cancelled = time.Now()
			cancel(cause)
		}
	}}
	_, err := stages.RunKind(ctx, store, kind(t, p), inputs, 2, o)
	if !errors.Is(err, cause) {
		t.Errorf("error %v, want %v", err, cause)
	}
	if took := time.Since(cancelled); took > time.Second {
		t.Errorf("took %v to stop", took)
	}
	if n := o.events.Load(); n != 12 {
		t.Errorf("%d progress events, want none after the 12th", n)
	}
}

func TestSuite(t *testing.T) {
	golden := stagetest.Golden{Version: 5, Tree: "sha256:ea3dfbcea7535c50274501b37d3297c3c0fd1f2d9260e7c62b2ce92dad625893"}
	store := cas.NewMemory()
	p := params()
	p.Model.Epochs = 2
	stagetest.Suite(t, store, kind(t, p), data(t, store, 9, 3, 0), golden)
}

// The article's procedure trains on every crop and holds none back.
func TestRepeatArticle(t *testing.T) {
	store := cas.NewMemory()
	p := params()
	p.Model.RepeatArticle = true
	p.Model.Epochs = 3
	p.Model.EarlyStopping = &manifest.EarlyStopping{Monitor: "val_loss", Patience: 4}
	tree, result := stagetest.Run(t, store, kind(t, p), data(t, store, 9, 3, 4))

	m, err := model.Decode([]byte(stagetest.Read(t, tree, model.DescriptionFile)), []byte(stagetest.Read(t, tree, model.WeightsFile)))
	if err != nil {
		t.Fatal(err)
	}
	if want := (model.Counts{Train: 32, Epochs: 3, BestEpoch: 3}); m.Counts != want {
		t.Errorf("counts %+v, want %+v", m.Counts, want)
	}
	if want := (model.Preparation{Shape: model.Stretch, Resize: model.Bilinear}); m.Input != want {
		t.Errorf("the model prepares pictures by %v, want %v", m.Input, want)
	}
	history := strings.Split(strings.TrimSpace(stagetest.Read(t, tree, train.HistoryFile)), "\n")
	if last := strings.Split(history[len(history)-1], ","); len(history) != 4 || last[3] == "" {
		t.Errorf("history:\n%s", strings.Join(history, "\n"))
	}
	var log strings.Builder
	for _, line := range result.Log {
		log.WriteString(line.Text + "\n")
	}
	if !strings.Contains(log.String(), "32 training pictures, 0 validation pictures\nrepeating the article: val_loss and val_accuracy are of training pictures") {
		t.Errorf("log:\n%s", log.String())
	}
}
