// Package archivestest gives tests archives that are on no server.
package archivestest

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/sandwich-build/sandwich/stages/archives"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Set returns archives by the names of their files, none of which is in the store yet.
func Set(t *testing.T, store cas.Store, files map[string][]byte) archives.Set {
	t.Helper()
	var all []archives.Archive
	for name, data := range files {
		all = append(all, archives.Archive{File: name, URL: "https://example.org/" + name, Digest: cas.Sum(data)})
	}
	return archives.New(all, server{store, files}, t.TempDir())
}

// Gone returns a set of one archive, which nobody has.
func Gone(store cas.Store, file string) archives.Set {
	return archives.New([]archives.Archive{{File: file, URL: "x", Digest: cas.Sum([]byte("x"))}}, server{store: store}, "")
}

type server struct {
	store cas.Store
	files map[string][]byte
}

func (s server) FetchBlob(ctx context.Context, _ string, want cas.Digest) error {
	missing, err := s.store.Missing(ctx, []cas.Digest{want})
	if err != nil || len(missing) == 0 {
		return err
	}
	for _, data := range s.files {
		if cas.Sum(data) == want {
			_, err = s.store.Put(ctx, bytes.NewReader(data))
			return err
		}
	}
	return errors.New("no such file")
}
