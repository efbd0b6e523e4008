package clone

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

func file(src *os.File, name string) (*os.File, error) {
	dst, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	if err := unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())); err != nil {
		return nil, errors.Join(err, dst.Close(), os.Remove(name))
	}
	return dst, nil
}
