package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/sandwich-build/sandwich/internal/table"
)

// Entry is a file of a folder that is pinned.
type Entry struct {
	Path   string // slash-separated, below the folder
	Size   int64  // bytes
	SHA256 string // hex; empty where only the bytes would tell
}

var listingColumns = []string{"Path", "Size", "SHA256"}

// photoSuffixes are those of the files of a folder that are photos.
var photoSuffixes = []string{".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"}

// Listed reports whether a file belongs to the listing of a folder: of photos, or of files
// with the suffix given. What begins with a dot, or is in a folder that does, does not.
func Listed(name, suffix string) bool {
	for segment := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(segment, ".") {
			return false
		}
	}
	ext := strings.ToLower(path.Ext(name))
	if suffix == "" {
		return slices.Contains(photoSuffixes, ext)
	}
	return ext == suffix
}

// WriteListing writes the listing of a folder, whose entries are sorted by path.
func WriteListing(w io.Writer, entries iter.Seq[Entry]) error {
	return table.Write(w, listingColumns, func(yield func([]string) bool) {
		for e := range entries {
			if !yield([]string{e.Path, strconv.FormatInt(e.Size, 10), e.SHA256}) {
				return
			}
		}
	})
}

// Listing reads the listing of a folder from src, which messages call file.
func Listing(src io.Reader, file string) iter.Seq2[Entry, error] {
	last := ""
	return table.Read(src, file, listingColumns, func(row []string) (Entry, error) {
		size, err := strconv.ParseInt(row[1], 10, 64)
		switch {
		case err != nil || size < 0:
			return Entry{}, fmt.Errorf("want a Size in bytes, got %s", excerpt(row[1]))
		case !fs.ValidPath(row[0]) || row[0] == ".":
			return Entry{}, fmt.Errorf("want a Path below the folder, got %s", excerpt(row[0]))
		case row[0] <= last:
			return Entry{}, fmt.Errorf("want rows sorted by Path, each once: %s after %s", excerpt(row[0]), excerpt(last))
		}
		last = row[0]
		return Entry{Path: row[0], Size: size, SHA256: row[2]}, nil
	})
}

// entries yields the files of a folder.
func (f File) entries(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		r, err := f.Open(ctx)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		for e, err := range Listing(r, f.Name) {
			if err == nil {
				err = context.Cause(ctx)
			}
			if !yield(e, err) || err != nil {
				break
			}
		}
		_ = r.Close() // what was read is verified
	}
}

// album finds the photos of a folder by their path, and by their path without suffix.
type album struct {
	folder File
	byPath map[string]Entry
	byStem map[string][]string
	taken  map[string]string // paths, and the annotation that is of it
}

func openAlbum(ctx context.Context, folder File) (*album, error) {
	a := &album{folder: folder, byPath: map[string]Entry{}, byStem: map[string][]string{}, taken: map[string]string{}}
	for e, err := range folder.entries(ctx) {
		if err != nil {
			return nil, err
		}
		a.byPath[e.Path] = e
		a.byStem[stem(e.Path)] = append(a.byStem[stem(e.Path)], e.Path)
	}
	return a, nil
}

// stem is a path without its suffix.
func stem(name string) string { return strings.TrimSuffix(name, path.Ext(name)) }

var errTwoPhotos = errors.New("there are two photos of this name")

// find returns the photo that is called name, or whose path without suffix is that of the
// annotation; without one, the photo that should be there, which the folder does not have.
func (a *album) find(name, annotation string) (Entry, error) {
	e, ok := a.byPath[name]
	if like := a.byStem[stem(annotation)]; !ok && len(like) > 1 {
		return Entry{}, fmt.Errorf("%w: %s and %s", errTwoPhotos, like[0], like[1])
	} else if !ok && len(like) == 1 {
		e, ok = a.byPath[like[0]], true
	}
	if !ok {
		e = Entry{Path: name}
	}
	if other, ok := a.taken[e.Path]; ok {
		return Entry{}, fmt.Errorf("the photo %s is that of %s already", e.Path, other)
	}
	a.taken[e.Path] = annotation
	return e, nil
}

// photo is a photo of a folder.
func (f File) photo(e Entry) Photo {
	return Photo{Name: e.Path, URL: f.place(e.Path), Size: e.Size, SHA256: e.SHA256}
}
