package cli

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/internal/neural"
	"github.com/sandwich-build/sandwich/internal/photo"
	"github.com/sandwich-build/sandwich/internal/ui"
)

// modelFolder is where a package has its model.
const modelFolder = "model"

func (a *app) predict() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "predict IMAGE...",
		Short: "Ask a model what is in a picture",
		Long: `Predict answers, for each picture, with a label and how probable it is. All it needs
is the package: a folder where one was installed (or its model folder), or the name
of one in a registry. A picture should show one thing, as the crops do that the
model was trained on.`,
		Example: `  sandwich predict lunch.jpg --model burgers
  sandwich predict *.jpg --model quilt/open_images --registry ./registry --json`,
		Args: between(1, unlimited),
	}
	from := cmd.Flags().String("model", "", "folder of a package or model, or NAME[@HASH] in the registry")
	flags := registryFlag(cmd)
	cmd.RunE = a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
		m, err := a.model(ctx, *from, *flags)
		if err != nil {
			return nil, err
		}
		predictor, err := neural.NewPredictor(m, neural.Options{Workers: runtime.GOMAXPROCS(0)})
		if err != nil {
			return nil, err
		}
		defer predictor.Close()
		return predictAll(ctx, predictor, m.Network.Labels(), args)
	})
	return cmd
}

// model loads the model that --model names: a folder if there is one, else a package.
func (a *app) model(ctx context.Context, from string, flags registryFlags) (*model.Model, error) {
	if from == "" {
		return nil, usagef("--model DIR is a folder where a package was installed", "predict: no model is named")
	}
	info, err := os.Stat(from)
	if err == nil && info.IsDir() {
		return modelIn(ctx, from)
	}
	r, pkg, err := a.load(ctx, flags, from)
	if err != nil {
		return nil, err
	}
	desc, err := r.ReadFile(ctx, pkg, path.Join(modelFolder, model.DescriptionFile))
	if err != nil {
		return nil, &registryError{err}
	}
	weights, err := r.ReadFile(ctx, pkg, path.Join(modelFolder, model.WeightsFile))
	if err != nil {
		return nil, &registryError{err}
	}
	return model.Decode(desc, weights)
}

// modelIn loads a model from a package's folder, or from a model's own.
func modelIn(ctx context.Context, dir string) (*model.Model, error) {
	inside := filepath.Join(dir, modelFolder)
	if _, err := os.Stat(filepath.Join(inside, model.DescriptionFile)); err == nil {
		dir = inside
	}
	return model.Load(ctx, os.DirFS(dir))
}

// unreadableError says how many pictures had no answer. Which ones, and why, is in the
// answer.
type unreadableError struct{ pictures int }

func (e *unreadableError) Error() string {
	return fmt.Sprintf("predict: %s cannot be read", ui.Plural(e.pictures, "picture"))
}

// predictAll asks about one picture after the other: a large photo is large in memory.
func predictAll(ctx context.Context, p *neural.Predictor, labels, names []string) (ui.Answer, error) {
	answer := predictAnswer{Labels: labels, Predictions: []prediction{}}
	unreadable := 0
	for _, name := range names {
		one, err := predictOne(ctx, p, labels, name)
		if ctx.Err() != nil {
			return nil, err
		}
		if err != nil {
			unreadable++
			one = prediction{Image: name, Error: err.Error()}
		}
		answer.Predictions = append(answer.Predictions, one)
	}
	if unreadable > 0 {
		return answer, &unreadableError{unreadable}
	}
	return answer, nil
}

func predictOne(ctx context.Context, p *neural.Predictor, labels []string, name string) (prediction, error) {
	picture, err := readPicture(ctx, name)
	if err != nil {
		return prediction{}, err
	}
	probabilities, err := p.Predict(ctx, []image.Image{picture})
	if err != nil {
		return prediction{}, err
	}
	best := model.Largest(probabilities[0])
	return prediction{Image: name, Label: labels[best], Probability: probabilities[0][best], Probabilities: probabilities[0]}, nil
}

// readPicture decodes a picture that may be anything.
func readPicture(ctx context.Context, name string) (_ image.Image, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	limits := photo.DefaultLimits()
	data, err := io.ReadAll(io.LimitReader(f, limits.Bytes+1))
	if err != nil {
		return nil, err
	}
	return photo.Decode(ctx, data, limits)
}

type predictAnswer struct {
	Labels      []string     `json:"labels"`
	Predictions []prediction `json:"predictions"`
}

type prediction struct {
	Image         string    `json:"image"`
	Label         string    `json:"label,omitempty"`
	Probability   float32   `json:"probability,omitempty"`
	Probabilities []float32 `json:"probabilities,omitempty"` // in the order of labels
	Error         string    `json:"error,omitempty"`
}

func (p predictAnswer) Text(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, one := range p.Predictions {
		if one.Error != "" {
			fmt.Fprintf(table, "%s\t-\t%s\n", ui.Printable(one.Image), ui.Printable(one.Error))
			continue
		}
		fmt.Fprintf(table, "%s\t%s\t%.4f\n", ui.Printable(one.Image), ui.Printable(one.Label), one.Probability)
	}
	_ = table.Flush()
}
