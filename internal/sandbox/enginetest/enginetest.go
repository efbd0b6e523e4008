// Package enginetest gives tests a Docker and a Podman of their own.
package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Start starts a daemon of Docker, if there is one and this is root, and gives both engines a folder of
// their own. They are found by the variables that it returns, as KEY=value. stop ends the daemon.
func Start(ctx context.Context) (vars []string, stop func() error, err error) {
	dir, err := os.MkdirTemp("", "engines-*") // short: the path of a socket has at most 108 bytes
	if err != nil {
		return nil, nil, err
	}
	clean := func() error { return os.RemoveAll(dir) }
	for name, text := range map[string]string{
		// Podman would raise limits, which a root without the right to that may not.
		"CONTAINERS_CONF":         "[containers]\ndefault_ulimits = []\n",
		"CONTAINERS_STORAGE_CONF": fmt.Sprintf("[storage]\ndriver = \"overlay\"\ngraphroot = %q\nrunroot = %q\n", filepath.Join(dir, "podman"), filepath.Join(dir, "run")),
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			return nil, nil, errors.Join(err, clean())
		}
		vars = append(vars, name+"="+file)
	}
	program, err := exec.LookPath("dockerd")
	if err != nil || os.Geteuid() != 0 {
		return vars, clean, nil
	}
	host := "unix://" + filepath.Join(dir, "socket")
	end, err := docker(ctx, program, dir, host)
	if err != nil {
		return nil, nil, errors.Join(err, clean())
	}
	return append(vars, "DOCKER_HOST="+host), func() error {
		err := end()
		unmount := exec.CommandContext(context.WithoutCancel(ctx), "umount", filepath.Join(dir, "exec", "netns", "default"))
		_ = unmount.Run() // it leaves that one mounted, as a rule
		return errors.Join(err, clean())
	}, nil
}

// patience is how long the daemon may take to answer, and to end.
const patience = time.Minute

// docker starts a daemon that has no network to offer, and needs nothing of the machine's.
func docker(ctx context.Context, program, dir, host string) (stop func() error, err error) {
	var said bytes.Buffer
	cmd := exec.Command(program, "--host", host, "--data-root", filepath.Join(dir, "docker"), "--exec-root", filepath.Join(dir, "exec"), //nolint:noctx // stop ends it
		"--pidfile", filepath.Join(dir, "pid"), "--iptables=false", "--ip6tables=false", "--bridge=none")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop = func() error {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			return err
		}
		select {
		case err := <-ended:
			return err
		case <-time.After(patience):
			return errors.Join(errors.New("the daemon of Docker does not end"), cmd.Process.Kill())
		}
	}
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(100 * time.Millisecond) {
		select {
		case err := <-ended:
			return nil, fmt.Errorf("the daemon of Docker: %w: %s", err, &said)
		default:
		}
		if exec.CommandContext(ctx, "docker", "--host", host, "version").Run() == nil {
			return stop, nil
		}
	}
	return nil, errors.Join(errors.New("the daemon of Docker does not answer"), stop())
}
