package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sandwich-build/sandwich/internal/cli"
)

// step is a command of the README and the output that the README promises.
type step struct {
	command string
	want    []string
}

// session returns the commands of the README's console blocks, in order.
func session(t *testing.T) []step {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var steps []step
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for line := range strings.Lines(block[1]) {
			line = strings.TrimSuffix(line, "\n")
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				steps = append(steps, step{command: command})
				continue
			}
			last := &steps[len(steps)-1]
			last.want = append(last.want, line)
		}
	}
	if len(steps) == 0 {
		t.Fatal("README.md has no session")
	}
	return steps
}

// pattern is the output that a step promises, as a regular expression: "…" is any text
// on a line, a line "..." any number of lines.
func (s step) pattern() *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`\A`)
	for _, line := range s.want {
		if line == "..." {
			b.WriteString(`(?:.*\n)*?`)
			continue
		}
		parts := strings.Split(line, "…")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		b.WriteString(strings.Join(parts, ".*") + `\n`)
	}
	b.WriteString(`\z`)
	return regexp.MustCompile(b.String())
}

// TestReadmeSession runs the README's session in a copy of the quickstart.
func TestReadmeSession(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the quickstart")
	}
	steps := session(t)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../examples/quickstart")); err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{"registry", "manifest.lock"} {
		if err := os.RemoveAll(filepath.Join(dir, left)); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	env := map[string]string{"SANDWICH_CACHE": t.TempDir(), "PATH": os.Getenv("PATH")}
	for _, s := range steps {
		out := transcript(t.Context(), s.command, env)
		if !s.pattern().MatchString(out) {
			t.Fatalf("$ %s\n%s\nthe README has\n%s", s.command, out, strings.Join(s.want, "\n"))
		}
	}
}

// transcript runs one command: sandwich in this process, anything else by the shell. It
// returns what a person sees.
func transcript(ctx context.Context, command string, env map[string]string) string {
	var story, answer bytes.Buffer
	args, ours := strings.CutPrefix(command, "sandwich ")
	if !ours {
		cmd := exec.CommandContext(ctx, "sh", "-c", command)
		cmd.Stdout, cmd.Stderr = &answer, &story
		if err := cmd.Run(); err != nil {
			story.WriteString(err.Error() + "\n")
		}
		return story.String() + answer.String()
	}
	cli.Main(ctx, cli.Process{
		Args: strings.Fields(args), Stdout: &answer, Stderr: &story,
		Getenv: func(name string) string { return env[name] },
	})
	return story.String() + answer.String()
}
