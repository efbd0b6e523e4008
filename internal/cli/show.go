package cli

import (
	"context"
	"encoding/json"
	"errors"
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
another one's hash are given: message, metadata, and the files, folder by folder.
With --card it writes the README.md of the package, which says what the package is
about, instead of the files.`,
		Example: `  sandwich show quilt/open_images --registry ./registry
  sandwich show quilt/open_images@4d1f02 --depth 3
  sandwich show quilt/open_images --card`,
		Args:              between(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := registryFlag(cmd)
	all := cmd.Flags().Bool("files", false, "list every file")
	depth := cmd.Flags().Int("depth", 1, "list folders in folders, as deep as this")
	card := cmd.Flags().Bool("card", false, "write the package's README.md instead of its files")
	cmd.RunE = a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
		if *depth < 1 {
			return nil, usagef("1 lists what is at the top", "--depth %d: want 1 or more", *depth)
		}
		r, pkg, err := a.load(ctx, *flags, args[0])
		if err != nil {
			return nil, err
		}
		answer := newShowAnswer(pkg, *depth, *all)
		if *card {
			if answer.Card, err = readCard(ctx, r, pkg); err != nil {
				return nil, &registryError{err}
			}
		}
		return answer, nil
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
	Card    string          `json:"card,omitempty"`  // with --card
}

// cardFile tells people what a package is about.
const cardFile = "README.md"

// readCard reads the file, of which a part that a link names has none.
func readCard(ctx context.Context, r *registry.Registry, pkg *registry.Package) (_ string, err error) {
	if _, ok := pkg.Content.Entry(cardFile); !ok {
		return "", &registry.NoPartError{Ref: pkg.Ref(), Path: cardFile}
	}
	body, err := r.OpenFile(ctx, pkg, cardFile)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	const limit = 1 << 20 // of what a person reads
	text, err := io.ReadAll(io.LimitReader(body, limit))
	return string(text), err
}

// topFolder is what a package has in a folder, without folders in it that are listed too,
// or a file of the top.
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

func newShowAnswer(pkg *registry.Package, depth int, all bool) showAnswer {
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
		name := e.Key
		if parts := strings.Split(e.Key, "/"); len(parts) > 1 {
			name = strings.Join(parts[:min(depth, len(parts)-1)], "/") + "/"
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
	if s.Card != "" {
		fmt.Fprintln(w)
		for line := range strings.Lines(s.Card) {
			fmt.Fprintln(w, ui.Printable(strings.TrimRight(line, "\r\n")))
		}
		return
	}
	for _, f := range s.Folders {
		if len(s.Files) == 0 {
			fmt.Fprintf(table, "%s\t%s\t  %s\n", ui.Plural(f.Count, "file"), ui.Bytes(f.Bytes), ui.Printable(f.Name))
		}
	}
	for _, f := range s.Files {
		fmt.Fprintf(table, "%s\t  %s\n", ui.Bytes(f.Bytes), ui.Printable(f.Key))
	}
	fmt.Fprintf(table, "%s\t%s\t  in all\n", ui.Plural(s.Count, "file"), ui.Bytes(s.Bytes))
	_ = table.Flush()
}
