package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// oci runs programs with an OCI runtime: runc, crun or one that takes the same arguments.
type oci struct{ name, program string }

// newOCI returns the opener of a runtime, which looks whether it is there and works.
func newOCI(name string) func(context.Context) (Runner, error) {
	return func(ctx context.Context) (Runner, error) {
		program, err := lookUp(name, os.Getenv("PATH")+":"+administrators)
		if err != nil {
			return nil, err
		}
		r := oci{name, program}
		return r, try(ctx, r)
	}
}

// administrators is where Debian keeps runtimes, which the path of other users lacks.
const administrators = "/usr/sbin:/usr/local/sbin:/sbin"

func (o oci) Name() string { return o.name }

// Enforced implements Runner. Limits need control groups, which belong to root.
func (o oci) Enforced() Enforced {
	root := os.Geteuid() == 0
	return Enforced{Reads: true, Writes: true, Network: true, CPU: root, Memory: root}
}

func (o oci) Run(ctx context.Context, p Process) (err error) {
	root, release, err := p.unpack(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	bundle, err := os.MkdirTemp("", "sandwich-"+o.name+"-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(bundle)) }()
	spec := o.spec(p)
	if spec.Root.Path = root; p.Image == nil {
		spec.Root.Path = filepath.Join(bundle, "rootfs")
		if err := mountPoints(spec.Root.Path, spec.Mounts); err != nil {
			return err
		}
	}
	config, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), config, 0o600); err != nil {
		return err
	}
	id := filepath.Base(bundle)
	state := []string{o.program, "--root", filepath.Join(bundle, "state")}
	remove := func() {
		// The context has ended, and the container must not stay.
		_ = exec.CommandContext(context.WithoutCancel(ctx), state[0], append(state[1:], "delete", "--force", id)...).Run()
	}
	env := []string{"PATH=" + os.Getenv("PATH"), "XDG_RUNTIME_DIR=" + bundle}
	err = execute(ctx, append(state, "run", "--bundle", bundle, id), env, bundle, p, remove)
	if ctx.Err() != nil {
		remove()
	}
	return err
}

// mountPoints makes a root with nothing but what its mounts need.
func mountPoints(root string, mounts []specs.Mount) error {
	for _, m := range mounts {
		name := filepath.Join(root, m.Destination)
		info, err := os.Stat(m.Source)
		if m.Type != "bind" || err != nil || info.IsDir() {
			if err := os.MkdirAll(name, 0o755); err != nil {
				return err
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		f, err := os.OpenFile(name, os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// spec describes a container to the runtime.
func (o oci) spec(p Process) *specs.Spec {
	s := &specs.Spec{
		Version:  "1.0.2",
		Hostname: "sandwich",
		Root:     &specs.Root{Readonly: true},
		Process: &specs.Process{
			Args: p.Args, Env: p.Env, Cwd: p.Dir, NoNewPrivileges: true,
			User:         specs.User{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())},
			Capabilities: &specs.LinuxCapabilities{},
		},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
			{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777"}},
		},
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.MountNamespace},
			},
			MaskedPaths:   []string{"/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"},
			ReadonlyPaths: []string{"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"},
		},
	}
	mounts := p.Mounts
	if p.Image == nil {
		mounts = append(system(p.Network), mounts...)
	}
	for _, m := range mounts {
		options := []string{"rbind", "rprivate", "ro"}
		if m.Writable {
			options[2] = "rw"
		}
		s.Mounts = append(s.Mounts, specs.Mount{Destination: m.To, Type: "bind", Source: m.From, Options: options})
	}
	if !p.Network {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace})
	} else if p.Image != nil {
		for _, name := range networkFiles {
			if _, err := os.Stat(name); err == nil {
				s.Mounts = append(s.Mounts, specs.Mount{Destination: name, Type: "bind", Source: name, Options: []string{"rbind", "rprivate", "ro"}})
			}
		}
	}
	if os.Geteuid() != 0 {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		same := func(id int) []specs.LinuxIDMapping {
			return []specs.LinuxIDMapping{{ContainerID: uint32(id), HostID: uint32(id), Size: 1}}
		}
		s.Linux.UIDMappings, s.Linux.GIDMappings = same(os.Geteuid()), same(os.Getegid())
		return s
	}
	s.Linux.Resources = limits(p)
	return s
}

// cpuPeriod is the period over which cores are counted, in microseconds: the kernel's default.
const cpuPeriod = 100_000

func limits(p Process) *specs.LinuxResources {
	r := &specs.LinuxResources{}
	if p.CPU > 0 && p.CPU < runtime.NumCPU() {
		period, quota := uint64(cpuPeriod), int64(p.CPU)*cpuPeriod
		r.CPU = &specs.LinuxCPU{Period: &period, Quota: &quota}
	}
	if p.Memory > 0 {
		r.Memory = &specs.LinuxMemory{Limit: &p.Memory}
	}
	return r
}

// problem makes one error of what a runtime says of why it cannot.
func problem(err error, said string) error {
	if said = strings.TrimSpace(said); err != nil && said != "" {
		return fmt.Errorf("%w: %s", err, said)
	}
	return err
}
