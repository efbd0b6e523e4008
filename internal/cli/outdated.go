package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/manifest/lock"
)

func (a *app) outdated() *cobra.Command {
	var flags buildFlags
	cmd := &cobra.Command{
		Use:   "outdated [MANIFEST]",
		Short: "Say whether upstream has changed since the lock",
		Long: `Outdated reads the metadata files from where they are published and compares them with
those that the lock pins: which files differ and, of the labels of the manifest and those
below them that it asks for, how many boxes were added, removed or changed. A box is
changed when it is at the same place of the same photo, and says something else. A file
is not read where its server tells the MD5 sum of what was locked. Of an image that
stages of your own run in, it says whether its tag names another one now; a Dockerfile is
not built for that.

Of requirements of pip's it asks the index which wheels they come to now, and tells which
are other ones; none is fetched. So it does with the packages of an environment.yml of
conda's and their channels.

The lock stays as it is; lock --upgrade takes the changes.`,
		Example: `  sandwich outdated
  sandwich outdated --json | jq -e '.answer.changed'`,
		Args:              between(0, 1),
		ValidArgsFunction: completeManifest,
		RunE: a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
			project, options, err := a.openProject(args, flags)
			if err != nil {
				return nil, err
			}
			return a.consulting(ctx, project, flags.shared, options, func(options pipeline.Options) (ui.Answer, error) {
				upstream, err := pipeline.Outdated(ctx, project, options)
				if err != nil {
					return nil, err
				}
				return newOutdatedAnswer(project.LockPath, upstream), nil
			})
		}),
	}
	flags.add(cmd)
	return cmd
}

type outdatedAnswer struct {
	Lock    string          `json:"lock"`
	Changed bool            `json:"changed"`
	Sources []changedSource `json:"sources"`
	Unknown string          `json:"unknown,omitempty"` // why boxes were not compared
	Boxes   []changedBoxes  `json:"boxes"`
	Image   *changedImage   `json:"image,omitempty"`
	Wheels  []changedLib    `json:"wheels,omitempty"`
	Conda   []changedLib    `json:"conda,omitempty"`
}

// changedImage is an image whose name means another one than the lock pins.
type changedImage struct {
	Name string     `json:"name"`
	Old  pinnedFile `json:"old"` // its manifest, or its index of manifests
	New  pinnedFile `json:"new"`
}

// changedLib is a wheel or a package of conda's that is another one than the lock pins.
type changedLib struct {
	Name string `json:"name"`
	Old  string `json:"old,omitempty"` // versions
	New  string `json:"new,omitempty"`
}

type changedSource struct {
	URL string     `json:"url"`
	Old pinnedFile `json:"old"`
	New pinnedFile `json:"new"`
}

type pinnedFile struct {
	Digest string `json:"digest"`
	Bytes  int64  `json:"bytes"`
}

func newPinnedFile(s lock.Source) pinnedFile { return pinnedFile{s.Digest.String(), s.Size} }

// changedBoxes is how the boxes of a label differ in a subset.
type changedBoxes struct {
	ID      openimages.LabelID `json:"id"`
	Label   string             `json:"label"`
	Subset  string             `json:"subset"`
	Added   int64              `json:"added"`
	Removed int64              `json:"removed"`
	Changed int64              `json:"changed"`
}

func newOutdatedAnswer(path string, u *pipeline.Upstream) outdatedAnswer {
	o := outdatedAnswer{Lock: path, Changed: len(u.Sources)+len(u.Wheels)+len(u.Conda) > 0 || u.Image != nil, Unknown: u.Unknown, Sources: []changedSource{}, Boxes: []changedBoxes{}}
	for _, s := range u.Sources {
		o.Sources = append(o.Sources, changedSource{s.URL, newPinnedFile(s.Old), newPinnedFile(s.New)})
	}
	for _, b := range u.Boxes {
		o.Boxes = append(o.Boxes, changedBoxes{b.ID, b.Name, b.Subset, b.Added, b.Removed, b.Changed})
	}
	if i := u.Image; i != nil {
		o.Image = &changedImage{i.New.Name, pinnedFile{i.Old.Digest.String(), i.Old.Size}, pinnedFile{i.New.Digest.String(), i.New.Size}}
	}
	for _, x := range u.Wheels {
		o.Wheels = append(o.Wheels, changedLib(x))
	}
	for _, x := range u.Conda {
		o.Conda = append(o.Conda, changedLib(x))
	}
	return o
}

func (o outdatedAnswer) Text(w io.Writer) {
	if !o.Changed {
		fmt.Fprintln(w, "upstream is as it was locked")
		return
	}
	if i := o.Image; i != nil {
		fmt.Fprintf(w, "%s is another image: %s, was %s\n", ui.Printable(i.Name), i.New.Digest, i.Old.Digest)
	}
	for _, x := range slices.Concat(o.Wheels, o.Conda) {
		fmt.Fprintf(w, "%s is %s, was %s\n", ui.Printable(x.Name), ui.Printable(cmp.Or(x.New, "not needed")), ui.Printable(cmp.Or(x.Old, "not needed")))
	}
	for _, s := range o.Sources {
		fmt.Fprintf(w, "%s has changed: %s, was %s\n", ui.Printable(s.URL), ui.Bytes(s.New.Bytes), ui.Bytes(s.Old.Bytes))
	}
	switch {
	case len(o.Sources) == 0:
		return
	case o.Unknown != "":
		fmt.Fprintf(w, "the boxes cannot be compared: %s\n", ui.Printable(o.Unknown))
		return
	case len(o.Sources) == 0:
		return
	case len(o.Boxes) == 0:
		fmt.Fprintln(w, "no box of your labels is another")
		return
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nlabel\tid\tsubset\tadded\tremoved\tchanged")
	for _, b := range o.Boxes {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", ui.Printable(b.Label), ui.Printable(string(b.ID)), b.Subset,
			ui.Count(b.Added), ui.Count(b.Removed), ui.Count(b.Changed))
	}
	_ = table.Flush()
}
