package s3

// LimitCopies sets how many bytes the server is asked to copy in one request.
func (s *Store) LimitCopies(size int64) { s.maxCopy = size }
