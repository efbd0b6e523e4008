package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/internal/gitcode"
	"github.com/sandwich-build/sandwich/internal/pin"
	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/folder"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/crop"
	"github.com/sandwich-build/sandwich/stages/download"
	selection "github.com/sandwich-build/sandwich/stages/select"
)

func TestDiagnose(t *testing.T) {
	in := func(stage string, err error) error { return &stages.StageError{Stage: stage, Err: err} }
	for _, test := range []struct {
		name string
		err  error
		code int
		told string // part of message, items, faults or hint
	}{
		{"nothing", nil, 0, ""},
		{"something", errors.New("disk on fire"), 1, "disk on fire"},
		{"a stage", in("train", errors.New("loss is NaN")), 1, "train: loss is NaN"},
		{"usage", usagef("try that", "what is this"), 2, "try that"},
		{"faults", fmt.Errorf("open: %w", &manifest.Faults{{File: "m.yaml", Line: 1, Column: 2, Message: "bad"}}), 3, "m.yaml:1:2: bad"},
		{"no manifest", unreadable("m.yaml", &fs.PathError{Op: "open", Path: "m.yaml", Err: fs.ErrNotExist}), 3, "sandwich init"},
		{"no boxes", in("select", &selection.NoBoxesError{Classes: []string{"Ham"}}), 3, "too strict"},
		{"drift", &pipeline.DriftError{Path: "m.lock", Changes: []string{"photo missing: 0a"}}, 4, "photo missing: 0a"},
		{"no lock", fmt.Errorf("open: %w", &lock.FormatError{File: "m.lock", Line: 3, Message: "markers", Hint: "merge it"}), 4, "merge it"},
		{"registry", &registryError{errors.New("permission denied")}, 5, "permission denied"},
		{"no package", &registry.NotFoundError{Ref: registry.Ref{Name: "a/b"}, Registry: "file:///r"}, 5, "a/b is not in file:///r"},
		{"race", in("push", &registry.ConflictError{Name: "a/b"}), 5, "push again"},
		{"damage", &registry.DamageError{Object: "x", Err: errors.New("short")}, 5, "x is damaged"},
		{"push", &pipeline.RegistryError{Err: &registry.UnsupportedError{Scheme: "gs"}}, 5, "s3://bucket"},
		{"foreign", &folder.ForeignError{Dest: "d", Files: []string{"mine"}}, 5, "mine"},
		{"differs", &differsError{pkg: "a/b@1"}, 5, "a/b@1 is damaged"},
		{"strict", &incompleteError{dead: 1200}, 7, "1,200 dead"},
		{"lost", in("crop", &crop.LostLabelsError{Labels: []string{"Ham"}}), 7, "Ham"},
		{"dirty", in("code", &gitcode.DirtyError{Dir: ".", Paths: []string{"a.go"}}), 1, "--allow-dirty"},
		{"gone", in("download", &download.FailedError{Failures: []download.Failure{{Err: &fetch.StatusError{Code: 404}}}}), 1, "sandwich lock"},
		{"offline", in("download", &pin.UnreachableError{Offline: true, First: errors.New("no route")}), 1, "run the command again"},
		{"no answer", &fetch.Error{URL: "http://a", Err: &fetch.NoAnswerError{Err: errors.New("no such host")}}, 1, "mirrors"},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, problem := diagnose(context.Background(), test.err)
			if code != test.code || (problem == nil) != (test.err == nil) {
				t.Fatalf("diagnose = %d, %+v, want %d", code, problem, test.code)
			}
			if problem == nil {
				return
			}
			told := problem.Message + "\n" + strings.Join(problem.Items, "\n") + "\n" + problem.Hint
			for _, f := range problem.Faults {
				told += "\n" + f.String()
			}
			if !strings.Contains(told, test.told) {
				t.Errorf("%q does not tell %q", told, test.told)
			}
		})
	}
}

func TestInterruptedGoesBeforeEverything(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	code, problem := diagnose(ctx, &stages.StageError{Stage: "train", Err: usagef("", "x")})
	if code != 130 || problem.Message != "interrupted in train" {
		t.Errorf("diagnose = %d, %+v", code, problem)
	}
	if code, _ := diagnose(ctx, nil); code != 0 {
		t.Errorf("a command that ended well has exit code %d", code)
	}
}

func TestExitTopicNamesEveryCode(t *testing.T) {
	documented := map[int]bool{}
	for _, m := range regexp.MustCompile(`(?m)^ +(\d+)  `).FindAllStringSubmatch(exitTopic, -1) {
		code, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		documented[code] = true
	}
	codes := []int{exitOK, exitFailed, exitUsage, exitManifest, exitLock, exitRegistry, exitDiffers, exitIncomplete, exitInterrupted}
	for _, code := range codes {
		if !documented[code] {
			t.Errorf("exit code %d is not documented", code)
		}
	}
	if len(documented) != len(codes) {
		t.Errorf("%d codes are documented, there are %d", len(documented), len(codes))
	}
}
