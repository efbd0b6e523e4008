// Package sandbox runs a program and keeps it to what it was given: it sees the folders that
// are mounted, writes where it may, and has no network unless it is allowed to.
//
// How that is done depends on what the machine has (see Find). What a program computes must
// not depend on it, so a Runner is never part of a key.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// Mount makes a folder or a file of this machine part of what a program sees.
type Mount struct {
	From     string // absolute path here
	To       string // absolute path there
	Writable bool
}

// Image is a system to run in, other than that of this machine: layers of files, each laid over those
// below it.
type Image interface {
	// Unpack returns the folder of all its files, with the MountPoints, which stays until release is
	// called.
	Unpack(ctx context.Context) (dir string, release func() error, err error)
	// Layers are the digests of the layers, as archives that are not compressed, the lowest first.
	Layers() []digest.Digest
	// Open opens the archive of a layer, which may be compressed with gzip, and tells its size so.
	Open(ctx context.Context, layer int) (io.ReadCloser, int64, error)
}

// Process is a program to run.
type Process struct {
	Image   Image // the system that it runs in, read-only; nil for the system folders of this machine
	Args    []string
	Env     []string // all that it gets, as KEY=value
	Dir     string   // the folder that it starts in, as it sees it
	Mounts  []Mount  // folders before what lies in them
	Network bool
	CPU     int   // cores; 0 for all
	Memory  int64 // bytes; 0 for no bound
	// Stdin is what it reads, and no terminal; nil for nothing. It need not read it to the end. A read that waits
	// when the program ends is not waited for, and who writes what is read has to end it, as of io.Pipe. While input
	// still comes when the program ends, Podman may not pass on what that has said.
	Stdin io.Reader
	// Stdout and Stderr take what it prints, all that it has printed when it ends; nil for nowhere. An error of
	// theirs is one of a program that has ended well otherwise.
	Stdout, Stderr io.Writer
}

// unpack unpacks the image of a process, if it has one.
func (p Process) unpack(ctx context.Context) (dir string, release func() error, err error) {
	if p.Image == nil {
		return "", func() error { return nil }, nil
	}
	return p.Image.Unpack(ctx)
}

// Enforced says what a Runner keeps a program to.
type Enforced struct {
	Reads   bool // files that are not mounted cannot be read
	Writes  bool // nothing can be written but what is mounted writable
	Network bool // there is no network unless it is allowed
	CPU     bool // it has no more cores than it may
	Memory  bool // it is ended when it takes more memory than it may
}

// Lacks lists what is not enforced of what a process asks for, in words.
func (e Enforced) Lacks(p Process) []string {
	var words []string
	for _, x := range []struct {
		missing bool
		word    string
	}{
		{!e.Reads, "undeclared reads"}, {!e.Writes, "undeclared writes"}, {!e.Network && !p.Network, "the network"},
		{!e.CPU && p.CPU > 0, "its limit of cores"}, {!e.Memory && p.Memory > 0, "its limit of memory"},
	} {
		if x.missing {
			words = append(words, x.word)
		}
	}
	return words
}

// Runner runs programs in one way.
type Runner interface {
	// Name is the program that does it, such as "bubblewrap".
	Name() string
	// Enforced says what it keeps a program to.
	Enforced() Enforced
	// Run runs a program to its end. When the context ends, the program and all that it
	// started are killed within a second. An *ExitError says that the program failed, an
	// *InputError that its input did, any other error that it could not be run.
	Run(ctx context.Context, p Process) error
}

// ExitError says how a program failed.
type ExitError struct {
	Code   int    // its exit code; -1 when a signal ended it
	Signal string // the signal
}

func (e *ExitError) Error() string {
	if e.Signal != "" {
		return "ended by the signal " + e.Signal
	}
	if e.Code == killed {
		return fmt.Sprintf("exit code %d: it was killed, as when it takes more memory than it may", e.Code)
	}
	return fmt.Sprintf("exit code %d", e.Code)
}

// killed is the exit code of a container whose first process was ended by SIGKILL.
const killed = 128 + 9

// killAfter is how long a program may tidy up after the context has ended.
const killAfter = 500 * time.Millisecond

// execute runs a program of this machine in a process group of its own. end, which may be
// nil, ends what the group does not hold, such as a container.
func execute(ctx context.Context, args, env []string, dir string, p Process, end func()) error {
	cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // the whole group is ended below, not the first process alone
	cmd.Env, cmd.Dir = env, dir
	apart(cmd)
	in, out := &input{from: p.Stdin}, new(outputs)
	err := out.of(cmd, p.Stdout, p.Stderr)
	if err == nil {
		err = in.of(cmd)
	}
	if err == nil {
		err = cmd.Start()
	}
	out.start()
	if err != nil {
		return err
	}
	in.start()
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		terminate(cmd)
		select {
		case <-done:
		case <-time.After(killAfter):
		}
		if end != nil {
			end()
		}
		kill(cmd)
	}()
	err = cmd.Wait()
	close(done)
	<-ended
	kill(cmd) // what it has left running
	untaken := out.wait(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := in.problem(); err != nil {
		return err
	}
	if err == nil {
		return untaken
	}
	return exitError(err)
}

// exitError makes an *ExitError of the end of a program.
func exitError(err error) error {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return err
	}
	e := &ExitError{Code: exit.ExitCode()}
	if e.Code < 0 {
		e.Signal = strings.TrimPrefix(exit.ProcessState.String(), "signal: ")
	}
	return e
}

// systemFolders are what a program of this machine needs besides itself: libraries, and what
// they look up.
var systemFolders = []string{
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store", "/gnu/store",
	"/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/etc/fonts",
	"/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/protocols", "/etc/services",
	"/etc/java-11-openjdk", "/etc/R",
}

// MountPoints are the folders and files that an Image must have once it is unpacked, since it cannot be
// written to.
func MountPoints() (folders, files []string) {
	return []string{"/proc", "/dev"}, networkFiles
}

// networkFiles are what finding a host needs.
var networkFiles = []string{"/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf"}

// system are the folders of this machine that a process without an Image sees.
func system(network bool) []Mount {
	var mounts []Mount
	for _, name := range slices.Concat(systemFolders, map[bool][]string{true: networkFiles}[network]) {
		if _, err := os.Stat(name); err == nil {
			mounts = append(mounts, Mount{From: name, To: name})
		}
	}
	return mounts
}

// Program finds a program of this machine by its name, as a shell would, and the folders
// that it needs mounted besides those of the system: where it lies, and where what it
// links to lies.
func Program(name, path, home string) (program string, mounts []Mount, err error) {
	if program, err = lookUp(name, path); err != nil {
		return "", nil, err
	}
	real, err := filepath.EvalSymlinks(program)
	if err != nil {
		return "", nil, err
	}
	for _, file := range []string{program, real} {
		if folder := prefix(file, home); !slices.ContainsFunc(mounts, func(m Mount) bool { return within(folder, m.From) }) && !isSystem(folder) {
			mounts = append(mounts, Mount{From: folder, To: folder})
		}
	}
	return program, mounts, nil
}

// NotFoundError says that there is no program of a name.
type NotFoundError struct{ Program, Path string }

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("there is no program %s on the path %s", e.Program, e.Path)
}

func lookUp(name, path string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); filepath.IsAbs(dir) && err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", &NotFoundError{name, path}
}

// prefix is the folder that a program was installed into: /opt/conda of
// /opt/conda/bin/python. It is never the home folder or one above it.
func prefix(program, home string) string {
	dir := filepath.Dir(program)
	up := filepath.Dir(dir)
	if up == "/" || home != "" && within(home, up) {
		return dir
	}
	switch filepath.Base(dir) {
	case "bin", "sbin", "shims", "Scripts":
		return up
	}
	return dir
}

func isSystem(folder string) bool {
	return slices.ContainsFunc(systemFolders, func(s string) bool { return within(folder, s) })
}

// within says whether a path is outer or lies below it.
func within(path, outer string) bool {
	return path == outer || strings.HasPrefix(path, strings.TrimSuffix(outer, "/")+"/")
}

// native runs a program as it is, in the folders themselves. It enforces nothing.
type native struct{ why string }

// Native returns the Runner that enforces nothing, for machines that have no other. Mounts
// are where they come from: a process that names their other place does not find it.
func Native() Runner { return native{"there is no sandbox"} }

func (native) Name() string { return "no sandbox" }

func (native) Enforced() Enforced { return Enforced{} }

func (n native) Run(ctx context.Context, p Process) error {
	if p.Image != nil {
		return &NoRunnerError{n.why}
	}
	dir, err := p.here(p.Dir)
	if err != nil {
		return err
	}
	args := slices.Clone(p.Args)
	if strings.Contains(args[0], "/") && !filepath.IsAbs(args[0]) {
		args[0] = filepath.Join(dir, args[0]) // or it would be looked for from where this process is
	}
	env := slices.Clone(p.Env)
	for i, v := range env {
		key, value, _ := strings.Cut(v, "=")
		if place, err := p.here(value); err == nil {
			env[i] = key + "=" + place
		}
	}
	return execute(ctx, args, env, dir, p, nil)
}

// here returns where a path of the process is on this machine.
func (p Process) here(path string) (string, error) {
	for _, m := range slices.Backward(p.Mounts) {
		if within(path, m.To) {
			return filepath.Join(m.From, strings.TrimPrefix(path, m.To)), nil
		}
	}
	return "", &fs.PathError{Op: "mount", Path: path, Err: fs.ErrNotExist}
}
