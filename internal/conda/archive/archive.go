// Package archive reads the packages of conda: archives of files, and of what to do with them. They are
// made by strangers: nothing in one may reach out of the folder that it is laid into.
//
// No code of a package is run, and nothing is compiled, so that the same packages come to the same files
// on every machine.
package archive

import (
	"archive/tar"
	"archive/zip"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/sandwich-build/sandwich/internal/lazyregexp"
)

// Archives is the folder of the packages as they are, in what the stage of an environment leaves.
const Archives = "packages"

// Bounds keep a hostile archive from filling the disk. The largest packages of today have a tenth of it.
type Bounds struct {
	Bytes   int64 // of all that it unpacks to
	Entries int
}

// Usual are the bounds of packages that people use.
var Usual = Bounds{Bytes: 64 << 30, Entries: 1 << 20}

// Bounds of what is held in memory.
const (
	maxName     = 255       // bytes of a file's name, as the system has it
	maxPath     = 4096      // bytes of a path
	maxMetadata = 64 << 20  // bytes of what is parsed, of all files
	maxWindow   = 128 << 20 // bytes of Zstandard's window, as the format's own tool bounds it
)

// Error says why something is no package, or none that may be unpacked.
type Error struct{ Entry, Problem string } // Entry is empty where the package as a whole is meant

func (e *Error) Error() string {
	if e.Entry == "" {
		return e.Problem
	}
	return fmt.Sprintf("%q: %s", e.Entry, e.Problem)
}

// Name is what the name of a package's file says.
type Name struct{ Name, Version, Build string }

// The endings of the two forms of packages.
const (
	newForm = ".conda"
	oldForm = ".tar.bz2"
)

// fileName is name, version and build. A name may have hyphens.
var fileName = lazyregexp.New(`^([A-Za-z0-9_.][A-Za-z0-9_.+-]*)-([A-Za-z0-9_.!+]+)-([A-Za-z0-9_.+]+)(\.conda|\.tar\.bz2)$`)

// ParseName reads the name of a package's file.
func ParseName(file string) (Name, error) {
	m := fileName.FindStringSubmatch(file)
	if m == nil || len(file) > maxName {
		return Name{}, &Error{file, "want the name of a package, as in numpy-2.1.0-py312h58c1407_0.conda"}
	}
	return Name{m[1], m[2], m[3]}, nil
}

// Keep takes in the content of a file, in which a placeholder stands for the environment's folder, and gives what
// names it.
type Keep[T any] func(in io.Reader, p Placeholder) (T, error)

// contents are what the archives of a package have. The metadata are read first: they say which files count.
type contents[T any] struct {
	keep     Keep[T]
	metadata map[string][]byte   // by path, without info/
	memory   int64               // what may still be held of them
	list     *list               // what they say of files; nil before they are read
	files    map[string]entry[T] // by path
}

func newContents[T any](keep Keep[T]) *contents[T] {
	return &contents[T]{keep: keep, metadata: make(map[string][]byte), files: make(map[string]entry[T]), memory: maxMetadata}
}

// entry is a file or a link of an archive.
type entry[T any] struct {
	content    T
	executable bool
	link       string // what a link points at; empty for a file
}

// infoFolder has the metadata.
const infoFolder = "info/"

// read reads a package's archives, of which the older form has one for both.
func (c *contents[T]) read(file string, in io.ReaderAt, size int64, b Bounds) error {
	var z *zip.Reader
	if strings.HasSuffix(file, newForm) {
		var err error
		if z, err = zip.NewReader(in, size); err != nil {
			return &Error{"", "not a package: " + err.Error()}
		}
	}
	open := func(part string) error {
		if z == nil {
			return c.tar(bzip2.NewReader(io.NewSectionReader(in, 0, size)), b)
		}
		return c.member(z, part+"-"+strings.TrimSuffix(file, newForm)+".tar.zst", b)
	}
	if err := open("info"); err != nil {
		return err
	}
	if err := c.readList(); err != nil {
		return err
	}
	return open("pkg")
}

// member reads an archive in a package of the new form.
func (c *contents[T]) member(z *zip.Reader, name string, b Bounds) (err error) {
	i := slices.IndexFunc(z.File, func(f *zip.File) bool { return f.Name == name })
	if i < 0 {
		return &Error{"", "not a package: it has no " + name}
	}
	in, err := z.File[i].Open()
	if err != nil {
		return &Error{name, err.Error()}
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	d, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return &Error{name, err.Error()}
	}
	defer d.Close()
	return c.tar(d, b)
}

// tar reads an archive to its end: its metadata, or, where they have been read, its files.
func (c *contents[T]) tar(in io.Reader, b Bounds) error {
	from := &bounded{in, b.Bytes}
	t := tar.NewReader(from)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			_, err := io.Copy(io.Discard, from) // sums of the compressed bytes are at their end
			return asError("", err)
		}
		if err != nil {
			return asError("", err)
		}
		if b.Entries--; b.Entries < 0 {
			return &Error{"", "the package has more files than it may"}
		}
		if err := c.entry(t, h); err != nil {
			return asError(h.Name, err)
		}
	}
}

// asError tells of bytes that are no archive.
func asError(name string, err error) error {
	if _, told := errors.AsType[*Error](err); told || err == nil {
		return err
	}
	if _, foreign := errors.AsType[*keepError](err); foreign {
		return err
	}
	return &Error{name, err.Error()}
}

// keepError is an error of who keeps contents: not the package's.
type keepError struct{ error }

func (e *keepError) Unwrap() error { return e.error }

// entry takes an entry of an archive in.
func (c *contents[T]) entry(t *tar.Reader, h *tar.Header) error {
	name := strings.TrimPrefix(h.Name, "./")
	if h.Typeflag == tar.TypeDir {
		return nil // folders are made for their files
	}
	if err := checkPath(name); err != nil {
		return err
	}
	rest, isMetadata := strings.CutPrefix(name, infoFolder)
	switch {
	case isMetadata && c.list == nil && h.Typeflag == tar.TypeReg: // and no link among the licences
		return c.keepMetadata(rest, t, h.Size)
	case isMetadata, c.list == nil:
		return nil
	}
	of, ok := c.list.find(name)
	if !ok {
		return nil
	}
	if _, twice := c.files[name]; twice {
		return &Error{name, "the package has it twice"}
	}
	e := entry[T]{executable: h.Mode&0o111 != 0}
	switch h.Typeflag {
	case tar.TypeReg:
		var err error
		if e.content, err = c.keep(t, of); err != nil {
			return c.kept(t, err)
		}
	case tar.TypeSymlink:
		if err := checkLink(name, h.Linkname); err != nil {
			return err
		}
		e.link = h.Linkname
	case tar.TypeLink:
		if e, ok = c.files[strings.TrimPrefix(h.Linkname, "./")]; !ok {
			return &Error{name, fmt.Sprintf("a link to %q, which is not among the files before it", h.Linkname)}
		}
	default:
		return &Error{name, "neither a file nor a link"}
	}
	c.files[name] = e
	return nil
}

// kept tells whose an error of keep is: that of the archive shows up again when it is read on.
func (c *contents[T]) kept(t *tar.Reader, err error) error {
	if _, again := t.Read(make([]byte, 1)); again != nil && !errors.Is(again, io.EOF) {
		return again
	}
	return &keepError{err}
}

// keepMetadata holds what a package says of itself. What nobody asks for, such as its recipe, is passed over.
func (c *contents[T]) keepMetadata(name string, in io.Reader, size int64) error {
	if !slices.Contains(asked, name) {
		return nil
	}
	if size > c.memory {
		return &Error{infoFolder + name, "longer than any of a package"}
	}
	c.memory -= size
	text, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	if _, twice := c.metadata[name]; twice {
		return &Error{infoFolder + name, "the package has it twice"}
	}
	c.metadata[name] = text
	return nil
}

func checkPath(name string) error {
	switch {
	case !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, "\\\x00"):
		return &Error{name, "no path within a package"}
	case len(name) > maxPath || slices.ContainsFunc(strings.Split(name, "/"), func(s string) bool { return len(s) > maxName }):
		return &Error{name, "the name is longer than files have"}
	}
	return nil
}

// checkLink refuses a link that leads out of the folder that the package is laid into.
func checkLink(name, to string) error {
	if to == "" || path.IsAbs(to) || strings.ContainsAny(to, "\\\x00") || len(to) > maxPath {
		return &Error{name, fmt.Sprintf("a link to %q, and not to a file of the environment", to)}
	}
	if at := path.Join(path.Dir(name), to); at == ".." || strings.HasPrefix(at, "../") {
		return &Error{name, fmt.Sprintf("a link to %q, which is outside of the environment", to)}
	}
	return nil
}

// bounded ends with an error after so many bytes.
type bounded struct {
	in   io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.in.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, &Error{"", "the package has more bytes than it may"}
	}
	return n, err
}
