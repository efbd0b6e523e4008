package clone

import (
	"os"

	"golang.org/x/sys/unix"
)

func file(src *os.File, name string) (*os.File, error) {
	if err := unix.Fclonefileat(int(src.Fd()), unix.AT_FDCWD, name, unix.CLONE_NOFOLLOW); err != nil {
		return nil, err
	}
	// The clone has the permissions of src.
	if err := os.Chmod(name, 0o666); err != nil {
		return nil, err
	}
	return os.OpenFile(name, os.O_RDWR, 0)
}
