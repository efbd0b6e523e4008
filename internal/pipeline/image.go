package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sandwich-build/sandwich/internal/environment"
	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/internal/image"
	"github.com/sandwich-build/sandwich/internal/image/pull"
	"github.com/sandwich-build/sandwich/internal/image/rootfs"
	"github.com/sandwich-build/sandwich/internal/memo"
	"github.com/sandwich-build/sandwich/internal/pip"
	"github.com/sandwich-build/sandwich/internal/sandbox"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
	"github.com/sandwich-build/sandwich/stages/command"
	condastage "github.com/sandwich-build/sandwich/stages/conda"
	imagestage "github.com/sandwich-build/sandwich/stages/image"
	"github.com/sandwich-build/sandwich/stages/pack"
	wheelstage "github.com/sandwich-build/sandwich/stages/wheels"
)

// pinImage pins the image that the manifest names in the lock. One of a registry is looked up
// where the lock does not pin that name; one on this machine is looked at in every build, as other
// files of the user's own are; that of a Dockerfile is built.
func (s *session) pinImage(ctx context.Context) error {
	e := s.Manifest.Environment
	if !e.InImage() {
		return s.lockImage(nil)
	}
	if s.options.rebuild != nil && s.lock.Image != nil {
		return nil // of a package, the lock tells all
	}
	name, now := e.Image, s.nowImage
	if e.Dockerfile != "" {
		var err error
		if name, err = s.contextName(ctx); err != nil {
			return err
		}
		now = func(ctx context.Context) (*lock.Image, error) { return s.buildImage(ctx, name) }
	}
	pinned := s.lock.Image != nil && s.lock.Image.Name == name
	switch {
	case !pinned && !s.options.Locked, s.options.Upgrade, e.ImagePath() != "":
	case pinned:
		return nil
	default:
		return s.lockImage(&lock.Image{Name: name})
	}
	found, err := now(ctx)
	if err != nil {
		return err
	}
	return s.lockImage(found)
}

// lockImage puts the pin into the lock.
func (s *session) lockImage(now *lock.Image) error {
	if drift := lock.DriftImage(s.lock.Image, now); len(drift) > 0 && s.options.Locked {
		return s.drift(drift)
	}
	s.lock.Image = now
	return nil
}

// compareImage says whether the image that the manifest names is another one than the lock pins.
func (s *session) compareImage(ctx context.Context) (*ImageChange, error) {
	old := s.lock.Image
	if old == nil || old.Name != s.Manifest.Environment.Image { // that of a Dockerfile has another name
		return nil, nil
	}
	now, err := s.nowImage(ctx)
	if err != nil || *now == *old {
		return nil, err
	}
	return &ImageChange{Old: *old, New: *now}, nil
}

// nowImage is the pin of the image that the manifest names now.
func (s *session) nowImage(ctx context.Context) (*lock.Image, error) {
	root, err := s.lookUpImage(ctx)
	if err != nil {
		return nil, err
	}
	return &lock.Image{Digest: digest.Digest(root.String()), Size: root.Size(), Name: s.Manifest.Environment.Image}, nil
}

// lookUpImage returns the digest of the image that the manifest names. That of a tarball, all of
// which may have to be read for it, is remembered.
func (s *session) lookUpImage(ctx context.Context) (cas.Digest, error) {
	path := s.imagePath()
	if info, err := os.Stat(path); path == "" || err != nil || info.IsDir() {
		return s.readImageRoot(ctx)
	}
	sum, err := s.memory.File(ctx, path)
	if err != nil {
		return cas.Digest{}, err
	}
	known := memo.Fact{"image", sum.String()}
	if d, ok := s.memory.Recall(ctx, known); ok {
		return d, nil
	}
	d, err := s.readImageRoot(ctx)
	if err == nil {
		s.memory.Keep(ctx, known, d)
	}
	return d, err
}

func (s *session) readImageRoot(ctx context.Context) (_ cas.Digest, err error) {
	source, err := s.OpenImage()
	if err != nil {
		return cas.Digest{}, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	root, err := source.Root(ctx)
	if err != nil {
		return cas.Digest{}, err
	}
	return image.Digest(root)
}

// imagePath is where an image of this machine is; empty for one of a registry.
func (p *Project) imagePath() string {
	path := p.Manifest.Environment.ImagePath()
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(p.Dir, filepath.FromSlash(path))
}

// userAgent is what registries are told of this program.
const userAgent = "sandwich"

// ErrNoImage says that an image was on the machine that built a package, and is not in that.
var ErrNoImage = errors.New("the package does not carry its image, which was a file of the machine that built it")

// openImage opens the image that the manifest names, of which a package that is built again needs
// no file of this machine.
func (s *session) openImage(ctx context.Context) (image.Source, error) {
	dockerfile := s.Manifest.Environment.Dockerfile != ""
	if (dockerfile || s.imagePath() != "") && s.options.rebuild != nil {
		return nil, ErrNoImage
	}
	if dockerfile {
		return s.openBuilt(ctx)
	}
	return s.OpenImage()
}

// OpenImage opens the image that the manifest names, as it is now: on this machine, or in its
// registry.
func (p *Project) OpenImage() (image.Source, error) {
	if path := p.imagePath(); path != "" {
		return image.OpenLocal(path)
	}
	source, err := p.remoteImage()
	if err != nil {
		const at = "environment.image"
		line, column := manifest.Locate(p.file, at)
		return nil, &manifest.Faults{{File: p.Path, Line: line, Column: column, Path: at, Message: err.Error()}}
	}
	return source, nil
}

// remoteImage is the image of a registry, or of the mirror that the manifest has of that.
func (p *Project) remoteImage() (image.Source, error) {
	ref, err := pull.Parse(p.Manifest.Environment.Image)
	if err != nil {
		return nil, err
	}
	at, local, err := fetch.Mirrored(p.Manifest.Mirrors, p.Dir, ref.URL())
	switch {
	case err != nil:
		return nil, err
	case local:
		return image.OpenLocal(at)
	case at != ref.URL():
		if ref, err = ref.At(at); err != nil {
			return nil, err
		}
	}
	return pull.New(ref, userAgent)
}

// imageStage is the stage that fetches the image.
func (s *session) imageStage() (stages.Stage, error) {
	root, err := cas.NewDigest(s.lock.Image.Digest.Encoded(), s.lock.Image.Size)
	if err != nil {
		return stages.Stage{}, fmt.Errorf("lock: image: %w", err)
	}
	return stages.Stage{Name: Image, Kind: imagestage.New(root, image.Host(), s.openImage)}, nil
}

// imageInputs are the inputs of pack from the environment.
func (s *session) imageInputs() []stages.Input {
	if s.lock.Image == nil || !s.Manifest.Package.Image {
		return nil
	}
	return []stages.Input{{Name: pack.Image, From: Image}}
}

// inImage has a program run in the image, where it is looked for when it is run.
func (s *session) inImage(_ context.Context, p *program, _ string) error {
	*p = program{host: environment.Processor(), setting: func(ctx context.Context, t *stages.Task) (command.Setting, error) {
		setting, err := s.imageSetting(ctx, t.Store(), t.Input(command.ImageInput))
		if err != nil {
			return setting, err
		}
		if err := s.withLibraries(ctx, t, &setting); err != nil {
			return setting, err
		}
		return setting, nil
	}}
	return nil
}

// withLibraries has what runs in an image import what the environment has besides.
func (s *session) withLibraries(ctx context.Context, t *stages.Task, setting *command.Setting) error {
	switch {
	case s.lock.Python != nil:
		in, err := s.imagePython(ctx, sandbox.Process{Image: setting.Image, Env: setting.Env, Dir: "/"})
		if err != nil {
			return err
		}
		venv, err := wheelstage.NewVenv(ctx, t.Input(command.WheelsInput), in.Executable, true)
		if err != nil {
			return err
		}
		setting.Libraries = s.venv(venv, t.Store())
	case s.lock.Platform != "":
		e, err := condastage.Open(ctx, t.Input(command.CondaInput))
		if err != nil {
			return err
		}
		setting.Libraries = s.condaLibraries(e, t.Store())
	}
	return nil
}

// imageSetting is that of a program in an image.
func (s *session) imageSetting(ctx context.Context, store cas.Store, tree cas.Tree) (command.Setting, error) {
	found, err := image.Open(ctx, tree, image.Host())
	if err != nil {
		return command.Setting{}, err
	}
	return command.Setting{Image: unpacked(s.options.Store).System(store, found), Env: variables(found)}, nil
}

// ImagePython finds the interpreter of the image that a lock pins, if the cache in a folder has that unpacked and
// something here runs it as it lies there: nothing is unpacked for it, nor copied into Docker. runner is as in Options.
func ImagePython(ctx context.Context, cache string, pinned lock.Image, runner string) (in pip.Interpreter, known bool, err error) {
	if _, err := os.Stat(filepath.Join(cache, imagesFolder)); err != nil {
		return in, false, nil //nolint:nilerr // no image is there
	}
	store, err := disk.Open(cache)
	if err != nil {
		return in, false, err
	}
	found, err := image.Find(ctx, specs.Descriptor{Digest: pinned.Digest, Size: pinned.Size}, image.Host(), image.In(store))
	if err != nil || !unpacked(store).Has(found) {
		return in, false, nil //nolint:nilerr // a build fetches it
	}
	r, why, err := sandbox.For(ctx, runner, sandbox.Need{})
	if err != nil || why != "" {
		return in, false, err
	}
	p := sandbox.Process{Image: unpacked(store).System(store, found), Env: variables(found), Dir: "/"}
	python, err := pip.In(ctx, func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
		p.Args, p.Stdout, p.Stderr = args, stdout, stderr
		return r.Run(ctx, p)
	}, pinned.Name)
	return python.Interpreter, true, err
}

// variables are those of an image.
func variables(i *image.Image) []string {
	return append([]string{"PATH=" + standardPath}, i.Config.Config.Env...)
}

// imagesFolder is where a cache has unpacked images.
const imagesFolder = "images"

// unpacked is the part of a cache that has unpacked images.
func unpacked(store *disk.Store) rootfs.Cache {
	folders, files := sandbox.MountPoints()
	return rootfs.Cache{
		Dir: filepath.Join(store.Root(), imagesFolder), Bounds: rootfs.Usual,
		Folders: slices.Concat(folders, command.MountPoints()), Files: files,
	}
}

// CleanImages removes the unpacked images of a cache that nobody uses, and returns how many they
// are and how many bytes their files have. They are unpacked again when a stage needs them. With
// dry it removes nothing.
func CleanImages(store *disk.Store, dry bool) (images int, bytes int64, err error) {
	return unpacked(store).Clean(dry)
}
