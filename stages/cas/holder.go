package cas

import (
	"fmt"
	"time"
)

// Holder is the process that has a lock, as it has introduced itself. The zero Holder is
// one that has not.
//
// It is for people only. Whether a lock is held is known to the operating system, which
// frees the locks of a process that dies; what the dead leave in the file means nothing.
type Holder struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
}

// String tells who it is, and nothing of a holder that is not known.
func (h Holder) String() string {
	if h.PID == 0 {
		return "another process"
	}
	return fmt.Sprintf("pid %d on %s, since %s", h.PID, h.Host, h.Since.Format("15:04"))
}
