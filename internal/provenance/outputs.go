package provenance

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strconv"

	"github.com/sandwich-build/sandwich/internal/table"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// outputColumns are the columns of outputs.csv. Tree is the digest of the output that the
// file is of, as stages.json names it.
var outputColumns = []string{"Tree", "Path", "SHA256", "Size"}

// WriteOutputs writes outputs.csv: the files of each tree, in the order of the trees, sorted
// as a tree's files are.
func WriteOutputs(ctx context.Context, w io.Writer, trees iter.Seq[cas.Tree]) error {
	var failed error
	err := table.Write(w, outputColumns, func(yield func([]string) bool) {
		row := make([]string, len(outputColumns))
		for tree := range trees {
			id, err := Digest{tree.ID().Digest()}.MarshalText()
			if failed = err; err != nil {
				return
			}
			for f, err := range tree.Files(ctx) {
				if failed = err; err != nil {
					return
				}
				row[0], row[1], row[2], row[3] = string(id), f.Path, f.Digest.Hex(), strconv.FormatInt(f.Digest.Size(), 10)
				if !yield(row) {
					return
				}
			}
		}
	})
	if failed != nil {
		return failed
	}
	return err
}

// output is a row of outputs.csv.
type output struct {
	tree Digest
	file cas.File
}

func parseOutput(row []string) (o output, err error) {
	if err := o.tree.UnmarshalText([]byte(row[0])); err != nil {
		return o, err
	}
	size, err := strconv.ParseInt(row[3], 10, 64)
	if err != nil {
		return o, fmt.Errorf("size %q: want a number", row[3])
	}
	d, err := cas.NewDigest(row[2], size)
	if err != nil {
		return o, err
	}
	o.file = cas.File{Path: row[1], Digest: d}
	return o, nil
}

// RestoreOutputs makes the trees of outputs.csv in a store, but not their files, and returns
// their names. A tree that comes to another name than it is listed under is an error: the
// list is damaged.
func RestoreOutputs(ctx context.Context, r io.Reader, store cas.Store) (map[cas.TreeID]bool, error) {
	empty, err := cas.NewBuilder(store).Commit(ctx) // which has no row
	if err != nil {
		return nil, err
	}
	restored := map[cas.TreeID]bool{empty.ID(): true}
	var id Digest // of the tree that is being made
	var tree *cas.Builder
	commit := func() error {
		if tree == nil {
			return nil
		}
		made, err := tree.Commit(ctx)
		if err != nil {
			return err
		}
		if made.ID().Digest() != id.Digest {
			return fmt.Errorf("%s: the files of %s make %s", OutputsFile, id, made.ID())
		}
		restored[made.ID()] = true
		return nil
	}
	for row, err := range table.Read(r, OutputsFile, outputColumns, parseOutput) {
		if err != nil {
			return nil, err
		}
		if tree == nil || row.tree != id {
			if err := commit(); err != nil {
				return nil, err
			}
			id, tree = row.tree, cas.NewBuilder(store)
		}
		if err := tree.Add(row.file.Path, row.file.Digest); err != nil {
			return nil, fmt.Errorf("%s: %w", OutputsFile, err)
		}
	}
	return restored, commit()
}
