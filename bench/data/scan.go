package main

import (
	"context"
	"io"
	"iter"
	"os"
	"runtime"
)

// scan passes over a file with all cores, checks every row, and keeps those that are wanted.
func scan[R, T any](ctx context.Context, name string,
	pass func(ctx context.Context, src io.Reader, file string, workers int, work func(iter.Seq2[R, error]) ([]T, error), collect func([]T) error) error,
	want func(R) (T, bool),
) (int64, error) {
	file, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }() // it was only read
	var found []T
	err = pass(ctx, file, name, runtime.GOMAXPROCS(0), func(rows iter.Seq2[R, error]) (kept []T, err error) {
		for row, err := range rows {
			if err != nil {
				return nil, err
			}
			if item, ok := want(row); ok {
				kept = append(kept, item)
			}
		}
		return kept, nil
	}, func(kept []T) error {
		found = append(found, kept...)
		return nil
	})
	return int64(len(found)), err
}
