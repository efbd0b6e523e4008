package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/sandwich-build/sandwich/bench/peak"
)

// step is a row of the table.
type step string

const (
	version  step = "process start"
	ingest   step = "ingest"
	again    step = "no-op"
	change   step = "one file changed"
	key      step = "key computation"
	checkout step = "checkout"
)

// steps are in the order in which they are done.
var steps = []step{version, ingest, again, change, key, checkout}

// place is where a tool works: all of it below work.
type place struct {
	work string
	n    int // files
}

func (p place) src() string               { return filepath.Join(p.work, "src") }
func (p place) dest() string              { return filepath.Join(p.work, "dest") }
func (p place) own(name ...string) string { return filepath.Join(append([]string{p.work}, name...)...) }

// tool is one of those that are compared. A step that it has no equivalent of is left out.
type tool struct {
	name    string
	program string
	env     func(p place) []string
	dir     func(p place) string             // to run in; the work folder unless set
	prepare map[step]func(p place) error     // is not measured
	steps   map[step]func(p place) []command // is
}

// command is a process of a step.
type command struct {
	args  []string // of the program, without its name
	stdin string
}

func run(args ...string) command { return command{args: args} }

// take runs the commands of a step, one behind the other.
func (t tool) take(ctx context.Context, s step, p place) (cost, error) {
	var c cost
	commands := t.steps[s](p)
	start := time.Now()
	for _, one := range commands {
		cmd := exec.CommandContext(ctx, t.program, one.args...)
		cmd.Dir = p.work
		if t.dir != nil {
			cmd.Dir = t.dir(p)
		}
		cmd.Env = os.Environ()
		if t.env != nil {
			cmd.Env = append(cmd.Env, t.env(p)...)
		}
		if one.stdin != "" {
			cmd.Stdin = strings.NewReader(one.stdin)
		}
		var errs bytes.Buffer
		cmd.Stderr = &errs
		if err := cmd.Run(); err != nil {
			return cost{}, fmt.Errorf("%s %s: %w\n%s", t.name, strings.Join(one.args, " "), err, errs.Bytes())
		}
		c.memory = max(c.memory, peak.Memory(cmd.ProcessState))
	}
	c.time = time.Since(start)
	return c, nil
}
