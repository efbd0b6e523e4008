package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/sandwich-build/sandwich/internal/boxindex"
	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/metadata"
)

// An index of a data set can be exported into a folder, pushed and installed like any other
// package, and used where it is installed: then the box files are neither fetched nor read.
// The folder has the files of the stage metadata that are made of box files, and index.json, which
// says of which ones, and what each file must be.

// indexFile names what an exported index is of.
const indexFile = "index.json"

// indexInfo is index.json.
type indexInfo struct {
	Version int                      `json:"version"` // of the stage metadata
	Sources []indexSource            `json:"sources"` // the pins of all metadata files
	Boxes   map[string]digest.Digest `json:"boxes"`   // the box file of each subset
	Files   map[string]digest.Digest `json:"files"`
}

type indexSource struct {
	URL    string        `json:"url"`
	Digest digest.Digest `json:"digest"`
	Size   int64         `json:"size"`
	MD5    string        `json:"md5,omitempty"`
}

// index is an index that is installed. It is a metadata.Ready.
type index struct {
	dir    string
	info   indexInfo
	counts []boxindex.Counts
}

// IndexError says that a folder that is given as an index cannot be used.
type IndexError struct {
	Folder string
	Err    error
}

func (e *IndexError) Error() string { return fmt.Sprintf("index %s: %v", e.Folder, e.Err) }

// Unwrap returns the cause.
func (e *IndexError) Unwrap() error { return e.Err }

// openIndex opens the index in a folder. The error is an *IndexError.
func openIndex(dir string) (*index, error) {
	x := &index{dir: dir}
	text, err := os.ReadFile(filepath.Join(dir, indexFile))
	if err == nil {
		err = json.Unmarshal(text, &x.info)
	}
	if want := (metadata.Kind{}).Version(); err == nil && x.info.Version != want {
		err = fmt.Errorf("it was made by another version of sandwich: its version is %d, this one's %d", x.info.Version, want)
	}
	if err == nil {
		var counts []byte
		if counts, err = x.read(boxindex.LabelsFile); err == nil {
			x.counts, err = boxindex.ReadCounts(bytes.NewReader(counts))
		}
	}
	if err != nil {
		return nil, &IndexError{dir, err}
	}
	return x, nil
}

var errEdited = errors.New("it is not as it was exported")

// read reads a file, which must be as it was.
func (x *index) read(name string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(x.dir, filepath.FromSlash(name)))
	if err == nil && digest.FromBytes(data) != x.info.Files[name] {
		err = fmt.Errorf("%s: %w", name, errEdited)
	}
	return data, err
}

// subset returns the subset that a box file has the boxes of.
func (x *index) subset(box cas.Digest) (string, bool) {
	for subset, d := range x.info.Boxes {
		if d.String() == box.String() {
			return subset, true
		}
	}
	return "", false
}

// Has implements metadata.Ready.
func (x *index) Has(box cas.Digest) bool {
	_, ok := x.subset(box)
	return ok
}

// Index implements metadata.Ready.
func (x *index) Index(ctx context.Context, store cas.Store, box cas.Digest) (map[string]cas.Digest, boxindex.Counts, error) {
	subset, _ := x.subset(box)
	files := map[string]cas.Digest{}
	for _, counts := range x.counts {
		if counts.Subset != subset {
			continue
		}
		for _, l := range counts.Labels {
			name := boxindex.FileName(l.ID)
			data, err := x.read(path.Join(boxindex.Folder(subset), name))
			if err == nil {
				files[name], err = cas.PutBytes(ctx, store, data)
			}
			if err != nil {
				return nil, boxindex.Counts{}, &IndexError{x.dir, err}
			}
		}
		return files, counts, nil
	}
	return nil, boxindex.Counts{}, &IndexError{x.dir, fmt.Errorf("%s has no subset %s", boxindex.LabelsFile, subset)}
}

// known are the pins of the lock, and for what it has none, those of the index.
func (s *session) known() []lock.Source {
	pins := s.lock.Sources
	if s.index == nil {
		return pins
	}
	for _, source := range s.index.info.Sources {
		if _, ok := s.lock.Source(source.URL); !ok {
			pins = append(pins[:len(pins):len(pins)], lock.Source(source))
		}
	}
	return pins
}

// pinRows pins the files with rows. A box file whose pin is known is not fetched: the stage
// metadata does that, if it has to read it.
func (s *session) pinRows(ctx context.Context, files []manifest.SourceFile) ([]lock.Source, error) {
	known := s.known()
	byURL := map[string]lock.Source{}
	for _, pin := range known {
		byURL[pin.URL] = pin
	}
	var pins []lock.Source
	var ask []manifest.SourceFile
	taken := map[string]bool{}
	for _, f := range files {
		pin, ok := byURL[f.URL]
		if f.Role != manifest.BoxRows || !ok || fetch.IsLocal(f.URL) {
			ask = append(ask, f)
		} else if !taken[f.URL] {
			taken[f.URL] = true
			pins = append(pins, pin)
		}
	}
	asked, err := s.resolver.Sources(ctx, ask, known)
	return append(pins, asked...), err
}

// ExportIndex writes what was made of the box files of a project's data set into a folder, which
// must be empty or not there. Options.Index, given that folder, makes use of it.
func ExportIndex(ctx context.Context, l *Labels, dir string) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("export index: %s is not empty", dir)
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(dir)), 0o755); err != nil {
		return fmt.Errorf("export index: %w", err)
	}
	fresh, err := os.MkdirTemp(filepath.Dir(filepath.Clean(dir)), ".index-*")
	if err != nil {
		return fmt.Errorf("export index: %w", err)
	}
	err = writeIndex(ctx, l, fresh)
	if err == nil {
		_ = os.Remove(dir) // an empty folder is in the way of the rename
		err = os.Rename(fresh, dir)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("export index: %w", err), os.RemoveAll(fresh))
	}
	return nil
}

func writeIndex(ctx context.Context, l *Labels, dir string) error {
	info := indexInfo{Version: (metadata.Kind{}).Version(), Boxes: l.boxes, Files: map[string]digest.Digest{}}
	for _, pin := range l.pins {
		info.Sources = append(info.Sources, indexSource(pin))
	}
	for file, err := range l.Tree.Files(ctx) {
		if err != nil {
			return err
		}
		if !strings.HasPrefix(file.Path, "boxes/") && file.Path != boxindex.LabelsFile &&
			file.Path != openimages.ClassesFile && file.Path != openimages.HierarchyFile {
			continue
		}
		info.Files[file.Path] = digest.Digest(file.Digest.String())
		if err := copyOut(ctx, l.Tree, file.Path, filepath.Join(dir, filepath.FromSlash(file.Path))); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, indexFile), append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Chmod(dir, 0o755)
}

func copyOut(ctx context.Context, tree cas.Tree, name, to string) (err error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	from, err := tree.Open(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(0o644))
	if err != nil {
		return err
	}
	_, err = io.Copy(out, from)
	return errors.Join(err, out.Close())
}
