package memo

import (
	"fmt"
	"io/fs"
	"time"
)

// identify returns what tells a file from what it will be after a change, and when it
// last changed. It is empty where the system does not tell the change time, which is the
// kernel's: unlike the modification time, nobody can set it.
func identify(info fs.FileInfo) (state []string, changed time.Time) {
	inode, status, ok := status(info)
	if !ok {
		return nil, time.Time{}
	}
	if changed = info.ModTime(); status.After(changed) {
		changed = status
	}
	return []string{fmt.Sprint(info.Size()), fmt.Sprint(info.ModTime().UnixNano()), fmt.Sprint(status.UnixNano()), inode}, changed
}
