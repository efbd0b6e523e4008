package dir

// isNotDir reports whether err says that a part of a path is a file. Windows reports
// such a path as absent.
func isNotDir(error) bool { return false }
