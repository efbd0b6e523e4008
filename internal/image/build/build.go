// Package build builds images of Dockerfiles with the programs that do: Podman, Buildah or Docker.
//
// What they come to is not the same bytes twice, as a rule: a Dockerfile that installs packages
// installs those of the day. So an image is built once and pinned by its digest, and built again when
// what it is built from is another (see Context).
package build

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// tool is a program that builds images.
type tool struct {
	name string
	ask  []string // arguments to which it answers with a version if it could build
	same []string // arguments of a build that keep the time of it out of the image
	save func(id, out string) []string
}

// noTimes has files and history of 1970.
var noTimes = []string{"--timestamp", "0"}

// tools are in the order of preference: those without a daemon come first.
var tools = []tool{
	{"podman", []string{"info", "--format", "{{.Version.Version}}"}, noTimes, func(id, out string) []string {
		return []string{"save", "--quiet", "--format", "oci-archive", "--output", out, id}
	}},
	{"buildah", []string{"--version"}, noTimes, func(id, out string) []string {
		return []string{"push", "--quiet", id, "oci-archive:" + out}
	}},
	{"docker", []string{"version", "--format", "{{.Server.Version}}"}, nil, func(id, out string) []string {
		return []string{"save", "--output", out, id}
	}},
}

// answerWithin is how long a tool may take to answer. A daemon that hangs takes for ever.
const answerWithin = 10 * time.Second

// Found is a program that builds images, or why it is none.
type Found struct {
	Name    string
	Path    string // empty when it is not installed
	Version string
	Err     error // why it cannot build, such as a daemon that does not answer
}

// Survey asks every program that builds images whether it is there and answers.
func Survey(ctx context.Context) []Found {
	all := make([]Found, len(tools))
	for i, t := range tools {
		all[i] = t.look(ctx)
	}
	return all
}

func (t tool) look(ctx context.Context) Found {
	f := Found{Name: t.name}
	if f.Path, f.Err = exec.LookPath(t.name); f.Err != nil {
		f.Path, f.Err = "", fmt.Errorf("%s is not installed", t.name)
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	var said, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, f.Path, t.ask...)
	cmd.Stdout, cmd.Stderr = &said, &complaint
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		f.Err = fmt.Errorf("%s does not answer: %s", t.name, lastLine(complaint.String(), err))
		return f
	}
	f.Version = strings.TrimSpace(said.String())
	return f
}

// lastLine is what a program has said last, or else how it ended.
func lastLine(said string, err error) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		return last
	}
	return err.Error()
}
