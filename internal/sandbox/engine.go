package sandbox

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// engine runs programs with Docker or Podman, which take the same arguments, as far as not said
// otherwise in a dialect. What they bring of their own into a container is covered, so that a program
// sees what it sees with the other runners; what cannot be is in manifest/README.md.
//
// A container is created, started and removed by commands of their own, instead of by one `run`: so
// what the engine complains about is told apart from what the program prints, and a program that ends
// with 125 from an engine that fails; and nothing is half made when the context ends.
type engine struct {
	dialect
	program string
	facts   facts
	env     []string // of the engine's client

	loading sync.Mutex // is held while an image is looked for and loaded
}

// dialect is how an engine differs.
type dialect struct {
	name   string
	info   func([]byte) (facts, error) // reads what `info` says
	format string                      // of `info`
	create []string                    // arguments of create
	unset  []string                    // variables that the engine adds, and does not when it is told so
}

// facts are what is to be known of an engine.
type facts struct {
	platform    string // "linux/amd64"
	cores       int
	here        bool // it is no service of another machine, or of a virtual one, as far as it tells
	rootless    bool
	cpu, memory bool // it can bound them
}

// docker is Docker since 20.10. Its client adds proxies of its settings.
var docker = dialect{
	name: "docker", format: "{{json .}}", info: dockerFacts,
	create: []string{"--userns", "host"}, // and so the user is the caller
	unset: []string{
		"HOSTNAME", "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY",
		"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy",
	},
}

// podman is Podman since 4.3.
var podman = dialect{
	name: "podman", format: "{{json .Host}}", info: podmanFacts,
	create: []string{"--read-only-tmpfs=false", "--http-proxy=false", "--systemd=false", "--unsetenv-all", "--ulimit", "host"},
}

func dockerFacts(text []byte) (f facts, err error) {
	var said struct {
		ServerVersion, OSType, Architecture, OperatingSystem string
		NCPU                                                 int
		MemoryLimit, CPUCfsQuota                             bool
		SecurityOptions, ServerErrors                        []string
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return f, err
	}
	if said.ServerVersion == "" {
		return f, errors.New(cmp.Or(strings.Join(said.ServerErrors, "; "), "its daemon does not answer"))
	}
	arch := said.Architecture
	if goarch, ok := map[string]string{"x86_64": "amd64", "aarch64": "arm64"}[arch]; ok {
		arch = goarch
	}
	return facts{
		platform: said.OSType + "/" + arch, cores: said.NCPU,
		rootless: slices.Contains(said.SecurityOptions, "name=rootless"),
		cpu:      said.CPUCfsQuota, memory: said.MemoryLimit,
	}, nil
}

func podmanFacts(text []byte) (f facts, err error) {
	var said struct {
		Arch, OS          string
		CPUs              int
		ServiceIsRemote   bool
		CgroupControllers []string
		Security          struct{ Rootless bool }
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return f, err
	}
	return facts{
		platform: said.OS + "/" + said.Arch, cores: said.CPUs,
		here: runtime.GOOS == "linux" && !said.ServiceIsRemote, rootless: said.Security.Rootless,
		cpu: slices.Contains(said.CgroupControllers, "cpu"), memory: slices.Contains(said.CgroupControllers, "memory"),
	}, nil
}

// answerWithin is how long an engine may take to answer. A daemon that hangs takes for ever.
const answerWithin = 10 * time.Second

// PlatformError says that an engine runs programs for another platform than this one's.
type PlatformError struct{ Has, Want string }

func (e *PlatformError) Error() string {
	return fmt.Sprintf("it runs programs for %s, and not for %s", e.Has, e.Want)
}

// newEngine returns the opener of an engine, which looks whether it is there, answers and works.
func newEngine(d dialect) func(context.Context) (Runner, error) {
	return func(ctx context.Context) (Runner, error) {
		program, err := exec.LookPath(d.name)
		if err != nil {
			return nil, &NotFoundError{d.name, os.Getenv("PATH")}
		}
		e := &engine{dialect: d, program: program}
		for _, v := range os.Environ() {
			if name, _ := splitVariable(v); !slices.Contains(d.unset, name) {
				e.env = append(e.env, v)
			}
		}
		asking, cancel := context.WithTimeout(ctx, answerWithin)
		defer cancel()
		said, err := e.ask(asking, nil, "info", "--format", d.format)
		if err != nil {
			return nil, err
		}
		if e.facts, err = d.info(said); err != nil {
			return nil, err
		}
		if want := "linux/" + runtime.GOARCH; e.facts.platform != want {
			return nil, &PlatformError{e.facts.platform, want}
		}
		return e, try(ctx, e)
	}
}

func (e *engine) Name() string { return e.name }

// Enforced implements Runner.
func (e *engine) Enforced() Enforced {
	return Enforced{Reads: true, Writes: true, Network: true, CPU: e.facts.cpu, Memory: e.facts.memory}
}

// ask runs a command of the engine's and returns what it says. What it complains about is the error.
func (e *engine) ask(ctx context.Context, in io.Reader, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, e.program, args...)
	var said, complaint bytes.Buffer
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = e.env, in, &said, &complaint
	cmd.WaitDelay = killAfter
	apart(cmd)
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, problem(fmt.Errorf("%s %s: %w", e.name, args[0], err), complaint.String())
	}
	return said.Bytes(), nil
}

func (e *engine) Run(ctx context.Context, p Process) (err error) {
	if p.Image == nil && runtime.GOOS != "linux" {
		return fmt.Errorf("%s runs no programs of this machine, but in an image", e.name)
	}
	bundle, err := os.MkdirTemp("", "sandwich-"+e.name+"-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(bundle)) }()
	own, release, err := e.system(ctx, p, bundle)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	covers, err := own.covers(p, bundle)
	if err != nil {
		return err
	}
	id := filepath.Base(bundle)
	remove, err := e.remover(id)
	if err != nil {
		return err
	}
	remove = sync.OnceValue(remove)
	args := e.arguments(p, append(covers, p.Mounts...))
	// It is created or not, and not about to be: the context ends nothing here.
	if _, err := e.ask(context.WithoutCancel(ctx), nil, slices.Concat([]string{"create", "--name", id}, args, own.args, p.Args)...); err != nil {
		_ = remove() // what is not there, as a rule
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	said := new(ending)
	p.Stdout, p.Stderr = said.after(p.Stdout, p.Stderr)
	start := slices.Concat([]string{e.program, "start", "--attach"}, interactive(p), []string{id})
	started := execute(ctx, start, e.env, bundle, p, func() { _ = remove() })
	if _, cut := errors.AsType[*InputError](started); cut || ctx.Err() != nil {
		return started
	}
	return e.ended(ctx, id, started, said)
}

// own is what a container runs in, as arguments, and the folder of its files if that is known.
type own struct {
	args   []string
	folder string
}

// system makes what a container runs in: an unpacked image, where the engine takes that, or the image
// itself, which is loaded once. A program of this machine runs in an image of nothing, into which the
// folders of this machine are mounted.
func (e *engine) system(ctx context.Context, p Process, bundle string) (own, func() error, error) {
	release := func() error { return nil }
	if !e.facts.here {
		image := p.Image
		if image == nil {
			image = nothing{}
		}
		name, err := e.load(ctx, image)
		return own{args: []string{name}}, release, err
	}
	folder := filepath.Join(bundle, "rootfs")
	if p.Image == nil {
		if err := os.Mkdir(folder, 0o755); err != nil {
			return own{}, nil, err
		}
	} else {
		var err error
		if folder, release, err = p.Image.Unpack(ctx); err != nil {
			return own{}, nil, err
		}
	}
	// What the engine makes there for its mounts, it makes in a layer above, which goes with the container.
	return own{args: []string{"--rootfs", folder + ":O"}, folder: folder}, release, nil
}

// ofEngines are files that engines write and mount into each container.
var ofEngines = []string{"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}

// ofUsers are those that Podman adds the user to.
var ofUsers = []string{"/etc/passwd", "/etc/group"}

// covers are mounts over what engines bring into a container: their files with those of the image, or with
// empty ones where those are not at hand, as images have them; and devices' and machine's settings, which
// libraries choose their code by, with an empty folder.
func (o own) covers(p Process, bundle string) ([]Mount, error) {
	empty, sys := filepath.Join(bundle, "empty"), filepath.Join(bundle, "sys")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(sys, "fs", "cgroup"), 0o755); err != nil { // into which Podman mounts
		return nil, err
	}
	mounts := []Mount{{From: sys, To: "/sys"}}
	if p.Image == nil {
		mounts = append(mounts, system(p.Network)...)
	}
	for _, name := range slices.Concat(ofEngines, ofUsers) {
		if p.Network && slices.Contains(networkFiles, name) || slices.ContainsFunc(mounts, func(m Mount) bool { return m.To == name }) {
			continue
		}
		from := filepath.Join(o.folder, filepath.FromSlash(name))
		if info, err := os.Lstat(from); o.folder == "" || err != nil || !info.Mode().IsRegular() {
			from = empty
		}
		if from != empty || slices.Contains(ofEngines, name) {
			mounts = append(mounts, Mount{From: from, To: name})
		}
	}
	return mounts, nil
}

// arguments are those of create, but for what the container runs in.
func (e *engine) arguments(p Process, mounts []Mount) []string {
	args := append(slices.Clone(e.create),
		"--pull", "never", "--log-driver", "none", "--label", "build.sandwich", "--stop-signal", "KILL",
		"--hostname", "sandwich", "--workdir", p.Dir, "--read-only", "--cap-drop", "ALL",
		"--security-opt", "no-new-privileges", "--security-opt", "label=disable",
		"--mount", "type=tmpfs,destination=/dev/shm", // which is 64 MB otherwise
	)
	network := "none"
	if p.Network {
		network = "host"
	}
	args = append(args, "--network", network)
	args = append(args, e.user()...)
	args = append(args, interactive(p)...)
	if p.CPU > 0 && p.CPU < e.facts.cores {
		args = append(args, "--cpus", strconv.Itoa(p.CPU))
	}
	if p.Memory > 0 {
		bytes := strconv.FormatInt(p.Memory, 10)
		args = append(args, "--memory", bytes, "--memory-swap", bytes)
	}
	for _, name := range e.unset {
		if !slices.ContainsFunc(p.Env, func(v string) bool { return strings.HasPrefix(v, name+"=") }) {
			args = append(args, "--env", name)
		}
	}
	for _, v := range p.Env {
		args = append(args, "--env", v)
	}
	for _, m := range mounts {
		args = append(args, "--mount", m.option())
	}
	return args
}

// interactive is the argument with which an engine takes an input, where there is one.
func interactive(p Process) []string {
	if p.Stdin == nil {
		return nil
	}
	return []string{"--interactive"}
}

// user is the user that the container runs as, which is the caller, who must be able to read and remove
// what it writes. In a virtual machine, and where the engine is the user's own, that is who is called root
// there.
func (e *engine) user() []string {
	switch caller := fmt.Sprintf("%d:%d", os.Geteuid(), os.Getegid()); {
	case runtime.GOOS != "linux", e.facts.rootless && !e.facts.here:
		return []string{"--user", "0:0"}
	case e.facts.rootless:
		return []string{"--userns", "keep-id", "--user", caller}
	default:
		return []string{"--user", caller}
	}
}

// option is the argument of --mount.
func (m Mount) option() string {
	fields := []string{"type=bind", "source=" + m.From, "destination=" + path.Clean(m.To)}
	if !m.Writable {
		fields = append(fields, "readonly")
	}
	var line strings.Builder
	w := csv.NewWriter(&line) // which a comma or a quote in a name needs
	_ = w.Write(fields)       // into memory
	w.Flush()
	return strings.TrimSuffix(line.String(), "\n")
}

// remover returns what removes a container, which ends it. That is done even when this process is killed,
// by another that waits for its end.
func (e *engine) remover(id string) (remove func() error, err error) {
	args := []string{"rm", "--force", id}
	cmd := exec.Command("/bin/sh", append([]string{"-c", `read _; exec "$@"`, "sh", e.program}, args...)...) //nolint:noctx // it outlives every context
	var said bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = e.env, io.Discard, &said
	apart(cmd)
	end, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil { // there is no such shell on Windows
		return func() error {
			_, err := e.ask(context.Background(), nil, args...)
			return err
		}, nil
	}
	return func() error {
		if err := errors.Join(end.Close(), cmd.Wait()); err != nil {
			return problem(fmt.Errorf("%s rm: %w", e.name, err), said.String())
		}
		return nil
	}, nil
}

// ended tells how a container ended. started is how the command ended that started it.
func (e *engine) ended(ctx context.Context, id string, started error, said *ending) error {
	text, err := e.ask(ctx, nil, "inspect", "--type", "container", "--format", "{{json .State}}", id)
	if err != nil {
		return err
	}
	var state struct {
		StartedAt time.Time
		ExitCode  int
	}
	if err := json.Unmarshal(text, &state); err != nil {
		return fmt.Errorf("%s inspect: %w", e.name, err)
	}
	switch {
	case state.StartedAt.IsZero(), state.ExitCode == 0 && started != nil:
		return problem(fmt.Errorf("%s start: %v", e.name, started), said.String()) //nolint:errorlint // it is no failure of the program
	case state.ExitCode != 0:
		return &ExitError{Code: state.ExitCode}
	}
	return nil
}

// ending keeps the end of what is printed, which is the engine's complaint where no program has run.
type ending struct {
	mu   sync.Mutex // guards kept
	kept []byte
}

// maxEnding bounds it, in bytes.
const maxEnding = 4096

// after returns writers that keep the end of the second. They are one where they were.
func (e *ending) after(stdout, stderr io.Writer) (out, err io.Writer) {
	if stdout == nil && stderr == nil || same(stdout, stderr) {
		both := keeping{e, stderr, true}
		return both, both
	}
	return keeping{e, stdout, false}, keeping{e, stderr, true}
}

func (e *ending) add(p []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kept = append(e.kept, p...)
	e.kept = e.kept[max(0, len(e.kept)-maxEnding):]
}

// String is the end of what was printed.
func (e *ending) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return string(e.kept)
}

type keeping struct {
	*ending
	out  io.Writer // nil for nowhere
	keep bool
}

func (k keeping) Write(p []byte) (int, error) {
	if k.keep {
		k.add(p)
	}
	if k.out == nil {
		return len(p), nil
	}
	return k.out.Write(p)
}
