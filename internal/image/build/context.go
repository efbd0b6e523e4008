package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Sum returns the digest of a file at an absolute path.
type Sum func(ctx context.Context, path string) (string, error)

// errSpecial says that a context has what is no file, folder or link.
var errSpecial = errors.New("neither a file, a folder nor a link")

// Context names what an image is built from: all that is in a folder, by name, content and whether it
// can be executed. Times and owners do not count, as they do not for a COPY.
func Context(ctx context.Context, dir string, sum Sum) (digest.Digest, error) {
	var text strings.Builder
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		kind, content := "", ""
		switch {
		case e.IsDir():
			kind = "folder"
		case e.Type() == fs.ModeSymlink:
			kind = "link"
			content, err = os.Readlink(name)
		case e.Type().IsRegular():
			var info fs.FileInfo
			if info, err = e.Info(); err != nil {
				return err
			}
			if kind = "file"; info.Mode()&0o111 != 0 {
				kind = "program"
			}
			content, err = sum(ctx, name)
		default:
			err = fmt.Errorf("%s: %w", name, errSpecial)
		}
		fmt.Fprintf(&text, "%s %q %q\n", kind, filepath.ToSlash(rel), content)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("context of an image: %w", err)
	}
	return digest.FromString(text.String()), nil
}
