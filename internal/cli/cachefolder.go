package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/dirindex"
	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/registry/objects"
	"github.com/sandwich-build/sandwich/registry/quilt"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
	"github.com/sandwich-build/sandwich/stages/cas/worktree"
)

func (a *app) cacheAdd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add DIR",
		Short: "Take the files of a folder into the cache",
		Long: `Add takes the files of a folder into the cache, each content once, and prints the
digest of their tree. What a build needs is then not fetched: photos from a disk, or
from an installed package after a link has died or the cache was damaged.

The cache remembers size, times and inode of every file, so that adding a folder again
reads only what has changed. With --dry-run it reads everything and stores nothing.
"cache checkout" writes the files out again.`,
		Example: `  sandwich cache add photos
  sandwich cache add lunch          # an installed package`,
		Args: between(1, 1),
	}
	dir := cacheFlag(cmd)
	dry := cmd.Flags().BoolP("dry-run", "n", false, "only say which tree it is")
	cmd.RunE = a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
		if *dry {
			index, err := dirindex.Open("", args[0])
			if err != nil {
				return nil, err
			}
			tree, taken, err := worktree.Take(ctx, cas.Nowhere{}, args[0], index)
			return newAddAnswer(args[0], tree, taken), err
		}
		return a.withCache(*dir, true, func(s *disk.Store) (ui.Answer, error) { return addFolder(ctx, s, args[0]) })
	})
	return cmd
}

func addFolder(ctx context.Context, s *disk.Store, dir string) (ui.Answer, error) {
	index, err := dirindex.Open(disk.FolderFile(s.Root(), dir), dir)
	if err != nil {
		return nil, err
	}
	tree, taken, err := worktree.Take(ctx, s, dir, index)
	if err != nil {
		return nil, err
	}
	// It is a result, so that gc keeps what was added of late, like what was built.
	if err := s.Record(ctx, addedFolder(dir), cas.Result{Tree: tree.ID()}); err != nil {
		return nil, err
	}
	// Only now: what the index knows is not looked at again, so it must be durable.
	return newAddAnswer(dir, tree, taken), index.Save(taken.Mark())
}

// knowSums fills in the sums of small files of a folder, as a push wants them, from what
// the cache remembers of it; only files that have changed since are read.
func (a *app) knowSums(ctx context.Context, dir string, files []objects.File) error {
	cache, err := a.cacheDir("")
	if err != nil {
		return nil // nothing is remembered; the push reads every file
	}
	index, err := dirindex.Open(disk.FolderFile(cache, dir), dir)
	if err != nil {
		return err
	}
	dirs, err := index.ScanAll(ctx, nil, sumOfSmall)
	if err != nil {
		return err
	}
	sums := map[string]dirindex.Sum{}
	for i, d := range dirs {
		for _, f := range d.Files {
			sums[path.Join(d.Path, f.Name)] = f.Sum
		}
		note, _ := d.Same()
		index.Keep(&dirs[i], note)
	}
	for i, f := range files {
		files[i].SHA256 = sums[f.Key]
	}
	_ = index.Save("") // what cannot be kept is read again
	return nil
}

// sumOfSmall leaves out what is hashed in chunks, of which one sum says nothing.
func sumOfSmall(_ context.Context, f *os.File) (dirindex.Sum, int64, error) {
	info, err := f.Stat()
	if err != nil {
		return dirindex.Sum{}, 0, err
	}
	if _, whole := quilt.ChunkedFromSHA256(dirindex.Sum{}, info.Size()); !whole {
		return dirindex.Sum{}, info.Size(), nil
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	return dirindex.Sum(h.Sum(nil)), n, err
}

// addedFolder names the action of adding a folder.
func addedFolder(dir string) cas.Digest {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return cas.Sum([]byte("sandwich cache add\x00" + dir))
}

type addAnswer struct {
	Folder string `json:"folder"`
	Tree   string `json:"tree"`
	Files  int    `json:"files"`
	Bytes  int64  `json:"bytes"`
	Read   int    `json:"read"` // of the files, those that had to be read
}

func newAddAnswer(dir string, tree cas.Tree, taken worktree.Taken) addAnswer {
	return addAnswer{Folder: dir, Tree: tree.ID().String(), Files: taken.Files, Bytes: taken.Bytes, Read: taken.Read}
}

func (c addAnswer) Text(w io.Writer) { fmt.Fprintln(w, c.Tree) }

func (a *app) cacheCheckout() *cobra.Command {
	var flags buildFlags
	cmd := &cobra.Command{
		Use:   "checkout WHAT DIR [MANIFEST]",
		Short: "Write what a stage has produced to a folder",
		Long: `Checkout writes files of the cache to a folder, which must not exist or be empty: WHAT
is the name of a stage of a manifest, for what it has produced; the digest of a tree, or
its beginning; or the path of a folder (/… or ./…), as it was when "cache add" took it
in.

Every byte is verified. Where the file system can, large files share their bytes with
the cache until they are edited; they are never linked, so nothing that you do to them
changes the cache.`,
		Example: `  sandwich cache checkout crop crops
  sandwich cache checkout evaluate report examples/quickstart/manifest.yaml
  sandwich cache checkout sha256:9f2c photos`,
		Args: between(2, 3),
	}
	cmd.RunE = a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
		find := findTree
		switch {
		case filepath.IsAbs(args[0]) || strings.HasPrefix(args[0], "."):
			find = findFolder
		case !strings.HasPrefix(args[0], treePrefix):
			return a.checkoutStage(ctx, args, flags)
		}
		return a.withCache(flags.cache, false, func(s *disk.Store) (ui.Answer, error) {
			id, err := find(ctx, s, args[0])
			if err != nil {
				return nil, err
			}
			return checkout(ctx, s, id, args[1])
		})
	})
	flags.add(cmd)
	return cmd
}

func (a *app) checkoutStage(ctx context.Context, args []string, flags buildFlags) (_ ui.Answer, err error) {
	project, options, err := a.openProject(args[2:], flags)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, options.Store.Close()) }()
	forecast, err := pipeline.Plan(ctx, project, options)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range forecast.Stages {
		names = append(names, s.Stage)
		if s.Stage != args[0] {
			continue
		}
		if !s.Cached {
			return nil, &notBuiltError{manifest: manifestArg(args[2:]), stage: s.Stage}
		}
		r, err := options.Store.Result(ctx, s.Action)
		if err != nil {
			return nil, err
		}
		return checkout(ctx, options.Store, r.Tree, args[1])
	}
	return nil, usagef("stages are "+strings.Join(names, ", "), "there is no stage %q", args[0])
}

// findFolder returns the tree of a folder as it was added last.
func findFolder(ctx context.Context, s *disk.Store, dir string) (cas.TreeID, error) {
	r, err := s.Result(ctx, addedFolder(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return cas.TreeID{}, usagef("sandwich cache add takes it in", "%s was not added to %s", dir, s.Root())
	}
	return r.Tree, err
}

// treePrefix begins the name of a tree.
const treePrefix = "sha256:"

// findTree returns the tree of a result whose digest begins as the text does.
func findTree(ctx context.Context, s *disk.Store, text string) (cas.TreeID, error) {
	var found cas.TreeID
	for r, err := range s.Results(ctx) {
		if err != nil {
			return cas.TreeID{}, err
		}
		if r.Damaged || r.Result.Tree == found || !strings.HasPrefix(r.Result.Tree.String(), text) {
			continue
		}
		if !found.IsZero() {
			return cas.TreeID{}, usagef("give more of its digest", "%s is the beginning of several trees", text)
		}
		found = r.Result.Tree
	}
	if found.IsZero() {
		return cas.TreeID{}, usagef("", "no result in %s has the tree %s", s.Root(), text)
	}
	return found, nil
}

func checkout(ctx context.Context, s *disk.Store, id cas.TreeID, dest string) (ui.Answer, error) {
	w, err := worktree.Write(ctx, s, id, dest)
	return checkoutAnswer{Folder: dest, Tree: id.String(), Files: w.Files, Bytes: w.Bytes, Cloned: w.Cloned}, err
}

type checkoutAnswer struct {
	Folder string `json:"folder"`
	Tree   string `json:"tree"`
	Files  int    `json:"files"`
	Bytes  int64  `json:"bytes"`
	Cloned int    `json:"cloned"` // of the files, those that share their bytes with the cache
}

func (c checkoutAnswer) Text(w io.Writer) {
	fmt.Fprintf(w, "%s: %s, %s\n", ui.Printable(c.Folder), ui.Plural(c.Files, "file"), ui.Bytes(c.Bytes))
}
