package cli

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the scripts run the test binary as the command sandwich, and as the browser that
// programs open.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"sandwich": func() {
			os.Exit(Main(context.Background(), Process{Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}))
		},
		"xdg-open": visit,
	})
}

// TestScripts runs testdata/script, which specifies the command line. UPDATE=1 accepts
// the output as it is now.
func TestScripts(t *testing.T) {
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	photos, err := filepath.Glob(examples + "/quickstart/mirror/farm1.staticflickr.com/*/*_o.jpg")
	if err != nil || len(photos) == 0 {
		t.Fatalf("no photos in %s: %v", examples, err)
	}
	images := makeImages(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE") != "",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "push": push, "tinymodel": tinyModel, "picture": picture, "damage": damage, "damagepack": damagePack, "flip": flip, "hold": hold, "mislay": mislay, "images": images.serve, "torchimage": torchImage, "index": serveWheels, "engines": engines, "channel": servePackages,
		},
		Condition: condition,
		Setup: func(env *testscript.Env) error {
			env.Setenv("EXAMPLES", examples)
			env.Setenv("PHOTO", photos[0])
			env.Setenv("IMAGES", images.dir)
			env.Setenv("IMAGE_REGISTRY", images.host)
			env.Setenv("DEBIAN", os.Getenv("SANDWICH_TORCH")) // a tarball
			startIndex(env)
			startChannel(env)
			env.Setenv("SANDWICH_CACHE", env.WorkDir+"/cache")
			env.Setenv("CI", "")
			return nil
		},
	})
}

// exits runs a command that must end with an exit code: exits 3 sandwich check.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code command [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}
