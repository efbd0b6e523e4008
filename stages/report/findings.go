package report

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"image/color"
	"io/fs"
	"slices"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/internal/sheet"
	"github.com/sandwich-build/sandwich/internal/table"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// findings are what the stages before found out.
type findings struct {
	Labels         []string
	Funnels        []funnel
	Quarantined    []cropfile.Quarantined
	Audit          cropfile.Audit
	Duplicates     []cropfile.Duplicate
	Contradictions []cropfile.Contradiction
	Metrics        metrics
	Curve          []byte // an SVG; nil when the model has no history

	photos   map[openimages.ImageID]pinfile.Photo
	rotation map[openimages.ImageID]openimages.Rotation
	cut      map[string]cropfile.Crop // all that were cut, by path
	digests  map[string]cas.Digest    // of their pictures
	kept     []cropfile.Crop          // in the order of their paths
	sets     map[string]cropfile.Set  // of the kept crops, by path
	mistakes []mistake                // the surest first
}

// funnel is what the rules of a stage dropped.
type funnel struct {
	Stage string
	openimages.Funnel
}

// metrics are what of metrics.json the page shows.
type metrics struct {
	Pictures int `json:"pictures"`
	Accuracy struct {
		Correct int     `json:"correct"`
		Value   float64 `json:"value"`
		Low     float64 `json:"low"`
		High    float64 `json:"high"`
	} `json:"accuracy"`
	Classes []struct {
		Label     string  `json:"label"`
		Precision float64 `json:"precision"`
		Recall    float64 `json:"recall"`
		F1        float64 `json:"f1"`
		Support   int     `json:"support"`
	} `json:"classes"`
	Confusion [][]int `json:"confusion"`
}

// mistake is a test crop that was taken for something else.
type mistake struct {
	path, predicted string
	sure            float64
}

func readFindings(ctx context.Context, t *stages.Task) (*findings, error) {
	f := &findings{
		photos:   map[openimages.ImageID]pinfile.Photo{},
		rotation: map[openimages.ImageID]openimages.Rotation{},
		cut:      map[string]cropfile.Crop{},
		digests:  map[string]cas.Digest{},
		sets:     map[string]cropfile.Set{},
	}
	for _, read := range []func(context.Context, *stages.Task) error{f.readSelection, f.readCrops, f.readQuality, f.readSplit, f.readEvaluation} {
		if err := read(ctx, t); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *findings) readSelection(ctx context.Context, t *stages.Task) error {
	in := t.Input(Selection)
	file, err := in.Open(ctx, openimages.LabelsFile)
	if err != nil {
		return err
	}
	f.Labels, err = openimages.ReadLabels(file, openimages.LabelsFile)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	for i, err := range table.Rows(ctx, in, openimages.SelectedImagesFile, openimages.SelectedImages) {
		if err != nil {
			return err
		}
		f.rotation[i.ImageID] = i.Rotation
	}
	for p, err := range table.Rows(ctx, t.Input(Photos), pinfile.PhotosFile, pinfile.Photos) {
		if err != nil {
			return err
		}
		f.photos[p.ImageID] = p
	}
	return f.readFunnel(ctx, "select", in)
}

func (f *findings) readFunnel(ctx context.Context, stage string, in cas.Tree) error {
	file, err := in.Open(ctx, openimages.FunnelFile)
	if err != nil {
		return err
	}
	all, err := openimages.ReadFunnel(file, openimages.FunnelFile)
	f.Funnels = append(f.Funnels, funnel{stage, all})
	return errors.Join(err, file.Close())
}

func (f *findings) readCrops(ctx context.Context, t *stages.Task) (err error) {
	in := t.Input(Crops)
	for c, err := range table.Rows(ctx, in, cropfile.CropsFile, cropfile.Crops) {
		if err != nil {
			return err
		}
		f.cut[c.Path] = c
	}
	if f.Quarantined, err = table.All(ctx, in, cropfile.QuarantineFile, cropfile.Quarantine); err != nil {
		return err
	}
	return f.readFunnel(ctx, "crop", in)
}

func (f *findings) readQuality(ctx context.Context, t *stages.Task) (err error) {
	in := t.Input(Quality)
	if f.kept, err = table.All(ctx, in, cropfile.CropsFile, cropfile.Crops); err != nil {
		return err
	}
	if f.Duplicates, err = table.All(ctx, in, cropfile.DuplicatesFile, cropfile.Duplicates); err != nil {
		return err
	}
	if f.Contradictions, err = table.All(ctx, in, cropfile.ContradictionsFile, cropfile.Contradictions); err != nil {
		return err
	}
	return f.readFunnel(ctx, "quality", in)
}

func (f *findings) readSplit(ctx context.Context, t *stages.Task) error {
	for a, err := range table.Rows(ctx, t.Input(Split), cropfile.SplitFile, cropfile.Split) {
		if err != nil {
			return err
		}
		f.sets[a.Path] = a.Set
	}
	file, err := t.Input(Split).Open(ctx, cropfile.AuditFile)
	if err != nil {
		return err
	}
	f.Audit, err = cropfile.ReadAudit(file, cropfile.AuditFile)
	return errors.Join(err, file.Close())
}

// The files of the evaluation that are read. Package evaluate writes them.
const (
	metricsFile     = "metrics.json"
	predictionsFile = "predictions.csv"
	curveFile       = "learning-curve.svg"
)

func (f *findings) readEvaluation(ctx context.Context, t *stages.Task) error {
	in := t.Input(Evaluation)
	text, err := in.ReadFile(ctx, metricsFile)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &f.Metrics); err != nil {
		return fmt.Errorf("read %s: %w", metricsFile, err)
	}
	if f.Curve, err = in.ReadFile(ctx, curveFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := in.Open(ctx, predictionsFile)
	if err != nil {
		return err
	}
	rows, err := csv.NewReader(file).ReadAll()
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("read %s: %w", predictionsFile, err)
	}
	f.mistakes, err = mistakesOf(rows)
	return err
}

// colour is that of a label; grey for one that is none of the build's.
func (f *findings) colour(label string) color.RGBA {
	i := slices.Index(f.Labels, label)
	if i < 0 {
		return color.RGBA{0x40, 0x40, 0x40, 0xff}
	}
	return sheet.Palette[i%len(sheet.Palette)]
}
