// Package nearby finds bytes of packages on this machine, so that an install need not move
// them again: in the cache of builds, and in folders where packages were installed before.
//
// What it finds may be wrong: a folder is its owner's to change. Whoever takes bytes from
// here verifies them, and has the registry when they are not what they should be.
package nearby

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sandwich-build/sandwich/registry/quilt"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// recordsKept is how many installs of one package are remembered: a record is as large as
// the package file.
const recordsKept = 4

// Finder finds bytes. Nothing is read before the first question.
type Finder struct {
	Cache   *disk.Store // nil for none
	Records string      // the folder that installs are remembered in
	Name    string      // of the package

	once   sync.Once
	hashed map[quilt.Hash]source
	sized  map[int64]source // blobs of several chunks, whose hash does not follow from their digest
}

// source opens a file that may have certain bytes.
type source func() (io.ReadCloser, error)

// Open opens a file that may have the bytes of an entry; fs.ErrNotExist when there is
// none. A file of its own is an *os.File, whose bytes can be shared.
func (f *Finder) Open(ctx context.Context, e quilt.Entry) (io.ReadCloser, error) {
	f.once.Do(func() { f.look(ctx) })
	open, ok := f.hashed[e.Hash()]
	if !ok {
		open, ok = f.sized[e.Size()]
	}
	if !ok {
		return nil, fs.ErrNotExist
	}
	return open()
}

// look makes an index. What can not be read is not near.
func (f *Finder) look(ctx context.Context) {
	f.hashed, f.sized = map[quilt.Hash]source{}, map[int64]source{}
	for _, name := range f.records() {
		_ = f.addInstalled(name)
	}
	if f.Cache == nil {
		return
	}
	for at, err := range f.Cache.Blobs(ctx) {
		if err != nil {
			return
		}
		f.addBlob(ctx, at)
	}
}

func (f *Finder) addBlob(ctx context.Context, at disk.Location) {
	open := func() (io.ReadCloser, error) { return os.Open(at.File) }
	if at.Packed() {
		open = func() (io.ReadCloser, error) { return f.Cache.Open(ctx, at.Digest) }
	}
	f.hashed[quilt.Hash{Type: quilt.SHA256, Value: at.Digest.Hex()}] = open
	if hash, ok := chunked(at.Digest); ok {
		f.hashed[hash] = open
	} else {
		f.sized[at.Digest.Size()] = open
	}
}

func chunked(d cas.Digest) (quilt.Hash, bool) { return quilt.ChunkedFromSHA256(d.SHA256(), d.Size()) }

// record is how a file of the folder of records begins; behind it stands the package.
type record struct {
	Dest string `json:"dest"` // absolute path
}

// fileName returns the file of a record: those of one package begin alike.
func (f *Finder) fileName(dest string) string {
	sum := sha256.Sum256([]byte(dest))
	return f.prefix() + hex.EncodeToString(sum[:8])
}

func (f *Finder) prefix() string { return strings.ReplaceAll(f.Name, "/", "@") + "@" }

// records returns the records of the package, the newest first.
func (f *Finder) records() []string {
	entries, err := os.ReadDir(f.Records)
	if err != nil {
		return nil
	}
	type found struct {
		name string
		at   time.Time
	}
	var all []found
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), f.prefix()) && info.Mode().IsRegular() {
			all = append(all, found{name: filepath.Join(f.Records, e.Name()), at: info.ModTime()})
		}
	}
	slices.SortFunc(all, func(a, b found) int { return cmp.Or(b.at.Compare(a.at), strings.Compare(a.name, b.name)) })
	names := make([]string, len(all))
	for i, one := range all {
		names[i] = one.name
	}
	return names
}

// addInstalled adds the files of an installed folder.
func (f *Finder) addInstalled(name string) (err error) {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	lines := bufio.NewReader(file)
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	var head record
	if err := json.Unmarshal(line, &head); err != nil {
		return err
	}
	content, err := quilt.Decode(lines)
	if err != nil {
		return err
	}
	for _, e := range content.Entries {
		if _, ok := f.hashed[e.Hash()]; !ok {
			f.hashed[e.Hash()] = func() (io.ReadCloser, error) { return openBelow(head.Dest, e.Key) }
		}
	}
	return nil
}

// openBelow opens a regular file of a folder, and follows no link out of it.
func openBelow(dir, key string) (_ io.ReadCloser, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	info, err := root.Lstat(key)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // to open another thing could block
		return nil, fmt.Errorf("%s is not a file: %w", key, fs.ErrNotExist)
	}
	return root.Open(key)
}

// Remember records that a package was installed in dest, an absolute path.
func (f *Finder) Remember(dest string, p *quilt.Package) (err error) {
	if err := os.MkdirAll(f.Records, 0o777); err != nil {
		return err
	}
	temp, err := os.CreateTemp(f.Records, "new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temp.Name()))
		}
	}()
	head, err := json.Marshal(record{Dest: dest})
	if err == nil {
		_, err = temp.Write(append(head, '\n'))
	}
	if err == nil {
		err = p.Encode(temp)
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), filepath.Join(f.Records, f.fileName(dest))); err != nil {
		return err
	}
	if old := f.records(); len(old) > recordsKept {
		for _, name := range old[recordsKept:] {
			_ = os.Remove(name) // another install may have done so
		}
	}
	return nil
}
