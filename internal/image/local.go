package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Local is an image on this machine: the folder of a layout, a tarball of one, or a tarball as
// `docker save` writes it.
type Local struct {
	name   string
	open   func(name string) (io.ReadCloser, error) // fs.ErrNotExist where there is no file of that name
	closer io.Closer
	made   map[digest.Digest]made           // what it does not have, or under another name
	root   func() (specs.Descriptor, error) // fills made, once
}

// made is a blob that is bytes, or a file.
type made struct {
	text []byte
	file string
}

// OpenLocal opens the image at a path. Close must be called.
func OpenLocal(name string) (*Local, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("open image: %w", err)
	}
	if info.IsDir() {
		root, err := os.OpenRoot(name)
		if err != nil {
			return nil, fmt.Errorf("open image: %w", err)
		}
		return newLocal(name, func(name string) (io.ReadCloser, error) { return root.Open(name) }, root), nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open image: %w", err)
	}
	a, err := readArchive(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open image %s: %w", name, err), f.Close())
	}
	return newLocal(name, a.open, f), nil
}

func newLocal(name string, open func(string) (io.ReadCloser, error), closer io.Closer) *Local {
	l := &Local{name: name, open: open, closer: closer}
	l.root = sync.OnceValues(l.findRoot)
	return l
}

// Close implements Source.
func (l *Local) Close() error { return l.closer.Close() }

// dockerFile lists the images of a tarball as `docker save` writes it.
const dockerFile = "manifest.json"

// Root implements Source. Of Docker's tarballs, it reads all bytes.
func (l *Local) Root(context.Context) (specs.Descriptor, error) {
	root, err := l.root()
	if err != nil {
		return root, fmt.Errorf("image %s: %w", l.name, err)
	}
	return root, nil
}

func (l *Local) findRoot() (specs.Descriptor, error) {
	text, err := l.readFile(indexFile)
	if err == nil {
		return l.keep(text)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return specs.Descriptor{}, err
	}
	if text, err = l.readFile(dockerFile); errors.Is(err, fs.ErrNotExist) {
		return specs.Descriptor{}, malformed("there is neither %s, as in a layout, nor %s, as docker save writes it", indexFile, dockerFile)
	} else if err != nil {
		return specs.Descriptor{}, err
	}
	return l.fromDocker(text)
}

// keep returns the root of an index, which is the index itself where it has several manifests.
func (l *Local) keep(index []byte) (specs.Descriptor, error) {
	root, err := rootOf(index)
	if err == nil && root.Digest == digest.FromBytes(index) {
		l.made = map[digest.Digest]made{root.Digest: {text: index}}
	}
	return root, err
}

// rootOf returns what the index of a layout names, or the index itself where that is several.
func rootOf(index []byte) (specs.Descriptor, error) {
	doc, err := parseDocument(index)
	if err != nil {
		return specs.Descriptor{}, err
	}
	if len(doc.Manifests) == 1 {
		m := doc.Manifests[0]
		_, err := Digest(m)
		return specs.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: m.Size}, err
	}
	return descriptor(specs.MediaTypeImageIndex, index), nil
}

// fromDocker makes the manifest that a tarball of Docker's lacks. Its layers are as they lie
// there, so that the manifest is the same wherever it is made.
func (l *Local) fromDocker(list []byte) (specs.Descriptor, error) {
	var images []struct {
		Config string
		Layers []string
	}
	if err := json.Unmarshal(list, &images); err != nil {
		return specs.Descriptor{}, malformed("%s: %v", dockerFile, err)
	}
	if len(images) != 1 {
		return specs.Descriptor{}, malformed("%s lists %d images; save one", dockerFile, len(images))
	}
	if len(images[0].Layers) > maxLayers {
		return specs.Descriptor{}, malformed("more than %d layers", maxLayers)
	}
	l.made = make(map[digest.Digest]made)
	config, err := l.describe(specs.MediaTypeImageConfig, images[0].Config)
	if err != nil {
		return specs.Descriptor{}, err
	}
	m := specs.Manifest{Versioned: version, MediaType: specs.MediaTypeImageManifest, Config: config, Layers: []specs.Descriptor{}}
	for _, name := range images[0].Layers {
		layer, err := l.describe(specs.MediaTypeImageLayer, name)
		if err != nil {
			return specs.Descriptor{}, err
		}
		m.Layers = append(m.Layers, layer)
	}
	text, err := json.Marshal(m)
	if err != nil {
		return specs.Descriptor{}, err
	}
	root := descriptor(m.MediaType, text)
	l.made[root.Digest] = made{text: text}
	return root, nil
}

// describe reads a file and describes it.
func (l *Local) describe(mediaType, name string) (_ specs.Descriptor, err error) {
	f, err := l.open(name)
	if err != nil {
		return specs.Descriptor{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := digest.SHA256.Digester()
	n, err := io.Copy(sum.Hash(), f)
	if err != nil {
		return specs.Descriptor{}, err
	}
	d := specs.Descriptor{MediaType: mediaType, Digest: sum.Digest(), Size: n}
	if mediaType == specs.MediaTypeImageLayer {
		if d.MediaType, err = l.layerType(name); err != nil {
			return specs.Descriptor{}, err
		}
	}
	l.made[d.Digest] = made{file: name}
	return d, nil
}

// layerType tells compressed layers, which newer Dockers save.
func (l *Local) layerType(name string) (_ string, err error) {
	f, err := l.open(name)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var magic [2]byte
	if _, err := io.ReadFull(f, magic[:]); err == nil && magic == gzipMagic {
		return specs.MediaTypeImageLayerGzip, nil
	}
	return specs.MediaTypeImageLayer, nil
}

var gzipMagic = [2]byte{0x1f, 0x8b}

// readFile reads a document.
func (l *Local) readFile(name string) (_ []byte, err error) {
	f, err := l.open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	text, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err == nil && len(text) > maxDocument {
		return nil, malformed("%s has more than %d bytes", name, maxDocument)
	}
	return text, err
}

// Open implements Source.
func (l *Local) Open(ctx context.Context, d specs.Descriptor) (io.ReadCloser, error) {
	if _, err := l.Root(ctx); err != nil {
		return nil, err
	}
	name := blobFile(d.Digest)
	if m, ok := l.made[d.Digest]; ok {
		if m.text != nil {
			return io.NopCloser(bytes.NewReader(m.text)), nil
		}
		name = m.file
	}
	f, err := l.open(name)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", l.name, err)
	}
	return f, nil
}

// archive is the files of a tarball, where they lie in it.
type archive struct {
	at    io.ReaderAt
	files map[string]extent
	links map[string]string
}

type extent struct{ offset, size int64 }

// maxFiles bounds the files of a tarball. An image has a few for each layer.
const maxFiles = 64 << 10

// errCompressed says that a tarball as a whole is compressed.
var errCompressed = malformed("the tarball is compressed, and must be read here and there: uncompress it")

// readArchive finds the files of a tarball.
func readArchive(f *os.File) (*archive, error) {
	var magic [2]byte
	if _, err := f.ReadAt(magic[:], 0); err == nil && magic == gzipMagic {
		return nil, errCompressed
	}
	a := &archive{at: f, files: map[string]extent{}, links: map[string]string{}}
	in := tar.NewReader(f)
	for n := 0; ; n++ {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return a, nil
		}
		if err != nil {
			return nil, malformed("%v", err)
		}
		if n == maxFiles {
			return nil, malformed("more than %d files", maxFiles)
		}
		name := path.Clean(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			// The reader stands where the file begins, as it reads no more than headers.
			at, err := f.Seek(0, io.SeekCurrent)
			if err != nil {
				return nil, err
			}
			a.files[name] = extent{at, h.Size}
		case tar.TypeSymlink:
			a.links[name] = path.Join(path.Dir(name), h.Linkname)
		case tar.TypeLink:
			a.links[name] = path.Clean(h.Linkname)
		}
	}
}

// open opens a file. Older Dockers save a layer that is there twice as a link.
func (a *archive) open(name string) (io.ReadCloser, error) {
	clean := path.Clean(name)
	if to, ok := a.links[clean]; ok {
		clean = to
	}
	e, ok := a.files[clean]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return io.NopCloser(io.NewSectionReader(a.at, e.offset, e.size)), nil
}
