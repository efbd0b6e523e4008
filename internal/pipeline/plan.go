package pipeline

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pin"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/manifest/lock"
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
)

// The names of the stages, in the order in which they run.
const (
	Image    = manifest.ImageStage  // of builds whose environment has an image
	Wheels   = manifest.WheelsStage // of builds whose environment has wheels
	Conda    = manifest.CondaStage  // of builds whose environment has packages of conda's
	Metadata = "metadata"
	Select   = "select"
	Download = "download"
	Crop     = "crop"
	Quality  = "quality"
	Split    = "split"
	Train    = "train"
	Evaluate = "evaluate"
	Report   = "report"
	Pack     = "pack"
)

// plan returns the stages of the build. The session's sources are pinned; photos are
// the pinner of the photos that the selection will name.
func (s *session) plan(photos stages.Pinner) (*stages.Plan, error) {
	files, err := s.metadataFiles()
	if err != nil {
		return nil, err
	}
	m := s.Manifest
	var training stages.Kind
	if m.Command(Train) == nil { // else what model says need not make a network
		training, err = train.New(train.Params{
			Model: m.Model, Shape: m.Crop.Shape, Side: m.InputSide(), Labels: s.classes, Seed: m.Seed,
		}, s.environment.Backend)
		if err != nil {
			return nil, err
		}
	}
	list := []stages.Stage{
		{Name: Metadata, Kind: s.metadataKind(files)},
		{
			Name: Select,
			Kind: selection.Kind{
				Labels: m.Dataset.Labels, Subsets: m.Dataset.Subsets, Exclude: m.Dataset.Boxes.Exclude, Licence: m.Dataset.Licence, Limit: m.Dataset.Limit,
				Scratch: s.scratch,
			},
			Inputs: []stages.Input{{Name: "metadata", From: Metadata}},
		},
		{
			Name:   Download,
			Kind:   download.Kind{Fetcher: &elsewhere{Fetcher: s.resolver, session: s}, Parallel: s.client.Parallel()},
			Inputs: []stages.Input{{Name: "pins", From: Select, Pin: photos}},
		},
		{
			Name:   Crop,
			Kind:   crop.New(m.Crop, m.Dataset.Boxes),
			Inputs: []stages.Input{{Name: crop.Selection, From: Select}, {Name: crop.Photos, From: Download}},
		},
		{
			Name: Quality,
			Kind: quality.New(m.Quality, m.Crop.Shape),
			Inputs: []stages.Input{
				{Name: quality.Selection, From: Select}, {Name: quality.Photos, From: Download}, {Name: quality.Crops, From: Crop},
			},
		},
		{
			Name:   Split,
			Kind:   split.New(m.Split, m.Seed),
			Inputs: []stages.Input{{Name: split.Crops, From: Quality}},
		},
		{
			Name:   Train,
			Kind:   training,
			Inputs: []stages.Input{{Name: train.InputCrops, From: Crop}, {Name: train.InputSplit, From: Split}},
		},
		{
			Name: Evaluate,
			Kind: evaluate.New(evaluate.Params{RepeatArticle: m.Model.RepeatArticle}, s.environment.Backend),
			Inputs: []stages.Input{
				{Name: evaluate.InputCrops, From: Crop}, {Name: evaluate.InputSplit, From: Split}, {Name: evaluate.InputModel, From: Train},
			},
		},
		{
			Name: Report,
			Kind: report.New(),
			Inputs: []stages.Input{
				{Name: report.Selection, From: Select},
				{Name: report.Photos, From: Download},
				{Name: report.Crops, From: Crop},
				{Name: report.Quality, From: Quality},
				{Name: report.Split, From: Split},
				{Name: report.Evaluation, From: Evaluate},
			},
		},
	}
	if m.Command(Evaluate) != nil { // the report shows what evaluate measures, and another one may measure anything
		list = slices.DeleteFunc(list, func(s stages.Stage) bool { return s.Name == Report })
	}
	if s.lock.Image != nil {
		fetch, err := s.imageStage()
		if err != nil {
			return nil, err
		}
		list = append([]stages.Stage{fetch}, list...)
	}
	if s.lock.Python != nil {
		unpack, err := s.wheelsStage()
		if err != nil {
			return nil, err
		}
		list = append([]stages.Stage{unpack}, list...)
	}
	if s.lock.Platform != "" {
		unpack, err := s.condaStage()
		if err != nil {
			return nil, err
		}
		list = append([]stages.Stage{unpack}, list...)
	}
	list, err = s.withCommands(list)
	if err != nil {
		return nil, err
	}
	built := bundle{session: s}
	for _, stage := range list {
		built.stages = append(built.stages, stage.Name)
	}
	list = append(list, stages.Stage{
		Name: Pack,
		Kind: pack.New(pack.Params{Package: m.Name, Message: m.Message, Originals: m.Package.Originals, Stages: s.added()}),
		Inputs: slices.DeleteFunc(append([]stages.Input{
			{Name: pack.Metadata, From: Metadata},
			{Name: pack.Selection, From: Select},
			{Name: pack.Photos, From: Download},
			{Name: pack.Crops, From: Crop},
			{Name: pack.Quality, From: Quality},
			{Name: pack.Split, From: Split},
			{Name: pack.Model, From: Train},
			{Name: pack.Evaluation, From: Evaluate},
			{Name: pack.Report, From: Report},
			{Name: pack.Project, Pin: built},
		}, slices.Concat(s.ownInputs(), s.imageInputs(), s.wheelInputs(), s.condaInputs())...), func(in stages.Input) bool { return in.From == Report && m.Command(Evaluate) != nil }),
	})
	for i := range list {
		if m.Command(list[i].Name) == nil {
			list[i] = s.within(list[i])
			list[i].Kind = s.readingFrom(list[i])
		}
	}
	for _, l := range manifest.MergeLimits(m.Limits, s.options.Limits) {
		for i := range list {
			if list[i].Name == l.Stage {
				list[i].Limit = stages.Limit{CPU: l.CPU, Memory: l.Memory}
			}
		}
	}
	return stages.NewPlan(m.Name, list)
}

// metadataFiles are the pinned metadata files, with their places in the tree that the
// stage select reads.
func (s *session) metadataFiles() ([]metadata.File, error) {
	if s.converted != nil {
		return s.converted.files, nil
	}
	var files []metadata.File
	for _, f := range manifest.Files(s.Manifest.Dataset) {
		pinned, ok := s.lock.Source(f.URL)
		if !ok {
			return nil, fmt.Errorf("lock: no pin of %s", f.URL)
		}
		d, err := blobDigest(pinned)
		if err != nil {
			return nil, err
		}
		files = append(files, metadata.File{Path: metadataPath(f), URL: f.URL, Digest: d})
	}
	return files, nil
}

func metadataPath(f manifest.SourceFile) string {
	switch f.Role {
	case manifest.Classes:
		return openimages.ClassesFile
	case manifest.Hierarchy:
		return openimages.HierarchyFile
	case manifest.BoxRows:
		return openimages.BoxesFile(f.Subset)
	case manifest.ImageRows:
		return openimages.ImagesFile(f.Subset)
	}
	return string(f.Role)
}

// photoPinner returns what pins the photos: from the lock alone, or with the world's
// help, writing the lock when it is complete.
func (s *session) photoPinner() stages.Pinner {
	if s.options.Locked {
		return remembering{s, s.lockedPinner(), nil}
	}
	return remembering{s, &pin.Pinner{
		Resolver: &s.resolver, Places: s.Manifest.Dataset.Places(), Have: s.lock.Photos,
		Keep: func(photos lock.Photos) (lock.Photos, error) {
			err := s.lock.keep(s.pinning(), photos)
			return s.lock.Photos, err
		},
	}, s.saveLock}
}

func (s *session) lockedPinner() stages.Pinner {
	return &pin.Locked{Places: s.Manifest.Dataset.Places(), Have: s.lock.Photos}
}

// asDrift turns the photo pinner's complaint about the lock into the session's.
func (s *session) asDrift(err error) error {
	var photos *pin.DriftError
	if errors.As(err, &photos) {
		return s.drift(photos.Changes)
	}
	return err
}
