package memo

import (
	"fmt"
	"io/fs"
	"syscall"
	"time"
)

// status returns which file it is, and when the kernel last saw it change.
func status(info fs.FileInfo) (inode string, changed time.Time, ok bool) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", time.Time{}, false
	}
	return fmt.Sprintf("%d:%d", s.Dev, s.Ino), time.Unix(s.Ctim.Unix()), true
}
