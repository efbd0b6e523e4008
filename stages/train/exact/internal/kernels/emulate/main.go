//go:build linux

// Command emulate is the only process of a machine that run boots in an emulator: it
// runs the tests that come with it and switches the machine off.
package main

import (
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(); err != nil {
		fmt.Println("emulate:", err)
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF) // does not return
}

func run() error {
	for _, dir := range []string{"/tmp", "/dev", "/proc"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("dev", "/dev", "devtmpfs", 0, ""); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	out, err := os.OpenFile("/dev/ttyS0", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	os.Stdout, os.Stderr = out, out
	for _, test := range [][]string{
		{"/kernels.test", "-test.v", "-test.run", "Agree|Choose|Definition"},
		{"/exact.test", "-test.v", "-test.run", "^TestTrainingGivesTheSameBits$/avx"},
	} {
		cmd := exec.Command(test[0], test[1:]...) //nolint:noctx // the machine ends with it
		cmd.Stdout, cmd.Stderr = out, out
		cmd.Env = []string{"HOME=/tmp", "TMPDIR=/tmp", "GOMAXPROCS=1"}
		fmt.Println(test, "ended:", cmd.Run())
	}
	fmt.Println("emulate: done")
	const drain = 1 // what is written is to be sent before the machine goes off
	return unix.IoctlSetInt(int(out.Fd()), unix.TCSBRK, drain)
}
