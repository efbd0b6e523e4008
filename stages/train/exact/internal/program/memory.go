package program

import (
	"sync"
	"unsafe"
)

// cacheLine is the alignment of every tensor: no two of them share a line, and no
// vector load crosses one at the start of a row.
const cacheLine = 64

// Chunk is raw memory for tensors, a multiple of a cache line.
type Chunk struct {
	words []uint64 // keeps the memory alive
	base  unsafe.Pointer
	size  int
}

// NewChunk returns at least size bytes of zeros.
func NewChunk(size int) *Chunk {
	size = lines(size)
	words := make([]uint64, size/8+cacheLine/8)
	base := unsafe.Pointer(&words[0])
	skip := -uintptr(base) % cacheLine
	return &Chunk{words: words, base: unsafe.Add(base, skip), size: size}
}

// Base returns where the memory begins.
func (c *Chunk) Base() unsafe.Pointer { return c.base }

// lines rounds a size up to whole cache lines; even an empty tensor has an address.
func lines(size int) int { return max(1, (size+cacheLine-1)/cacheLine) * cacheLine }

// Memory keeps chunks that are free for the next tensor of their size: a fresh page
// costs more than the copy into it. Its zero value is ready; it may be used from many
// goroutines.
type Memory struct {
	mu   sync.Mutex // guards free
	free map[int][]*Chunk
}

// Take returns size bytes of any content.
func (m *Memory) Take(size int) *Chunk {
	size = lines(size)
	m.mu.Lock()
	defer m.mu.Unlock()
	if list := m.free[size]; len(list) > 0 {
		last := len(list) - 1
		c := list[last]
		m.free[size] = list[:last]
		return c
	}
	return NewChunk(size)
}

// Give makes a chunk free that nobody uses any more.
func (m *Memory) Give(c *Chunk) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.free == nil {
		m.free = make(map[int][]*Chunk)
	}
	m.free[c.size] = append(m.free[c.size], c)
}

// Drop leaves the free chunks to the garbage collector.
func (m *Memory) Drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free = nil
}

// Scratch is memory of one worker that outlives a step but means nothing after it.
type Scratch struct{ chunk *Chunk }

// At returns size bytes, of any content.
func (s *Scratch) At(size int) unsafe.Pointer {
	if s.chunk == nil || s.chunk.size < size {
		s.chunk = NewChunk(size)
	}
	return s.chunk.base
}
