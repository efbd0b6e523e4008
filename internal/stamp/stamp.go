// Package stamp tells whether a file is what it was from what the file system says of it,
// without reading it: size, times and inode, as git's index does.
package stamp

import (
	"io/fs"
	"os"
	"time"
)

// Stamp is what the file system says of a file. One that was written has another one,
// unless that was within the same tick of the file system's clock (see Settled). The
// device is not in it: its number changes when a disk is mounted again.
type Stamp struct {
	Size         int64
	Mtime, Ctime int64 // nanoseconds since 1970; Ctime is the kernel's, which nobody can set, or zero where the system does not tell
	Inode        uint64
}

// Of returns the stamp of an open file.
func Of(f *os.File) (Stamp, error) {
	info, err := f.Stat()
	if err != nil {
		return Stamp{}, err
	}
	return From(info), nil
}

// From returns the stamp that is in what stat says of a file.
func From(info fs.FileInfo) Stamp {
	s := Stamp{Size: info.Size(), Mtime: info.ModTime().UnixNano()}
	s.Ctime, s.Inode = changeTime(info)
	return s
}

// Ticks of file systems: the times of most have nanoseconds, but come from a clock that
// the kernel moves on every 10 ms at most. Where all times are whole seconds, a tick is
// up to two of them (FAT).
const (
	fineTick   = 100 * time.Millisecond
	coarseTick = 2 * time.Second
)

// Settled tells whether any change of the file from a moment on gives it another stamp. A
// file may be written twice within one tick of the file system's clock and look the same
// after the second time, so one that was written shortly before the moment at which it
// began to be read is not to be remembered (git calls such an entry racily clean). Nor is
// any where the system does not tell when a file changed.
func (s Stamp) Settled(at time.Time) bool {
	tick := fineTick
	if s.Mtime%int64(time.Second) == 0 && s.Ctime%int64(time.Second) == 0 {
		tick = coarseTick
	}
	return s.Ctime != 0 && max(s.Mtime, s.Ctime) <= at.Add(-tick).UnixNano()
}
