package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/registry/folder"
)

func (a *app) verify() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify NAME[@HASH]",
		Short: "Compare every byte of a package with its hash",
		Long: `Verify reads every file of a package and compares it with the hash that the
package gives it: in the registry or, with --dir, in a folder where the package was
installed. Files in that folder that are not of the package are told of as well.
It ends with exit code 5 when anything differs.`,
		Example: `  sandwich verify quilt/open_images --registry ./registry
  sandwich verify quilt/open_images --registry ./registry --dir burgers`,
		Args:              between(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := registryFlag(cmd)
	dir := cmd.Flags().String("dir", "", "verify this installed folder instead of the registry")
	extra := cmd.Flags().Bool("allow-extra", false, "let the folder hold other files as well")
	cmd.RunE = a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
		r, pkg, err := a.load(ctx, *flags, args[0])
		if err != nil {
			return nil, err
		}
		var report folder.Report
		if *dir != "" {
			report, err = folder.Verify(ctx, pkg.Content, *dir, a.moved("verify"))
		} else {
			report, err = r.VerifyObjects(ctx, pkg, a.moved("verify"))
		}
		if err != nil {
			return nil, &registryError{err}
		}
		answer := verifyAnswer{
			Package: pkg.Ref().String(), Files: len(pkg.Content.Entries), Bytes: pkg.Content.Size(),
			Missing: listed(report.Missing), Changed: listed(report.Changed), Extra: listed(report.Extra),
		}
		answer.ok = report.OK(*extra)
		if !answer.ok {
			return answer, &differsError{pkg: pkg.Ref().String(), dir: *dir}
		}
		return answer, nil
	})
	return cmd
}

// differsError says that a package is not what its hash says. What differs is the
// answer.
type differsError struct {
	pkg string
	dir string // where it is installed; empty for the registry
}

func (e *differsError) Error() string {
	if e.dir != "" {
		return e.dir + " is not " + e.pkg
	}
	return e.pkg + " is damaged"
}

// listed is a list that JSON shows as [] when it is empty.
func listed[T any](keys []T) []T { return append([]T{}, keys...) }

type verifyAnswer struct {
	Package string   `json:"package"`
	Files   int      `json:"files"`
	Bytes   int64    `json:"bytes"`
	Missing []string `json:"missing"`
	Changed []string `json:"changed"`
	Extra   []string `json:"extra"`

	ok bool
}

func (v verifyAnswer) Text(w io.Writer) {
	for _, list := range []struct {
		what string
		keys []string
	}{{"missing", v.Missing}, {"changed", v.Changed}, {"extra", v.Extra}} {
		for _, key := range list.keys {
			fmt.Fprintf(w, "%s: %s\n", list.what, ui.Printable(key))
		}
	}
	if v.ok {
		fmt.Fprintf(w, "%s: %s, %s, all as they should be\n", v.Package, ui.Plural(v.Files, "file"), ui.Bytes(v.Bytes))
	}
}
