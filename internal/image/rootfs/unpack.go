// Package rootfs unpacks images: their layers, laid over each other, are the root of a file system
// that programs can run in. Images are made by strangers, and nothing in one may reach out of the
// folder that it is unpacked into.
package rootfs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// Bounds keep a hostile archive from filling the disk. Images of today have a tenth of it.
type Bounds struct {
	Bytes   int64 // of all files, as they are unpacked
	Entries int   // of all layers
}

// Usual are the bounds of images that people use.
var Usual = Bounds{Bytes: 128 << 30, Entries: 8 << 20}

// UnsafeError says that an archive has what no image should have.
type UnsafeError struct{ Entry, Problem string }

func (e *UnsafeError) Error() string { return fmt.Sprintf("%q: %s", e.Entry, e.Problem) }

// Unpacker lays the archives of layers over each other in a folder. Nothing is written outside
// of that folder: an os.Root holds it, and links are followed within it as the image will
// be seen, with the folder as "/".
//
// Of the files it keeps content, times and permissions. Owners, setuid and setgid are dropped, and
// so are extended attributes: all files belong to who unpacks them, as whom programs run. Devices
// and pipes are left out, since a sandbox has its own.
type Unpacker struct {
	root    *os.Root
	bounds  Bounds          // what is left of them
	layer   map[string]bool // what this layer has written, and the folders above it
	folders map[string]look // set when nothing is written to them any more
}

// look is what a folder is to be like.
type look struct {
	mode fs.FileMode
	time time.Time
}

// NewUnpacker returns an Unpacker into an empty folder.
func NewUnpacker(root *os.Root, b Bounds) *Unpacker {
	return &Unpacker{root: root, bounds: b, folders: map[string]look{".": {0o755, time.Unix(0, 0)}}}
}

// Names of files that say what of the layers below is gone.
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq" // all that the folder has of the layers below
	reserved = ".wh..wh."     // other marks of the file systems that made the layer
)

// Bounds of names. The system walks every folder on the way for each file, so that deep ones cost
// the square of their depth.
const (
	maxPath  = 4096 // bytes, as the system has it
	maxDepth = 256  // folders within each other
)

// Layer lays an archive, which is not compressed, over what there is.
func (u *Unpacker) Layer(ctx context.Context, archive io.Reader) error {
	u.layer = make(map[string]bool)
	in := tar.NewReader(archive)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		if err := u.count(h.Name); err != nil {
			return err
		}
		if err := u.entry(ctx, h, in); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
}

// count counts an entry, or a folder that has none.
func (u *Unpacker) count(name string) error {
	if u.bounds.Entries--; u.bounds.Entries < 0 {
		return &UnsafeError{name, "the image has more files than it may"}
	}
	return nil
}

// entry unpacks a file, a folder or a link, or removes what a mark says is gone.
func (u *Unpacker) entry(ctx context.Context, h *tar.Header, content io.Reader) error {
	name, err := local(h.Name)
	if err != nil {
		return err
	}
	if name == "." { // the root itself
		if h.Typeflag == tar.TypeDir {
			u.folder(name, h)
		}
		return nil
	}
	dir, err := u.parents(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	name = path.Join(dir, base)
	if strings.HasPrefix(base, whiteout) {
		return u.remove(dir, base)
	}
	switch h.Typeflag {
	case tar.TypeDir, tar.TypeReg, tar.TypeSymlink, tar.TypeLink:
	default:
		return nil // a device, a pipe, or what no file is
	}
	if err := u.clear(name, h.Typeflag == tar.TypeDir); err != nil {
		return err
	}
	u.written(name)
	switch h.Typeflag {
	case tar.TypeDir:
		if err := u.mkdir(name); err != nil {
			return err
		}
		u.folder(name, h)
		return nil
	case tar.TypeSymlink:
		return u.root.Symlink(h.Linkname, name)
	case tar.TypeLink:
		return u.link(h.Linkname, name)
	}
	return u.file(ctx, name, h, content)
}

// local makes a name of an archive one below the folder.
func local(name string) (string, error) {
	switch {
	case len(name) > maxPath:
		return "", &UnsafeError{name[:64] + "…", "the name is longer than one can be"}
	case strings.ContainsRune(name, 0):
		return "", &UnsafeError{name, "the name has a zero byte"}
	case slices.Contains(strings.Split(name, "/"), ".."):
		return "", &UnsafeError{name, "the name climbs out of its folder"}
	}
	clean := path.Clean(strings.TrimLeft(path.Clean("/"+name), "/"))
	if strings.Count(clean, "/") >= maxDepth {
		return "", &UnsafeError{name[:64] + "…", "more folders within each other than any image has"}
	}
	return clean, nil
}

// Bounds of the way to a file.
const (
	maxLinks = 40           // as the system has it
	maxSteps = 4 * maxDepth // folders, those that links lead through among them
)

// parents returns where a folder is when the links on the way are followed as in the image, and
// makes what is missing.
func (u *Unpacker) parents(name string) (string, error) {
	at, rest, links := ".", name, 0
	for steps := 0; rest != "" && rest != "."; steps++ {
		if steps == maxSteps || strings.Count(at, "/") >= maxDepth {
			return "", &UnsafeError{name, "the way to it is longer than any image has"}
		}
		head, tail, _ := strings.Cut(rest, "/")
		rest = tail
		switch head {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at) // of "." it is "."
			continue
		}
		next := path.Join(at, head)
		info, err := u.root.Lstat(next)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if err := u.mkdir(next); err != nil {
				return "", err
			}
			u.written(next)
		case err != nil:
			return "", err
		case info.Mode().Type() == fs.ModeSymlink:
			if links++; links > maxLinks {
				return "", &UnsafeError{name, "too many links on the way"}
			}
			to, err := u.root.Readlink(next)
			if err != nil {
				return "", err
			}
			if path.IsAbs(to) {
				at = "."
			}
			rest = to + "/" + rest
			continue
		case !info.IsDir():
			// A file in the place of a folder: a layer may turn one into the other.
			if err := u.clear(next, true); err != nil {
				return "", err
			}
			if err := u.mkdir(next); err != nil {
				return "", err
			}
			u.written(next)
		}
		at = next
	}
	return at, nil
}

// folderMode is that of a folder while files are put into it.
const folderMode = 0o700

func (u *Unpacker) mkdir(name string) error {
	err := u.root.Mkdir(name, folderMode)
	if errors.Is(err, fs.ErrExist) { // clear has left it
		return nil
	}
	if err != nil {
		return err
	}
	u.folders[name] = look{0o755, time.Unix(0, 0)}
	return u.count(name)
}

// folder notes what a folder is to be like in the end.
func (u *Unpacker) folder(name string, h *tar.Header) {
	u.folders[name] = look{h.FileInfo().Mode().Perm(), h.ModTime}
}

// written notes what is of this layer, and the folders that it is in.
func (u *Unpacker) written(name string) {
	for ; name != "." && !u.layer[name]; name = path.Dir(name) {
		u.layer[name] = true
	}
}

// clear makes room for a file, a link or a folder. A folder stays where one is wanted.
func (u *Unpacker) clear(name string, folder bool) error {
	info, err := u.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && folder && info.IsDir() {
		return nil
	}
	if err != nil {
		return err
	}
	return u.root.RemoveAll(name)
}

// file writes a file that is not there.
func (u *Unpacker) file(ctx context.Context, name string, h *tar.Header, content io.Reader) (err error) {
	if u.bounds.Bytes -= h.Size; u.bounds.Bytes < 0 {
		return &UnsafeError{h.Name, "the image has more bytes than it may"}
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(f, &cancelled{ctx, content}); err != nil {
		return err
	}
	if err := f.Chmod(h.FileInfo().Mode().Perm() | 0o400); err != nil {
		return err
	}
	return u.root.Chtimes(name, h.ModTime, h.ModTime)
}

// cancelled is a reader that ends with its context.
type cancelled struct {
	ctx context.Context
	io.Reader
}

func (c *cancelled) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.Reader.Read(p)
}

// link makes a second name of a file.
func (u *Unpacker) link(to, name string) error {
	target, err := local(to)
	if err != nil {
		return err
	}
	dir, err := u.parents(path.Dir(target))
	if err != nil {
		return err
	}
	target = path.Join(dir, path.Base(target))
	info, err := u.root.Lstat(target)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() && info.Mode().Type() != fs.ModeSymlink {
		return &UnsafeError{to, "a second name of what is no file"}
	}
	return u.root.Link(target, name)
}

// remove removes what a mark says is gone of the layers below.
func (u *Unpacker) remove(dir, mark string) error {
	if mark == opaque {
		return u.hideAll(dir)
	}
	gone := strings.TrimPrefix(mark, whiteout)
	switch {
	case strings.HasPrefix(mark, reserved):
		return nil
	case gone == "" || gone == "." || gone == "..":
		return &UnsafeError{mark, "a mark that names no file"}
	}
	return u.hide(path.Join(dir, gone))
}

// hide removes a file, or a folder with all that is in it, but for what is of this layer.
func (u *Unpacker) hide(name string) error {
	if !u.layer[name] {
		return u.root.RemoveAll(name)
	}
	info, err := u.root.Lstat(name)
	if err != nil || !info.IsDir() {
		return err
	}
	return u.hideAll(name)
}

// hideAll hides what is in a folder.
func (u *Unpacker) hideAll(dir string) error {
	entries, err := fs.ReadDir(u.root.FS(), dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := u.hide(path.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// MountPoint makes a folder, or an empty file, that something else can be mounted at. What is
// there already stays, unless it is a link or of another sort.
func (u *Unpacker) MountPoint(name string, folder bool) error {
	name, err := local(name)
	if err != nil {
		return err
	}
	dir, err := u.parents(path.Dir(name))
	if err != nil {
		return err
	}
	name = path.Join(dir, path.Base(name))
	info, err := u.root.Lstat(name)
	switch {
	case err == nil && info.IsDir() == folder && info.Mode().Type() != fs.ModeSymlink:
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := u.root.RemoveAll(name); err != nil {
		return err
	}
	if folder {
		return u.mkdir(name)
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// Finish gives folders their permissions and times. Whoever unpacked them can remove them again.
func (u *Unpacker) Finish() error {
	names := slices.Sorted(maps.Keys(u.folders))
	for _, name := range slices.Backward(names) { // those within a folder before it
		info, err := u.root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
			continue // a later layer has removed it
		}
		if err != nil {
			return err
		}
		to := u.folders[name]
		if err := u.root.Chmod(name, to.mode|folderMode); err != nil {
			return err
		}
		if err := u.root.Chtimes(name, to.time, to.time); err != nil {
			return err
		}
	}
	return nil
}
