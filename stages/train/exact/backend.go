// Package exact is a gomlx backend whose results are the same bits on any number of
// workers and with any of its kernels.
//
// Every output is one chain of operations in an order that the shapes alone decide;
// work is shared out over outputs, never over what is summed. Matrix products and
// convolutions are chains of fused multiply-adds, rounded once per link as IEEE 754
// says, in assembly and in portable Go alike.
//
//	exact.Register()
//	backend, err := compute.NewWithConfig("exact:workers=2")
//
// README.md describes how a graph becomes a plan and how a plan runs.
package exact

import (
	"fmt"
	"maps"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/kernels"
	"github.com/sandwich-build/sandwich/stages/train/exact/internal/program"
)

// Name is the name under which Register makes the backend known.
const Name = "exact"

// KernelsVariable is the environment variable that forces a set of kernels:
// "portable", "avx2" or "avx512". Without it the processor decides.
const KernelsVariable = "SANDWICH_KERNELS"

// Register makes the backend known to package compute. Call it before the first
// compute.New; a program that constructs its backend with New does not need it.
func Register() {
	compute.Register(Name, func(config string) (compute.Backend, error) { return New(config) })
}

// Backend computes gomlx graphs on the processor. It is safe for concurrent use.
type Backend struct {
	pool      *program.Pool
	memory    program.Memory
	kernels   kernels.Set
	finalized atomic.Bool
}

var _ compute.Backend = (*Backend)(nil)

// New returns a backend. The configuration is empty or a comma-separated list of
//
//	workers=N           goroutines that compute, the caller's included; GOMAXPROCS by default
//	kernels=portable    or avx2 or avx512; wins over the environment variable
//
// None of it changes a result.
func New(config string) (*Backend, error) {
	workers, name := runtime.GOMAXPROCS(0), os.Getenv(KernelsVariable)
	for option := range strings.SplitSeq(config, ",") {
		key, value, _ := strings.Cut(option, "=")
		switch key {
		case "":
		case "workers":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 {
				return nil, fmt.Errorf("exact backend: workers=%s: want a positive integer", value)
			}
			workers = n
		case "kernels":
			name = value
		default:
			return nil, fmt.Errorf("exact backend: option %q: want workers=N or kernels=portable|avx2|avx512", option)
		}
	}
	chosen, err := kernels.Choose(name)
	if err != nil {
		return nil, fmt.Errorf("exact backend: %w", err)
	}
	return &Backend{pool: program.NewPool(workers), kernels: chosen}, nil
}

// Name implements compute.Backend.
func (b *Backend) Name() string { return Name }

// String implements compute.Backend.
func (b *Backend) String() string { return Name }

// Description implements compute.Backend.
func (b *Backend) Description() string {
	return fmt.Sprintf("exact: the same bits everywhere (%s kernels, %d workers)", b.kernels.Name, b.pool.Size())
}

// NumDevices implements compute.Backend: there is one device, the processor.
func (b *Backend) NumDevices() int { return 1 }

// DeviceDescription implements compute.Backend.
func (b *Backend) DeviceDescription(compute.DeviceNum) string { return b.Description() }

// Capabilities implements compute.Backend.
func (b *Backend) Capabilities() compute.Capabilities {
	return compute.Capabilities{Operations: maps.Clone(operations), DTypes: maps.Clone(types)}
}

// Builder implements compute.Backend.
func (b *Backend) Builder(name string) compute.Builder { return newBuilder(b, name) }

// HasSharedBuffers implements compute.Backend: buffers are ordinary memory.
func (b *Backend) HasSharedBuffers() bool { return true }

// BufferFromFlatData implements compute.Backend. It copies flat.
func (b *Backend) BufferFromFlatData(device compute.DeviceNum, flat any, shape shapes.Shape) (compute.Buffer, error) {
	if err := b.check(device, shape); err != nil {
		return nil, err
	}
	data, err := flatBytes(flat, shape)
	if err != nil {
		return nil, err
	}
	buffer := b.newBuffer(shape)
	copy(buffer.bytes(), data)
	return buffer, nil
}

// NewSharedBuffer implements compute.Backend.
func (b *Backend) NewSharedBuffer(device compute.DeviceNum, shape shapes.Shape) (compute.Buffer, any, error) {
	if err := b.check(device, shape); err != nil {
		return nil, nil, err
	}
	buffer := b.newBuffer(shape)
	clear(buffer.bytes())
	return buffer, buffer.flat(), nil
}

func (b *Backend) check(device compute.DeviceNum, shape shapes.Shape) error {
	if b.finalized.Load() {
		return errFinalized
	}
	if device != 0 {
		return fmt.Errorf("exact backend: device %d: there is only device 0", device)
	}
	return checkShape(shape)
}

// checkShape refuses types and shapes that the backend cannot hold.
func checkShape(shape shapes.Shape) error {
	if !types[shape.DType] {
		return fmt.Errorf("exact backend: values of type %s: %w", shape.DType, compute.ErrNotImplemented)
	}
	if shape.IsDynamic() {
		return fmt.Errorf("exact backend: dynamic shape %s: %w", shape, compute.ErrNotImplemented)
	}
	if shape.Size() > math.MaxInt32 {
		return fmt.Errorf("exact backend: shape %s has over 2³¹ elements: %w", shape, compute.ErrNotImplemented)
	}
	return nil
}

// Finalize implements compute.Backend: it ends the workers and lets the memory go.
func (b *Backend) Finalize() {
	if !b.finalized.Swap(true) {
		b.pool.Close()
		b.memory.Drop()
	}
}

// IsFinalized implements compute.Backend.
func (b *Backend) IsFinalized() bool { return b.finalized.Load() }

// types lists the element types. Half precision is stored as such and computed in
// float32, rounded after each operation.
var types = map[dtypes.DType]bool{
	dtypes.Bool: true,
	dtypes.Int8: true, dtypes.Int16: true, dtypes.Int32: true, dtypes.Int64: true,
	dtypes.Uint8: true, dtypes.Uint16: true, dtypes.Uint32: true, dtypes.Uint64: true,
	dtypes.Float16: true, dtypes.BFloat16: true, dtypes.Float32: true, dtypes.Float64: true,
}
