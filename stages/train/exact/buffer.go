package exact

import (
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/program"
)

var (
	errFinalized = errors.New("exact backend: it was finalized")
	errGone      = errors.New("exact backend: the buffer was finalized or donated")
)

// buffer is a tensor that the user holds.
type buffer struct {
	backend *Backend
	shape   shapes.Shape
	chunk   atomic.Pointer[program.Chunk] // nil once finalized or donated
}

var _ compute.Buffer = (*buffer)(nil)

func (b *Backend) newBuffer(shape shapes.Shape) *buffer {
	buf := &buffer{backend: b, shape: shape}
	buf.chunk.Store(b.memory.Take(byteSize(shape)))
	return buf
}

func byteSize(shape shapes.Shape) int { return shape.Size() * shape.DType.Size() }

func (b *buffer) bytes() []byte {
	return unsafe.Slice((*byte)(b.chunk.Load().Base()), byteSize(b.shape))
}

// flat returns the values as a slice of their Go type.
func (b *buffer) flat() any {
	return reflect.SliceAt(b.shape.DType.GoType(), b.chunk.Load().Base(), b.shape.Size()).Interface()
}

func (b *buffer) Backend() compute.Backend { return b.backend }

// Finalize gives the memory back to the backend, which will use it again.
func (b *buffer) Finalize() error {
	if c := b.chunk.Swap(nil); c != nil && !b.backend.IsFinalized() {
		b.backend.memory.Give(c)
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

// dtypeOf returns the type of the elements of a slice.
func dtypeOf(flat any) dtypes.DType {
	t := reflect.TypeOf(flat)
	if t == nil || t.Kind() != reflect.Slice {
		return dtypes.InvalidDType
	}
	return dtypes.FromGoType(t.Elem())
}
