//go:build unix

package sandbox

import (
	"os/exec"
	"syscall"
)

// apart gives a program a process group of its own, so that what it starts can be ended with
// it, and the Ctrl-C of a terminal reaches this process alone.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// terminate asks the group to end.
func terminate(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }

// kill ends the group. One that has ended is no matter.
func kill(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
