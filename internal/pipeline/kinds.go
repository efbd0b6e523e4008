package pipeline

import (
	"github.com/sandwich-build/sandwich/internal/neural"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/crop"
	"github.com/sandwich-build/sandwich/stages/download"
	"github.com/sandwich-build/sandwich/stages/evaluate"
	"github.com/sandwich-build/sandwich/stages/metadata"
	"github.com/sandwich-build/sandwich/stages/pack"
	"github.com/sandwich-build/sandwich/stages/quality"
	"github.com/sandwich-build/sandwich/stages/report"
	selection "github.com/sandwich-build/sandwich/stages/select"
	"github.com/sandwich-build/sandwich/stages/split"
	"github.com/sandwich-build/sandwich/stages/train"
	"github.com/sandwich-build/sandwich/stages/worker"
)

// Catalogue has the kinds whose work a process within an image can do: all of this program's but
// those that bring the environment, in which the others run. Networks are computed on the default
// backend: others need files of this machine.
func Catalogue() worker.Catalogue {
	return worker.Catalogue{
		Kinds: map[string]func([]byte) (stages.Kind, error){
			Metadata: kind(metadata.Parse),
			Select:   kind(selection.Parse),
			Download: kind(download.Parse),
			Crop:     kind(crop.Parse),
			Quality:  kind(quality.Parse),
			Split:    kind(split.Parse),
			Train:    kind(func(params []byte) (*train.Kind, error) { return train.Parse(params, neural.DefaultBackend) }),
			Evaluate: kind(func(params []byte) (*evaluate.Kind, error) { return evaluate.Parse(params, neural.DefaultBackend) }),
			Report:   kind(report.Parse),
			Pack:     kind(pack.Parse),
		},
		// What package cli tells people about in a special way.
		Errors: []error{new(selection.NoBoxesError), new(crop.LostLabelsError)},
	}
}

// kind makes a maker of kinds of one of a certain kind.
func kind[K stages.Kind](parse func([]byte) (K, error)) func([]byte) (stages.Kind, error) {
	return func(params []byte) (stages.Kind, error) { return parse(params) }
}
