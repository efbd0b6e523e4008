package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sandwich-build/sandwich/internal/s3test"
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
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "configure": configure},
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
