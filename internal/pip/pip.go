// Package pip asks the real pip which wheels a file of requirements comes to.
//
// Everything that pip knows of (an index and credentials in its settings, hashes and constraints in
// the file, markers and tags of the interpreter) counts as it does for `pip install`. Nothing is
// installed, and no package is built: that would run code of the network's outside of any sandbox.
package pip

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/sandwich-build/sandwich/internal/wheel"
)

// Run runs a program to its end, on this machine or in an image.
type Run func(ctx context.Context, args []string, stdout, stderr io.Writer) error

// Interpreter is a Python that packages are installed for.
type Interpreter struct {
	Executable string `json:"executable"` // absolute, links followed
	Version    string `json:"version"`    // "cpython 3.12.3"
	ABI        string `json:"abi"`        // what decides which wheels fit: "cpython-312-x86_64-linux-gnu"
	Site       string `json:"site"`       // where it looks for packages, in the folder of an environment: "lib/python3.12/site-packages"
	Pip        string `json:"pip"`        // the version of its pip; empty when it has none
}

// probe is a program that describes the interpreter that runs it.
const probe = `
import json, os, sys, sysconfig
try:
    from importlib.metadata import version
    pip = version("pip")
except Exception:
    pip = ""
name = sys.implementation.name
number = ".".join(map(str, sys.version_info[:3]))
abi = sysconfig.get_config_var("SOABI") or "%s-%s-%s" % (name, number, sysconfig.get_platform())
scheme = "venv" if "venv" in sysconfig.get_scheme_names() else "posix_prefix"
site = sysconfig.get_path("purelib", scheme, vars={"base": "", "installed_base": ""})
print(json.dumps({
    "executable": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "version": name + " " + number, "abi": abi, "site": site.strip("/"), "pip": pip,
}))
`

// ProbeError says that a program is no Python that can be used.
type ProbeError struct {
	Program string
	Err     error
	Said    string // its last line
}

func (e *ProbeError) Error() string {
	text := fmt.Sprintf("ask %s for its version: %v", e.Program, e.Err)
	if e.Said != "" {
		text += ": " + e.Said
	}
	return text
}

// Unwrap returns the cause.
func (e *ProbeError) Unwrap() error { return e.Err }

// Probe asks an interpreter what it is.
func Probe(ctx context.Context, run Run, program string) (Interpreter, error) {
	var out, said bytes.Buffer
	if err := run(ctx, []string{program, "-I", "-c", probe}, &out, &said); err != nil {
		if ctx.Err() != nil {
			return Interpreter{}, err
		}
		return Interpreter{}, &ProbeError{program, err, lastLine(said.String())}
	}
	i, err := parseProbe(out.Bytes())
	if err != nil {
		return Interpreter{}, &ProbeError{Program: program, Err: err}
	}
	return i, nil
}

func parseProbe(text []byte) (Interpreter, error) {
	var i Interpreter
	if err := json.Unmarshal(text, &i); err != nil {
		return i, err
	}
	if !path.IsAbs(i.Executable) || i.Version == "" || i.ABI == "" || !fs.ValidPath(i.Site) || i.Site == "." {
		return i, fmt.Errorf("it says %+v", i)
	}
	return i, nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// oldest is the version of pip that first tells in JSON what it would install.
var oldest = [2]int{22, 2}

// NoPipError says that an interpreter has no pip, or one that is too old.
type NoPipError struct{ Version, Has string } // Has is empty when there is none

func (e *NoPipError) Error() string {
	if e.Has == "" {
		return fmt.Sprintf("%s has no pip", e.Version)
	}
	return fmt.Sprintf("%s has pip %s, and resolving needs %d.%d or later", e.Version, e.Has, oldest[0], oldest[1])
}

// CheckPip says whether the interpreter has a pip that can resolve: a *NoPipError when not.
func (i Interpreter) CheckPip() error {
	words := append(strings.SplitN(i.Pip, ".", 3), "0")
	major, err := strconv.Atoi(words[0])
	minor, _ := strconv.Atoi(words[1]) // "0rc1" is early enough
	if err != nil || slices.Compare([]int{major, minor}, oldest[:]) < 0 {
		return &NoPipError{i.Version, i.Pip}
	}
	return nil
}

// Wheel is one of the wheels that requirements come to.
type Wheel struct {
	URL    string
	SHA256 []byte // nil when the index does not tell
}

// File is the name of the wheel's file: the last part of the URL's path. It is a wheel's name.
func (w Wheel) File() (string, error) { return FileName(w.URL) }

// FileName returns the name of the file that a wheel's URL has.
func FileName(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", err
	}
	file := path.Base(u.Path)
	_, err = wheel.ParseName(file)
	return file, err
}

// ResolveError says that pip has found no wheels for the requirements, in its own words.
type ResolveError struct {
	Errors  []string // that it printed, each once
	Details []string // what it met on the way: pages that it could not fetch, wheels that do not fit
	Err     error
}

func (e *ResolveError) Error() string {
	if len(e.Errors) == 0 {
		return "pip: " + e.Err.Error()
	}
	return "pip: " + e.Errors[0]
}

// Unwrap returns the cause.
func (e *ResolveError) Unwrap() error { return e.Err }

// Resolve returns the wheels for an interpreter that the requirements in a file, and all that they
// require, come to now, sorted by URL. With installed, what is installed for the interpreter is there, and
// those wheels are returned that it lacks.
func Resolve(ctx context.Context, run Run, program, file string, installed bool) ([]Wheel, error) {
	args := []string{
		program, "-m", "pip", "install", "--dry-run", "--only-binary", ":all:", "--no-input",
		"--disable-pip-version-check", "--no-color", "-r", file,
	}
	if !installed {
		args = append(args, "--ignore-installed")
	}
	var out, said bytes.Buffer
	err := run(ctx, append(args, "--quiet", "--report", "-"), &out, &said)
	if err == nil {
		return parseReport(out.Bytes())
	}
	if ctx.Err() != nil {
		return nil, err
	}
	failed := &ResolveError{Errors: marked(said.String(), "ERROR: "), Err: err}
	// It says that it has found nothing. Why, it tells only who asks for all that it does.
	var told bytes.Buffer
	if err := run(ctx, append(args, "-vv"), &told, &told); err != nil && ctx.Err() != nil {
		return nil, err
	}
	failed.Details = append(marked(told.String(), "Could not fetch URL "), last(marked(told.String(), "Skipping link: "), maxSkipped)...)
	return nil, failed
}

// maxSkipped is how many of the files that did not fit are told: the last ones, which are the newest.
const maxSkipped = 3

func last(lines []string, n int) []string { return lines[max(len(lines)-n, 0):] }

// noFile is what it tells of each page of an index.
const noFile = "Skipping link: not a file"

// marked are the lines that begin with a mark, each once: without it where it says how bad they are.
func marked(said, mark string) []string {
	var lines []string
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, mark) || strings.HasPrefix(line, noFile) {
			continue
		}
		if line = strings.TrimPrefix(line, "ERROR: "); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// report is what of pip's report counts here.
type report struct {
	Version string `json:"version"`
	Install []struct {
		Download struct {
			URL     string `json:"url"`
			Archive *struct {
				Hash   string            `json:"hash"`
				Hashes map[string]string `json:"hashes"`
			} `json:"archive_info"`
		} `json:"download_info"`
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
	} `json:"install"`
}

// NoWheelError says that a requirement is met by something else than a wheel.
type NoWheelError struct{ Requirement, URL string }

func (e *NoWheelError) Error() string {
	return fmt.Sprintf("%s is at %s, which is no wheel", e.Requirement, e.URL)
}

func parseReport(text []byte) ([]Wheel, error) {
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("pip's report: %w", err)
	}
	if major, _, _ := strings.Cut(r.Version, "."); major != "1" && major != "0" {
		return nil, fmt.Errorf("pip's report has the version %q, want 1", r.Version)
	}
	var wheels []Wheel
	for _, x := range r.Install {
		w := Wheel{URL: x.Download.URL}
		if _, err := w.File(); err != nil || x.Download.Archive == nil {
			return nil, &NoWheelError{x.Metadata.Name, x.Download.URL}
		}
		sum := x.Download.Archive.Hashes["sha256"]
		if old, ok := strings.CutPrefix(x.Download.Archive.Hash, "sha256="); ok && sum == "" { // of pip before 23
			sum = old
		}
		if sum != "" {
			raw, err := hex.DecodeString(sum)
			if err != nil || len(raw) != 32 {
				return nil, fmt.Errorf("pip's report: want a SHA-256 of %s, got %q", w.URL, sum)
			}
			w.SHA256 = raw
		}
		wheels = append(wheels, w)
	}
	slices.SortFunc(wheels, func(a, b Wheel) int { return strings.Compare(a.URL, b.URL) })
	for i := 1; i < len(wheels); i++ {
		if wheels[i].URL == wheels[i-1].URL {
			return nil, errors.New("pip's report has " + wheels[i].URL + " twice")
		}
	}
	return wheels, nil
}
