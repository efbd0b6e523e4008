package sandbox

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go/v1"
)

// repository is the name of images that this program gives to engines. None is ever asked of a registry.
const repository = "localhost/sandwich"

// load gives an image to the engine, unless that has it, and returns its name there. The engine gets the
// layers alone: the image's variables are those of the process, and its entry point, user, working folder
// and volumes do not count.
func (e *engine) load(ctx context.Context, i Image) (name string, err error) {
	e.loading.Lock()
	defer e.loading.Unlock()
	config, err := configOf(i)
	if err != nil {
		return "", err
	}
	name = repository + ":" + digest.FromBytes(config).Encoded()
	if e.has(ctx, name, i) {
		return name, nil
	}
	out, in := io.Pipe()
	saved := make(chan error, 1)
	go func() {
		err := save(ctx, in, name, config, i)
		_ = in.CloseWithError(err) // which never fails
		saved <- err
	}()
	_, err = e.ask(ctx, out, "load", "--quiet")
	_ = out.Close() // as above; it ends a save that nobody reads
	if err := <-saved; err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return "", fmt.Errorf("load the image into %s: %w", e.name, err)
	}
	if err == nil && !e.has(ctx, name, i) {
		err = fmt.Errorf("load the image into %s: it is not there then", e.name)
	}
	return name, err
}

// has tells whether the engine has an image. Which digest it knows an image by is its own matter; those of
// the layers are not.
func (e *engine) has(ctx context.Context, name string, i Image) bool {
	text, err := e.ask(ctx, nil, "image", "inspect", "--format", "{{json .RootFS.Layers}}", name)
	if err != nil {
		return false
	}
	var layers []digest.Digest
	return json.Unmarshal(text, &layers) == nil && slices.Equal(layers, i.Layers())
}

// configOf is the configuration of the image as engines get it.
func configOf(i Image) ([]byte, error) {
	return json.Marshal(specs.Image{
		Platform: specs.Platform{OS: "linux", Architecture: runtime.GOARCH},
		RootFS:   specs.RootFS{Type: "layers", DiffIDs: i.Layers()},
	})
}

// save writes an image as `docker save` does, which every engine loads.
func save(ctx context.Context, out io.Writer, name string, config []byte, i Image) error {
	w := tar.NewWriter(out)
	put := func(file string, size int64, content io.Reader) error {
		if err := w.WriteHeader(&tar.Header{Name: file, Mode: 0o644, Size: size, Format: tar.FormatPAX}); err != nil {
			return err
		}
		_, err := io.Copy(w, content)
		return err
	}
	const configFile = "config.json"
	list := []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}{{Config: configFile, RepoTags: []string{name}}}
	for k, d := range i.Layers() {
		file := d.Encoded() + ".tar"
		repeated := slices.Contains(list[0].Layers, file)
		list[0].Layers = append(list[0].Layers, file)
		if repeated {
			continue
		}
		if err := putLayer(ctx, i, k, file, put); err != nil {
			return err
		}
	}
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	if err := put(configFile, int64(len(config)), bytes.NewReader(config)); err != nil {
		return err
	}
	if err := put("manifest.json", int64(len(text)), bytes.NewReader(text)); err != nil {
		return err
	}
	return w.Close()
}

func putLayer(ctx context.Context, i Image, k int, file string, put func(string, int64, io.Reader) error) (err error) {
	layer, size, err := i.Open(ctx, k)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, layer.Close()) }()
	return put(file, size, layer)
}

// nothing is an image of no files.
type nothing struct{}

// emptyLayer is an archive of no files.
var emptyLayer = make([]byte, 1024)

func (nothing) Layers() []digest.Digest { return []digest.Digest{digest.FromBytes(emptyLayer)} }

func (nothing) Open(context.Context, int) (io.ReadCloser, int64, error) {
	return io.NopCloser(bytes.NewReader(emptyLayer)), int64(len(emptyLayer)), nil
}

func (nothing) Unpack(context.Context) (dir string, release func() error, err error) {
	dir, err = os.MkdirTemp("", "sandwich-nothing-*")
	if err != nil {
		return "", nil, err
	}
	folders, files := MountPoints()
	for _, name := range append(folders, idleFolder) {
		err = errors.Join(err, os.MkdirAll(filepath.Join(dir, filepath.FromSlash(name)), 0o755))
	}
	for _, name := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		err = errors.Join(err, os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, nil, 0o644))
	}
	release = func() error { return os.RemoveAll(dir) }
	if err != nil {
		return "", nil, errors.Join(err, release())
	}
	return dir, release, nil
}
