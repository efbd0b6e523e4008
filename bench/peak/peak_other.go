//go:build !unix

package peak

import "os"

// Memory is not known on this system.
func Memory(*os.ProcessState) int64 { return 0 }
