package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/lazyregexp"
	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/manifest"
)

func (a *app) initCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a commented manifest to start from",
		Long: `Init writes DIR/manifest.yaml, the article's build of sandwiches against
hamburgers, with a comment on every part. It never overwrites a file.`,
		Example: `  sandwich init
  sandwich init fruit --name me/fruit`,
		Args: between(0, 1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: a.verb(func(_ context.Context, args []string) (ui.Answer, error) {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			path, err := writeTemplate(dir, name)
			if err != nil {
				return nil, err
			}
			a.summary = "next: edit it, then `sandwich plan` says what a build would do"
			return initAnswer{Manifest: path}, nil
		}),
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the package (default models/ and the folder's name)")
	return cmd
}

type initAnswer struct {
	Manifest string `json:"manifest"`
}

func (i initAnswer) Text(w io.Writer) {
	fmt.Fprintln(w, ui.Printable(i.Manifest))
}

// writeTemplate writes a manifest into a folder, which it makes if it must.
func writeTemplate(dir, name string) (string, error) {
	if name == "" {
		name = defaultName(dir)
	}
	path := filepath.Join(dir, defaultManifest)
	text := manifest.Template(name)
	if _, err := manifest.Decode(path, text); err != nil {
		return "", usagef("a name is namespace/name, of letters, digits, _ and -", "init: --name %s: not a package's name", name)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", fmt.Errorf("init: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return "", usagef("`sandwich init DIR` writes into another folder", "init: %s exists already", path)
	}
	if err != nil {
		return "", fmt.Errorf("init: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("init: %w", errors.Join(err, os.Remove(path)))
	}
	return path, nil
}

// notInName are the characters that the name of a package cannot have.
var notInName = lazyregexp.New(`[^A-Za-z0-9_-]+`)

// defaultName makes the name of a package from the name of its folder.
func defaultName(dir string) string {
	base := "sandwich"
	if absolute, err := filepath.Abs(dir); err == nil {
		if s := strings.Trim(notInName.ReplaceAllString(filepath.Base(absolute), "_"), "_"); s != "" {
			base = s
		}
	}
	return "models/" + base
}
