package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

func (a *app) show() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show NAME[@HASH]",
		Short: "Tell what a package holds",
		Long: `Show tells about one revision of a package, the latest unless the first digits of
another one's hash are given: message, metadata, and the files, folder by folder.`,
		Example: `  sandwich show quilt/open_images --registry ./registry
  sandwich show quilt/open_images@4d1f02 --files`,
		Args:              between(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := registryFlag(cmd)
	all := cmd.Flags().Bool("files", false, "list every file")
	cmd.RunE = a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
		_, pkg, err := a.load(ctx, *flags, args[0])
		if err != nil {
			return nil, err
		}
		return newShowAnswer(pkg, *all), nil
	})
	return cmd
}

type showAnswer struct {
	Name    string          `json:"name"`
	Hash    string          `json:"hash"`
	Message string          `json:"message"`
	Meta    json.RawMessage `json:"meta,omitempty"`
	Count   int             `json:"count"`
	Bytes   int64           `json:"bytes"`
	Folders []topFolder     `json:"folders"`
	Files   []file          `json:"files,omitempty"` // with --files
}

// topFolder is what a package has below one name of its top level.
type topFolder struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
	Bytes int64  `json:"bytes"`
}

type file struct {
	Key   string `json:"key"`
	Bytes int64  `json:"bytes"`
	Hash  string `json:"hash"` // type:value
}

func newShowAnswer(pkg *registry.Package, all bool) showAnswer {
	s := showAnswer{
		Name: pkg.Name, Hash: pkg.TopHash.String(), Message: pkg.Content.Message(),
		Count: len(pkg.Content.Entries), Bytes: pkg.Content.Size(), Folders: []topFolder{},
	}
	if meta := pkg.Content.Meta(); meta.Kind() != quilt.Absent {
		if text, err := meta.AppendJSON(nil); err == nil {
			s.Meta = text
		}
	}
	folders := map[string]topFolder{}
	for _, e := range pkg.Content.Entries {
		name, _, below := strings.Cut(e.Key, "/")
		if below {
			name += "/"
		}
		size := max(e.Size(), 0) // -1 where the package does not tell
		f := folders[name]
		folders[name] = topFolder{Name: name, Count: f.Count + 1, Bytes: f.Bytes + size}
		if all {
			s.Files = append(s.Files, file{Key: e.Key, Bytes: size, Hash: e.Hash().Type + ":" + e.Hash().Value})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(folders)) {
		s.Folders = append(s.Folders, folders[name])
	}
	return s
}

func (s showAnswer) Text(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%s@%s\n", s.Name, s.Hash)
	if s.Message != "" {
		fmt.Fprintf(w, "%s\n", ui.Printable(s.Message))
	}
	if len(s.Meta) > 0 {
		fmt.Fprintf(w, "%s\n", ui.Printable(string(s.Meta)))
	}
	for _, f := range s.Folders {
		if len(s.Files) == 0 {
			fmt.Fprintf(table, "%s files\t%s\t  %s\n", ui.Count(int64(f.Count)), ui.Bytes(f.Bytes), ui.Printable(f.Name))
		}
	}
	for _, f := range s.Files {
		fmt.Fprintf(table, "%s\t  %s\n", ui.Bytes(f.Bytes), ui.Printable(f.Key))
	}
	fmt.Fprintf(table, "%s files\t%s\t  in all\n", ui.Count(int64(s.Count)), ui.Bytes(s.Bytes))
	_ = table.Flush()
}
