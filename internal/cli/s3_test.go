package cli

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sandwich-build/sandwich/internal/s3test"
	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/s3"
)

// TestS3Scripts runs testdata/s3 with a real server.
func TestS3Scripts(t *testing.T) {
	server := s3test.Start(t)
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	versioned, plain := server.NewBucket(t, true), server.NewBucket(t, false)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/s3",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE") != "",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "configure": configure, "upload": upload, "remove": remove,
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("EXAMPLES", examples)
			env.Setenv("SERVER", server.Endpoint)
			env.Setenv("VERSIONED", versioned)
			env.Setenv("PLAIN", plain)
			for _, pair := range os.Environ() {
				if key, value, _ := strings.Cut(pair, "="); strings.HasPrefix(key, "AWS_") {
					env.Setenv(key, value)
				}
			}
			return nil
		},
	})
}

// configure writes a config file with a server and a shared cache: configure endpoint remote.
func configure(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: configure endpoint remote")
	}
	text := fmt.Sprintf("endpoint: %s\nregion: us-east-1\ncache: {remote: %q, mode: read-only}\n", args[0], args[1])
	ts.Check(os.WriteFile(ts.Getenv("SANDWICH_CONFIG"), []byte(text), 0o666))
}

// upload puts the files of a folder into a bucket: upload dir s3://bucket/prefix.
func upload(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: upload dir s3://bucket/prefix")
	}
	folder := os.DirFS(ts.MkAbs(args[0]))
	store, prefix := openPrefix(ts, args[1])
	ts.Check(fs.WalkDir(folder, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(folder, name)
		if err != nil {
			return err
		}
		return store.Put(context.Background(), prefix+name, blob.Bytes(data))
	}))
}

// remove empties a folder of a bucket: remove s3://bucket/prefix.
func remove(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: remove s3://bucket/prefix")
	}
	store, prefix := openPrefix(ts, args[0])
	for object, err := range store.List(context.Background(), prefix) {
		ts.Check(err)
		ts.Check(store.Delete(context.Background(), object.Key))
	}
}

// openPrefix opens the bucket of an address; names of objects begin with the prefix.
func openPrefix(ts *testscript.TestScript, address string) (store *s3.Store, prefix string) {
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(address, "s3://"), "/")
	store, err := s3.New(context.Background(), bucket, s3.Options{})
	ts.Check(err)
	return store, prefix + "/"
}
