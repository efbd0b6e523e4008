package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sandwich-build/sandwich/internal/image"
	"github.com/sandwich-build/sandwich/internal/image/build"
	"github.com/sandwich-build/sandwich/internal/memo"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/command"
)

// dockerfile is where the Dockerfile of the manifest is.
func (p *Project) dockerfile() string {
	return filepath.Join(p.Dir, filepath.FromSlash(p.Manifest.Environment.Dockerfile))
}

// contextName is the name under which the lock pins the image of the Dockerfile: with the digest of
// what it is built from, so that a change of that is another name.
func (s *session) contextName(ctx context.Context) (string, error) {
	file := s.dockerfile()
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
		const at = "environment.dockerfile"
		line, column := manifest.Locate(s.file, at)
		return "", &manifest.Faults{{
			File: s.Path, Line: line, Column: column, Path: at, Message: fmt.Sprintf("there is no file %s beside the manifest", s.Manifest.Environment.Dockerfile),
		}}
	}
	sum, err := build.Context(ctx, filepath.Dir(file), func(ctx context.Context, path string) (string, error) {
		d, err := s.memory.File(ctx, path)
		return d.String(), err
	})
	return contextName(s.Manifest.Environment.Dockerfile, sum), err
}

func contextName(dockerfile string, sum digest.Digest) string { return dockerfile + "@" + sum.String() }

// ContextChangedError says that what an image is built from changed while it was built.
type ContextChangedError struct{ Dockerfile string }

func (e *ContextChangedError) Error() string {
	return "the folder of " + e.Dockerfile + " changed while its image was built"
}

// buildImage builds the image of the Dockerfile, whose blobs are in the store then, unless that was
// done before and the store has them still. name is that of the context.
func (s *session) buildImage(ctx context.Context, name string) (*lock.Image, error) {
	known := memo.Fact{"image of a Dockerfile", name, image.Host().String()}
	if root, ok := s.memory.Recall(ctx, known); ok && !s.options.Upgrade && s.hasImage(ctx, root) {
		return &lock.Image{Digest: digest.Digest(root.String()), Size: root.Size(), Name: name}, nil
	}
	source, err := s.runBuild(ctx)
	if err != nil {
		return nil, err
	}
	root, err := s.takeImage(ctx, source)
	if err = errors.Join(err, source.Close()); err != nil {
		return nil, err
	}
	now, err := s.contextName(ctx)
	if err != nil {
		return nil, err
	}
	if now != name {
		return nil, &ContextChangedError{s.Manifest.Environment.Dockerfile}
	}
	s.memory.Keep(ctx, known, root)
	return &lock.Image{Digest: digest.Digest(root.String()), Size: root.Size(), Name: name}, nil
}

// hasImage tells whether the store has all of an image.
func (s *session) hasImage(ctx context.Context, root cas.Digest) bool {
	found, err := image.Find(ctx, specs.Descriptor{Digest: digest.Digest(root.String()), Size: root.Size()}, image.Host(), image.In(s.store))
	if err != nil {
		return false
	}
	missing, err := s.store.Missing(ctx, found.Blobs())
	return err == nil && len(missing) == 0
}

// takeImage puts all of an image into the store.
func (s *session) takeImage(ctx context.Context, source image.Source) (cas.Digest, error) {
	root, err := source.Root(ctx)
	if err != nil {
		return cas.Digest{}, err
	}
	found, err := image.Find(ctx, root, image.Host(), source.Open)
	if err != nil {
		return cas.Digest{}, err
	}
	for _, d := range found.Blobs() {
		if err := s.takeBlob(ctx, source, d); err != nil {
			return cas.Digest{}, err
		}
	}
	return image.Digest(root)
}

func (s *session) takeBlob(ctx context.Context, source image.Source, d cas.Digest) (err error) {
	in, err := source.Open(ctx, specs.Descriptor{Digest: digest.Digest(d.String()), Size: d.Size()})
	if err != nil {
		return err
	}
	checked := cas.Verify(in, d, nil)
	defer func() { err = errors.Join(err, checked.Close()) }()
	_, err = s.store.Put(ctx, checked)
	return err
}

// runBuild runs the tool that builds images, and returns what it came to.
func (s *session) runBuild(ctx context.Context) (_ image.Source, err error) {
	dir, err := os.MkdirTemp(s.scratch, "image-*")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	s.tellImage("building the image of %s", s.Manifest.Environment.Dockerfile)
	out := filepath.Join(dir, "image.tar")
	log := command.NewLines(func(line string) { s.tellImage("%s", line) })
	err = build.Run(ctx, build.Request{Dockerfile: s.dockerfile(), Platform: image.Host(), Fresh: s.options.Upgrade, Log: log}, out)
	log.Flush()
	if err != nil {
		return nil, err
	}
	local, err := image.OpenLocal(out)
	return builtImage{local, dir}, err
}

// builtImage is an image in a folder of its own, which goes when it is closed.
type builtImage struct {
	*image.Local
	dir string
}

// Close implements image.Source.
func (b builtImage) Close() error { return errors.Join(b.Local.Close(), os.RemoveAll(b.dir)) }

// RebuiltError says that the image that the lock pins is not in the cache, and that the Dockerfile
// comes to another one now.
type RebuiltError struct {
	Dockerfile  string
	Pinned, Now digest.Digest
}

func (e *RebuiltError) Error() string {
	return fmt.Sprintf("the image of %s that the lock pins, %s, is not in the cache, and built again it is %s", e.Dockerfile, e.Pinned, e.Now)
}

// openBuilt builds the image of the Dockerfile again, for a cache that does not have it. It is of use
// only if it comes to the same.
func (s *session) openBuilt(ctx context.Context) (image.Source, error) {
	source, err := s.runBuild(ctx)
	if err != nil {
		return nil, err
	}
	root, err := source.Root(ctx)
	if err == nil && root.Digest != s.lock.Image.Digest {
		err = &RebuiltError{Dockerfile: s.Manifest.Environment.Dockerfile, Pinned: s.lock.Image.Digest, Now: root.Digest}
	}
	if err != nil {
		return nil, errors.Join(err, source.Close())
	}
	return source, nil
}

// tellImage tells the story of the image.
func (s *session) tellImage(format string, args ...any) {
	s.tell(Image, cas.Line{Text: fmt.Sprintf(format, args...)})
}
