package wire

import (
	"os"

	"golang.org/x/sys/unix"
)

func enlarge(pipe *os.File) {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { // see Pipe
		_, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, chunk)
	})
}
