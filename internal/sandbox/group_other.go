//go:build !unix

package sandbox

import "os/exec"

func apart(*exec.Cmd) {}

// terminate does nothing: there is no gentle way here.
func terminate(*exec.Cmd) {}

func kill(cmd *exec.Cmd) { _ = cmd.Process.Kill() }
