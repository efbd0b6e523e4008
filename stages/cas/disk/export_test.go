package disk

// SetPackLimit makes packs full at so many bytes.
func (s *Store) SetPackLimit(n int64) { s.packs.limit = n }
