package disk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// rootsDir holds why things are kept that no recent result needs: roots/ab/cdef…, a file
// for each path outside of the store that needs something in it: "<SHA-256 of the JSON> <JSON>".
const rootsDir = "roots"

// Root is a path outside of the store that needs something in it.
type Root struct {
	Path    string    `json:"path"`              // absolute; of a lock file, or of an installed package
	Package string    `json:"package,omitempty"` // name@hash of what is installed; empty for a lock
	Name    string    `json:"name,omitempty"`    // of the package that is built with the lock
	Lock    string    `json:"lock,omitempty"`    // the blob with the text that the lock had, as Digest.Hex and size
	Seen    time.Time `json:"-"`                 // when the root was last used, to the day
}

// seenGranularity is how precisely it is known when a root was used.
const seenGranularity = 24 * time.Hour

// AddRoot notes a root of the store in the folder dir, which nobody need have open. One
// that is noted already is left alone for a day, so that a build of nothing writes nothing.
func AddRoot(dir string, r Root) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("note root: %w", err)
	}
	line := historyLine(text)
	name := (&Store{root: dir}).path(rootsDir, cas.Sum([]byte(r.Path)))
	if had, err := os.ReadFile(name); err == nil && bytes.Equal(had, line) {
		if info, err := os.Stat(name); err == nil && time.Since(info.ModTime()).Abs() < seenGranularity {
			return nil
		}
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return fmt.Errorf("note root: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), "root-*")
	if err != nil {
		return fmt.Errorf("note root: %w", err)
	}
	_, err = tmp.Write(line)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("note root: %w", errors.Join(err, os.Remove(tmp.Name())))
	}
	return nil
}

// Roots yields the roots. What is damaged is none.
func (s *Store) Roots(ctx context.Context) iter.Seq2[Root, error] {
	return func(yield func(Root, error) bool) {
		s.files(ctx, rootsDir, func(name string, _ [sha256.Size]byte, info fs.FileInfo, err error) bool {
			if errors.Is(err, fs.ErrNotExist) {
				return true // no folder: no root was ever noted
			}
			if err != nil {
				return yield(Root{}, err)
			}
			line, err := os.ReadFile(name)
			if err != nil {
				return yield(Root{}, err)
			}
			_, text, _ := bytes.Cut(line, []byte(" "))
			r := Root{Seen: info.ModTime()}
			if !bytes.Equal(line, historyLine(text)) || json.Unmarshal(text, &r) != nil {
				return true
			}
			return yield(r, nil)
		})
	}
}

// ForgetRoot removes a root. One that is not there is forgotten already.
func (s *Store) ForgetRoot(r Root) error {
	err := os.Remove(s.path(rootsDir, cas.Sum([]byte(r.Path))))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget root: %w", err)
	}
	return nil
}
