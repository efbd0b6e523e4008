package sharedcache

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/dir"
	"github.com/sandwich-build/sandwich/registry/blob/s3"
)

// s3Attempts is how often a request to a bucket is made. Whoever makes a package waits out an
// overloaded server; here the alternative is to do the work again.
const s3Attempts = 3

// OpenStore opens the store at a location and returns the prefix of keys in it:
// s3://bucket/prefix, file:///path or the path of a folder. Nothing is asked of a server yet.
func OpenStore(ctx context.Context, location string, opts s3.Options) (store blob.Store, prefix string, err error) {
	scheme, rest, isURL := strings.Cut(location, "://")
	switch {
	case isURL && scheme == "s3":
		bucket, prefix, _ := strings.Cut(rest, "/")
		if prefix = strings.Trim(prefix, "/"); prefix != "" {
			if err := blob.CheckKey(prefix); err != nil {
				return nil, "", fmt.Errorf("open shared cache %s: %w", location, err)
			}
			prefix += "/"
		}
		opts.Attempts = s3Attempts
		store, err := s3.New(ctx, bucket, opts)
		if err != nil {
			return nil, "", fmt.Errorf("open shared cache %s: %w", location, err)
		}
		return store, prefix, nil
	case isURL && scheme == "file":
		u, err := url.Parse(location)
		if err == nil && (u.Host != "" || u.Path == "") {
			err = errors.New("want file:///path")
		}
		if err != nil {
			return nil, "", fmt.Errorf("open shared cache %s: %w", location, err)
		}
		return dir.New(filepath.FromSlash(u.Path)), "", nil
	case isURL || location == "":
		return nil, "", fmt.Errorf("open shared cache %q: want s3://bucket/prefix, file:///path or a folder", location)
	}
	return dir.New(location), "", nil
}

// Size says how much a shared cache holds.
type Size struct {
	Results int
	Packs   int
	Bytes   int64 // of all objects
}

// Measure counts what is in the store of a shared cache. It asks for the names of objects, a
// thousand at a time.
func Measure(ctx context.Context, store blob.Store, prefix string) (Size, error) {
	var s Size
	for info, err := range store.List(ctx, prefix+version) {
		if err != nil {
			return s, err
		}
		switch key := strings.TrimPrefix(info.Key, prefix); {
		case strings.HasPrefix(key, resultsPrefix):
			s.Results++
		case strings.HasPrefix(key, packsPrefix):
			s.Packs++
		}
		s.Bytes += info.Size
	}
	return s, nil
}
