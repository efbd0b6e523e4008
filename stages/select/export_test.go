package selection

// Holding returns a kind that sorts in so much memory, bytes.
func (k Kind) Holding(memory int) Kind {
	k.held = memory
	return k
}
