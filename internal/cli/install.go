package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/nearby"
	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/folder"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

func (a *app) install() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "install NAME[@HASH|:TAG]",
		Short: "Fetch a package from a registry",
		Long: `Install makes a folder with exactly the files of a package: the latest revision,
unless the first digits of another one's hash, or a tag, are given. Every file is
verified while it is read, and the folder is there complete or not at all. An
install that was cut off goes on, also within large files. Installing again fetches
what differs; files that are not of the package are never touched. What the cache
of builds has, or a folder where the package was installed, is copied from there.

Where no registry is named, the public packages in s3://quilt-example are found.
In place of the name a link of Quilt's catalog can stand: quilt+s3://…`,
		Example: `  sandwich install quilt/open_images --registry ./registry --dest burgers
  sandwich install quilt/open_images@4d1f02 --dest burgers
  sandwich install quilt/open_images --path data/crops --dest crops
  sandwich install 'quilt+s3://quilt-example#package=quilt/open_images&path=README.md'`,
		Args:              between(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags, cache := registryFlag(cmd), cacheFlag(cmd)
	dest := cmd.Flags().String("dest", "", "folder to make (default the package's name without its namespace)")
	part := cmd.Flags().String("path", "", "install only this file or folder of the package")
	var signed requirements
	signed.add(cmd)
	cmd.RunE = a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
		r, pkg, err := a.load(ctx, *flags, args[0])
		if err != nil {
			return nil, err
		}
		if err := signed.check(ctx, r, pkg); err != nil {
			return nil, err
		}
		if *part != "" {
			if pkg, err = pkg.Part(strings.Trim(*part, "/")); err != nil {
				return nil, &registryError{err}
			}
		}
		target := *dest
		if target == "" {
			target = path.Base(pkg.Name)
		}
		done, err := a.installNear(ctx, r, pkg, target, *cache)
		if err != nil {
			return nil, err
		}
		a.noteInstalled(pkg, target, *cache)
		a.summary = installSummary(done, target)
		return installAnswer{
			Package: pkg.Ref().String(), Dest: target,
			Fetched: done.Fetched, Bytes: done.Bytes, Copied: done.Copied, Kept: done.Kept, Removed: done.Removed,
		}, nil
	})
	return cmd
}

// installSummary says where the files are from.
func installSummary(done folder.Installed, target string) string {
	parts := []string{fmt.Sprintf("%s fetched (%s)", ui.Plural(done.Fetched, "file"), ui.Bytes(done.Bytes))}
	if done.Copied > 0 {
		parts = append(parts, ui.Count(int64(done.Copied))+" copied from elsewhere on this machine")
	}
	parts = append(parts, ui.Count(int64(done.Kept))+" there already")
	if done.Removed > 0 {
		parts = append(parts, ui.Count(int64(done.Removed))+" of another revision removed")
	}
	return strings.Join(parts, ", ") + ", in " + target
}

// noteInstalled tells the cache, if there is one, that what the package was built from is
// of use. It is a courtesy.
func (a *app) noteInstalled(pkg *registry.Package, dest, dir string) {
	cache, err := a.cacheDir(dir)
	if err != nil {
		return
	}
	path, err := filepath.Abs(dest)
	if _, statErr := os.Stat(cache); err != nil || statErr != nil {
		return
	}
	_ = disk.AddRoot(cache, disk.Root{Path: path, Package: pkg.Ref().String(), Name: pkg.Name}) // see above
}

// installNear installs a package. What this machine has already, in the cache of builds or
// in a folder where the package was installed, is copied from there.
func (a *app) installNear(ctx context.Context, r *registry.Registry, pkg *registry.Package, target, cache string) (done folder.Installed, err error) {
	near := &nearby.Finder{Name: pkg.Name}
	dir, err := a.cacheDir(cache)
	if err != nil {
		return done, err
	}
	near.Records = filepath.Join(dir, "installed")
	if _, statErr := os.Stat(filepath.Join(dir, "blobs")); statErr == nil {
		// One that can not be opened, or is being cleaned up, is not near.
		if store, openErr := disk.Open(dir); openErr == nil {
			near.Cache = store
			defer func() { err = errors.Join(err, store.Close()) }()
		}
	}
	done, err = r.Install(ctx, pkg, target, registry.InstallOptions{Checking: a.moved("check"), Progress: a.moved("install"), Nearby: near.Open})
	if err != nil {
		return done, &registryError{err}
	}
	if done.Fetched+done.Copied+done.Removed > 0 {
		path, err := filepath.Abs(target)
		if err == nil {
			err = near.Remember(path, pkg.Content)
		}
		if err != nil { // costs the next install time at most
			a.view.Observe(stages.Message{Stage: "install", Line: cas.Line{Warning: true, Text: "this install will not be found by others: " + err.Error()}})
		}
	}
	return done, nil
}

type installAnswer struct {
	Package string `json:"package"`
	Dest    string `json:"dest"`
	Fetched int    `json:"fetched"`
	Bytes   int64  `json:"bytes"`
	Copied  int    `json:"copied"`
	Kept    int    `json:"kept"`
	Removed int    `json:"removed"`
}

func (i installAnswer) Text(w io.Writer) { fmt.Fprintln(w, i.Package) }
