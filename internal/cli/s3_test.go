package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sandwich-build/sandwich/internal/s3test"
)

// TestS3Scripts runs testdata/s3 with a real server.
func TestS3Scripts(t *testing.T) {
	server := s3test.Start(t)
	versioned, plain := server.NewBucket(t, true), server.NewBucket(t, false)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/s3",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE") != "",
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		Setup: func(env *testscript.Env) error {
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
