package sandbox

import (
	"context"
	"errors"
	"os"
)

// bubblewrap runs programs with bwrap, which needs no daemon and, where user namespaces are
// allowed, no rights.
type bubblewrap struct{ program string }

// newBubblewrap returns the Runner if bwrap is there and works.
func newBubblewrap(ctx context.Context) (Runner, error) {
	program, err := lookUp("bwrap", os.Getenv("PATH"))
	if err != nil {
		return nil, err
	}
	b := bubblewrap{program}
	return b, try(ctx, b)
}

func (bubblewrap) Name() string { return "bubblewrap" }

func (bubblewrap) Enforced() Enforced { return Enforced{Reads: true, Writes: true, Network: true} }

func (b bubblewrap) Run(ctx context.Context, p Process) (err error) {
	root, release, err := p.unpack(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	args := []string{b.program, "--unshare-all", "--hostname", "sandwich", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"}
	if p.Network {
		args = append(args, "--share-net")
	}
	mounts := p.Mounts
	if p.Image != nil {
		args = append(args, "--ro-bind", root, "/")
	} else {
		mounts = append(system(p.Network), mounts...)
	}
	args = append(args, "--proc", "/proc", "--dev", "/dev")
	for _, m := range mounts {
		option := "--ro-bind"
		if m.Writable {
			option = "--bind"
		}
		args = append(args, option, m.From, m.To)
	}
	if p.Image != nil && p.Network {
		for _, name := range networkFiles {
			args = append(args, "--ro-bind-try", name, name)
		}
	}
	if p.Image == nil {
		args = append(args, "--remount-ro", "/") // the root itself, an empty folder in memory
	}
	for _, v := range p.Env {
		key, value := splitVariable(v)
		args = append(args, "--setenv", key, value)
	}
	args = append(args, "--chdir", p.Dir, "--")
	return execute(ctx, append(args, p.Args...), nil, "/", p, nil)
}
