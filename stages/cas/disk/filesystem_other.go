//go:build !linux && !darwin

package disk

// fileSystem knows nothing of this system.
func fileSystem(string) (name string, shared bool, free int64) { return "", false, -1 }
