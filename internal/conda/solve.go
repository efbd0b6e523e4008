package conda

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path"
	"runtime"
	"slices"
	"strings"

	"github.com/sandwich-build/sandwich/internal/conda/archive"
	"github.com/sandwich-build/sandwich/internal/lazyregexp"
	"github.com/sandwich-build/sandwich/internal/sandbox"
)

// solve is a program of Python's that solves with rattler.
//
//go:embed solve.py
var solve string

// Tool is a program that resolves environments.
type Tool struct {
	Name    string // "micromamba", "mamba", "conda" or "py-rattler"
	Path    string // of the program
	Version string
}

// names are the tools by the order in which they are asked: the faster ones first.
var names = []string{"micromamba", "mamba", "conda", pyRattler}

// pyRattler is the tool that is a library of Python's.
const pyRattler = "py-rattler"

// pythons are what its interpreters are called.
var pythons = []string{"python3", "python"}

// probe tells the version of the library.
const probe = "import rattler; from importlib.metadata import version; print(version('py-rattler'))"

// Found is a tool, or why it is none.
type Found struct {
	Tool
	Err error // why it cannot be used; a *sandbox.NotFoundError when it is not installed
}

// Survey tries every tool, by the variables PATH and HOME.
func Survey(ctx context.Context, path, home string) []Found {
	var all []Found
	for _, name := range names {
		t, err := find(ctx, name, path, home)
		all = append(all, Found{t, err})
	}
	return all
}

// NoToolError says that nothing here resolves environments.
type NoToolError struct{ Tried []Found }

func (e *NoToolError) Error() string {
	text := "there is none of " + strings.Join(names, ", ")
	for _, f := range e.Tried {
		if _, absent := errors.AsType[*sandbox.NotFoundError](f.Err); !absent {
			text += fmt.Sprintf("; %s: %v", f.Name, f.Err)
		}
	}
	return text
}

// Find returns the tool that answers first. The error is a *NoToolError.
func Find(ctx context.Context, path, home string) (Tool, error) {
	var tried []Found
	for _, name := range names {
		t, err := find(ctx, name, path, home)
		if err == nil {
			return t, nil
		}
		if ctx.Err() != nil {
			return t, context.Cause(ctx)
		}
		tried = append(tried, Found{t, err})
	}
	return Tool{}, &NoToolError{tried}
}

func find(ctx context.Context, name, path, home string) (t Tool, err error) {
	t.Name = name
	programs, args := []string{name}, []string{"--version"}
	if name == pyRattler {
		programs, args = pythons, []string{"-c", probe}
	}
	var said []byte
	for _, program := range programs {
		if t.Path, _, err = sandbox.Program(program, path, home); err != nil {
			continue
		}
		if said, err = output(ctx, t.Path, nil, args...); err == nil {
			break
		}
		if name == pyRattler { // a Python that does not have it
			err = &sandbox.NotFoundError{Program: name, Path: path}
		}
	}
	if err != nil {
		return t, err
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(said)), "\n")
	words := strings.Fields(first)
	if len(words) == 0 {
		return t, fmt.Errorf("%s does not say its version", t.Path)
	}
	t.Version = words[len(words)-1] // mamba and conda say their names before
	return t, nil
}

// output runs a program with more variables than those of this process, and returns what it prints, even when
// it fails.
func output(ctx context.Context, program string, env []string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = "/" // Python would import what lies in the folder that it starts in
	cmd.Env = append(os.Environ(), env...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return out, fmt.Errorf("%w: %s", err, lastLine(said.String()))
	}
	return out, nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// platforms are what conda calls the machines whose packages can be run at a place of one's choice.
var platforms = map[string]string{
	"linux/amd64": "linux-64", "linux/arm64": "linux-aarch64", "linux/ppc64le": "linux-ppc64le", "linux/s390x": "linux-s390x", "linux/riscv64": "linux-riscv64",
}

// ErrPlatform says that packages of conda's cannot be run on a machine.
var ErrPlatform = errors.New("an environment of conda's is made for one folder, which only Linux gives to a program alone")

// Platform is what conda calls this machine; an ErrPlatform where stages cannot run its packages.
func Platform() (string, error) {
	if p, ok := platforms[runtime.GOOS+"/"+runtime.GOARCH]; ok {
		return p, nil
	}
	return "", ErrPlatform
}

// Package is one of the packages that an environment comes to.
type Package struct {
	URL    string // without credentials
	SHA256 []byte // nil when the channel does not tell
	MD5    []byte // as above
	Size   int64  // bytes; 0 when the channel does not tell
}

// FileName returns the name of the file that a package's URL has, which is a package's.
func FileName(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", err
	}
	file := path.Base(u.Path)
	_, err = archive.ParseName(file)
	return file, err
}

// SolveError says that a tool has found no packages for an environment, in its own words.
type SolveError struct {
	Tool    string
	Message string // of one line or more
}

func (e *SolveError) Error() string {
	first, _, _ := strings.Cut(e.Message, "\n")
	return e.Tool + ": " + first
}

// Details are the further lines of the message.
func (e *SolveError) Details() []string {
	_, rest, _ := strings.Cut(e.Message, "\n")
	var lines []string
	for line := range strings.Lines(rest) {
		if line = strings.TrimRight(line, " \r\n"); strings.TrimSpace(line) != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// Solve returns the packages for a platform that an environment comes to now, sorted by URL. Channels that are
// folders are relative to dir. cache is a folder, which need not exist, for what conda and mamba keep of
// channels: one in which they find no packages, because they tell only of those that they lack where these are.
func (t Tool) Solve(ctx context.Context, e *Environment, platform, dir, cache string) ([]Package, error) {
	channels := absolute(e.Channels, dir)
	var args []string
	env := []string{"CONDA_SUBDIR=" + platform}
	if t.Name == pyRattler {
		asked, err := json.Marshal(map[string][]string{"channels": channels, "specs": e.Specs})
		if err != nil {
			return nil, err
		}
		args = []string{"-c", solve, platform, string(asked)}
	} else {
		args = []string{"create", "--dry-run", "--json", "--yes", "--override-channels", "--prefix", path.Join(cache, "none")}
		for _, c := range channels {
			args = append(args, "--channel", c)
		}
		args = append(args, e.Specs...)
		env = append(env, "CONDA_PKGS_DIRS="+cache)
	}
	out, err := output(ctx, t.Path, env, args...)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	found, parseErr := parse(t.Name, out)
	if failed, told := errors.AsType[*SolveError](parseErr); told {
		return nil, failed
	}
	if err != nil {
		return nil, &SolveError{Tool: t.Name, Message: err.Error()}
	}
	return found, parseErr
}

// answer is what of conda's JSON counts here. mamba's and micromamba's has the same form.
type answer struct {
	Success *bool `json:"success"`
	Actions struct {
		Fetch []record `json:"FETCH"`
		Link  []record `json:"LINK"` // of conda without URLs
	} `json:"actions"`
	Message  string   `json:"message"` // of a failure, as are the next
	Error    string   `json:"error"`
	Problems []string `json:"solver_problems"`
}

type record struct {
	Name   string `json:"name"`
	URL    string `json:"url"`
	SHA256 string `json:"sha256"`
	MD5    string `json:"md5"`
	Size   int64  `json:"size"`
}

// parse reads what a tool has answered.
func parse(tool string, text []byte) ([]Package, error) {
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		return nil, fmt.Errorf("%s's answer: %w", tool, err)
	}
	if a.Success == nil || !*a.Success {
		message := a.Message
		for _, other := range []string{a.Error, strings.Join(a.Problems, "\n"), "it says nothing of why"} {
			if strings.TrimSpace(message) == "" {
				message = other
			}
		}
		return nil, &SolveError{tool, strings.TrimSpace(message)}
	}
	byName := make(map[string]record)
	for _, r := range slices.Concat(a.Actions.Link, a.Actions.Fetch) {
		if r.URL != "" || byName[r.Name].Name == "" {
			byName[r.Name] = r
		}
	}
	all := make([]Package, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		p, err := byName[name].pinned()
		if err != nil {
			return nil, fmt.Errorf("%s's answer: %s: %w", tool, name, err)
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b Package) int { return strings.Compare(a.URL, b.URL) })
	return all, nil
}

// token is what anaconda.org has in URLs in the place of a password.
var token = lazyregexp.New(`^/t/[^/]+/`)

func (r record) pinned() (Package, error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return Package{}, err
	}
	u.User, u.Fragment = nil, ""
	u.Path, u.RawPath = token.ReplaceAllString(u.Path, "/"), token.ReplaceAllString(u.RawPath, "/")
	p := Package{URL: u.String(), Size: max(r.Size, 0)}
	if _, err := FileName(p.URL); err != nil {
		return p, err
	}
	if p.SHA256, err = sum(r.SHA256, 32); err != nil {
		return p, err
	}
	p.MD5, err = sum(r.MD5, 16)
	return p, err
}

func sum(text string, size int) ([]byte, error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != 0 && len(raw) != size {
		return nil, fmt.Errorf("want a sum of %d bytes, got %q", size, text)
	}
	if len(raw) == 0 {
		return nil, nil
	}
	return raw, nil
}
