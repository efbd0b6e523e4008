package exact

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"
)

var (
	errFinalized = errors.New("exact backend: it was finalized")
	errGone      = errors.New("exact backend: the buffer was finalized or donated")
)

// cacheLine is the alignment of every tensor: no two of them share a line, and no
// vector load crosses one at the start of a row.
const cacheLine = 64

// chunk is raw memory for tensors, a multiple of a cache line.
type chunk struct {
	words []uint64 // keeps the memory alive
	base  unsafe.Pointer
	size  int
}

func newChunk(size int) *chunk {
	words := make([]uint64, size/8+cacheLine/8)
	base := unsafe.Pointer(&words[0])
	skip := -uintptr(base) % cacheLine
	return &chunk{words: words, base: unsafe.Add(base, skip), size: size}
}

// lines rounds a size up to whole cache lines; even an empty tensor has an address.
func lines(size int) int { return max(1, (size+cacheLine-1)/cacheLine) * cacheLine }

// memory keeps chunks that are free for the next tensor of their size: a fresh page
// costs more than the copy into it.
type memory struct {
	mu   sync.Mutex // guards free
	free map[int][]*chunk
}

func (m *memory) take(size int) *chunk {
	size = lines(size)
	m.mu.Lock()
	defer m.mu.Unlock()
	if list := m.free[size]; len(list) > 0 {
		last := len(list) - 1
		c := list[last]
		m.free[size] = list[:last]
		return c
	}
	return newChunk(size)
}

func (m *memory) give(c *chunk) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.free == nil {
		m.free = make(map[int][]*chunk)
	}
	m.free[c.size] = append(m.free[c.size], c)
}

func (m *memory) drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free = nil
}

// buffer is a tensor that the user holds.
type buffer struct {
	backend *Backend
	shape   shapes.Shape
	chunk   atomic.Pointer[chunk] // nil once finalized or donated
}

var _ compute.Buffer = (*buffer)(nil)

func (b *Backend) newBuffer(shape shapes.Shape) *buffer {
	buf := &buffer{backend: b, shape: shape}
	buf.chunk.Store(b.memory.take(byteSize(shape)))
	return buf
}

func byteSize(shape shapes.Shape) int { return shape.Size() * shape.DType.Size() }

func (b *buffer) bytes() []byte {
	return unsafe.Slice((*byte)(b.chunk.Load().base), byteSize(b.shape))
}

// flat returns the values as a slice of their Go type.
func (b *buffer) flat() any {
	return reflect.SliceAt(b.shape.DType.GoType(), b.chunk.Load().base, b.shape.Size()).Interface()
}

func (b *buffer) Backend() compute.Backend { return b.backend }

// Finalize gives the memory back to the backend, which will use it again.
func (b *buffer) Finalize() error {
	if c := b.chunk.Swap(nil); c != nil && !b.backend.IsFinalized() {
		b.backend.memory.give(c)
	}
	return nil
}

func (b *buffer) Shape() (shapes.Shape, error) { return b.shape, nil }

func (b *buffer) DeviceNum() (compute.DeviceNum, error) { return 0, nil }

func (b *buffer) ToFlatData(flat any) error {
	if b.chunk.Load() == nil {
		return errGone
	}
	data, err := flatBytes(flat, b.shape)
	if err != nil {
		return err
	}
	copy(data, b.bytes())
	return nil
}

func (b *buffer) Data() (any, error) {
	if b.chunk.Load() == nil {
		return nil, errGone
	}
	return b.flat(), nil
}

func (b *buffer) CopyToDevice(compute.DeviceNum) (compute.Buffer, error) {
	return nil, fmt.Errorf("exact backend: copy to another device: there is only one: %w", compute.ErrNotImplemented)
}

// flatBytes returns the memory of a slice that has the type and length of shape.
func flatBytes(flat any, shape shapes.Shape) ([]byte, error) {
	v := reflect.ValueOf(flat)
	if v.Kind() != reflect.Slice || v.Type().Elem() != shape.DType.GoType() || v.Len() != shape.Size() {
		return nil, fmt.Errorf("exact backend: values %T of length %d: want %d of type %s",
			flat, lengthOf(v), shape.Size(), shape.DType)
	}
	return unsafe.Slice((*byte)(v.UnsafePointer()), byteSize(shape)), nil
}

func lengthOf(v reflect.Value) int {
	if v.Kind() != reflect.Slice {
		return 0
	}
	return v.Len()
}
