package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/sandwich-build/sandwich/internal/boxindex"
	"github.com/sandwich-build/sandwich/internal/catalog"
	"github.com/sandwich-build/sandwich/internal/dataset"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/metadata"
)

// OpenSource returns a project that has a data set and nothing else: that of a name, with all its
// subsets. Its lock is in the cache, below dir.
func OpenSource(name, dir string) (*Project, error) {
	text := fmt.Sprintf("version: 1\nname: sandwich/labels\ndataset:\n  source: %q\n  subsets: [train, validation, test]\n  labels: [a, b]\n", name)
	m, source, err := manifest.Override(name, []byte(text), nil)
	if err != nil {
		return nil, err
	}
	file := strings.ReplaceAll(name, "/", "-") + ".yaml"
	return &Project{
		Path: filepath.Join(dir, file), Dir: dir, Source: source, Manifest: m, file: []byte(text),
		LockPath: filepath.Join(dir, "pinning", strings.TrimSuffix(file, ".yaml")+".lock"), own: true,
	}, nil
}

// Labels is what there is to know of a project's data set.
type Labels struct {
	*catalog.Catalog
	Source string   // its name, or that of its class list
	Tree   cas.Tree // what the stage metadata has written; the zero Tree when nobody counted

	pins  []lock.Source
	boxes map[string]digest.Digest // the box file of each subset
}

// ReadLabels reads the labels of a project's data set and, with counts, how many boxes and
// photos they have: if that is not known yet, the box files are fetched, and an index made
// of them. It looks at no label of the manifest. The lock stays as it is.
func ReadLabels(ctx context.Context, p *Project, o Options, counts bool) (*Labels, error) {
	var m *Labels
	err := withSession(p, o, func(s *session) (err error) {
		m, err = s.readLabels(ctx, counts)
		return err
	})
	return m, err
}

func (s *session) readLabels(ctx context.Context, counts bool) (*Labels, error) {
	files := manifest.Files(s.Manifest.Dataset)
	if form := dataset.New(s.Manifest.Dataset.Source); form != nil {
		return s.readFormLabels(ctx, form, files, counts)
	}
	lists, rows := files[:rowsFrom(files)], files[rowsFrom(files):]
	pins, err := s.resolver.Sources(ctx, lists, s.known())
	if err != nil {
		return nil, err
	}
	classes, hierarchy, err := s.readLists(ctx, lists, pins)
	if err != nil {
		return nil, err
	}
	m := &Labels{Source: s.Manifest.Dataset.Source.Name}
	if m.Source == "" {
		m.Source = lists[0].URL
	}
	if !counts {
		m.Catalog = catalog.New(classes, hierarchy, nil)
		return m, nil
	}
	rowPins, err := s.pinRows(ctx, rows)
	if err != nil {
		return nil, err
	}
	s.lock.Sources = append(pins, rowPins...)
	if s.own {
		slices.SortFunc(s.lock.Sources, func(a, b lock.Source) int { return strings.Compare(a.URL, b.URL) })
		if err := os.MkdirAll(s.pinning(), 0o755); err != nil {
			return nil, fmt.Errorf("pin labels: %w", err)
		}
		if err := s.saveLock(); err != nil {
			return nil, err
		}
	}
	if m.Tree, err = s.buildMetadata(ctx); err != nil {
		return nil, err
	}
	subsets, err := readCounts(ctx, m.Tree)
	if err != nil {
		return nil, err
	}
	m.Catalog = catalog.New(classes, hierarchy, subsets)
	m.pins, m.boxes = s.lock.Sources, map[string]digest.Digest{}
	for _, f := range rows {
		if pin, ok := s.lock.Source(f.URL); ok && f.Role == manifest.BoxRows {
			m.boxes[f.Subset] = pin.Digest
		}
	}
	return m, nil
}

// readFormLabels is readLabels of a data set in a form of its own.
func (s *session) readFormLabels(ctx context.Context, form dataset.Form, files []manifest.SourceFile, counts bool) (*Labels, error) {
	pins, err := s.resolver.Sources(ctx, files, s.known())
	if err != nil {
		return nil, err
	}
	s.lock.Sources = pins
	classes, err := s.readForm(ctx, form, files)
	if err != nil {
		return nil, err
	}
	m := &Labels{Source: files[0].URL}
	if !counts {
		m.Catalog = catalog.New(classes, nil, nil)
		return m, nil
	}
	if m.Tree, err = s.buildMetadata(ctx); err != nil {
		return nil, err
	}
	subsets, err := readCounts(ctx, m.Tree)
	if err != nil {
		return nil, err
	}
	m.Catalog, m.pins, m.boxes = catalog.New(classes, nil, subsets), pins, map[string]digest.Digest{}
	for _, f := range s.converted.files {
		for _, subset := range s.Manifest.Dataset.Subsets {
			if f.Path == openimages.BoxesFile(subset) {
				m.boxes[subset] = digest.Digest(f.Digest.String())
			}
		}
	}
	return m, nil
}

// buildMetadata runs the stage metadata, unless its result is known.
func (s *session) buildMetadata(ctx context.Context) (cas.Tree, error) {
	files, err := s.metadataFiles()
	if err != nil {
		return cas.Tree{}, err
	}
	return s.buildStage(ctx, stages.Stage{Name: Metadata, Kind: s.metadataKind(files)})
}

// buildStage runs a stage without inputs, unless its result is known.
func (s *session) buildStage(ctx context.Context, stage stages.Stage) (cas.Tree, error) {
	plan, err := stages.NewPlan(s.Manifest.Name, []stages.Stage{stage})
	if err != nil {
		return cas.Tree{}, err
	}
	engine := s.engine
	engine.Observer = ranOnly{s.options.Observer}
	build, err := engine.Build(ctx, plan)
	if err != nil {
		return cas.Tree{}, err
	}
	return build.Tree(stage.Name), nil
}

func (s *session) metadataKind(files []metadata.File) metadata.Kind {
	kind := metadata.Kind{Files: files, Fetcher: sources{s}, Scratch: s.scratch}
	if s.index != nil {
		kind.Ready = s.index
	}
	return kind
}

func readCounts(ctx context.Context, tree cas.Tree) (_ []boxindex.Counts, err error) {
	file, err := tree.Open(ctx, boxindex.LabelsFile)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return boxindex.ReadCounts(file)
}

// rowsFrom returns where the files with rows begin, which are large: behind the lists.
func rowsFrom(files []manifest.SourceFile) int {
	return slices.IndexFunc(files, func(f manifest.SourceFile) bool { return f.Role == manifest.BoxRows })
}

// readLists reads the class list and the hierarchy, which is nil if there is none.
func (s *session) readLists(ctx context.Context, files []manifest.SourceFile, pins []lock.Source) (classes *openimages.Classes, hierarchy *openimages.Hierarchy, err error) {
	for i, f := range files {
		text, err := s.readSource(ctx, pins[i])
		if err != nil {
			return nil, nil, err
		}
		switch f.Role {
		case manifest.Classes:
			classes, err = openimages.ReadClasses(bytes.NewReader(text), f.URL)
		case manifest.Hierarchy:
			hierarchy, err = openimages.ReadHierarchy(bytes.NewReader(text), f.URL)
		case manifest.BoxRows, manifest.ImageRows:
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return classes, hierarchy, nil
}
