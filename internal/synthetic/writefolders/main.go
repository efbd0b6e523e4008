// Command writefolders writes the photos of examples/folders, a folder for each class, into
// a folder, which it replaces. It is what go generate runs.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/sandwich-build/sandwich/internal/synthetic"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "writefolders:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want one argument, the folder to write, got %d", len(args))
	}
	folder := filepath.Clean(args[0])
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	for picture, err := range synthetic.Folders() {
		if err != nil {
			return err
		}
		name := filepath.Join(folder, filepath.FromSlash(picture.Name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, picture.JPEG, 0o644); err != nil {
			return err
		}
	}
	return nil
}
