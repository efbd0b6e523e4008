package kernels

import (
	"bytes"
	"maps"
	"math"
	"slices"
	"testing"
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/sandwich-build/sandwich/internal/assemblytest"
)

// special holds what arithmetic treats specially.
var special = []float32{0, float32(math.Copysign(0, -1)), 1, -1, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), 0x1p-140, 3e38}

// draws is a sequence of numbers that is the same everywhere.
type draws uint64

func (d *draws) next() uint32 {
	*d = *d*6364136223846793005 + 1442695040888963407
	return uint32(*d >> 32)
}

// values draws n numbers, special ones and equal ones among them.
func (d *draws) values(n int) []float32 {
	list := make([]float32, n)
	for i := range list {
		switch d.next() % 16 {
		case 0:
			list[i] = special[int(d.next())%len(special)]
		case 1:
			list[i] = 0.5
		default:
			list[i] = float32(int32(d.next())) / (1 << 31)
		}
	}
	return list
}

func address[T any](list []T) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(list)) }

// same compares bits; a NaN is any NaN.
func same(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool {
		return math.Float32bits(x) == math.Float32bits(y) || (x != x && y != y)
	})
}

// others calls f with each set that is to agree with the portable one.
func others(t *testing.T, f func(t *testing.T, s Set)) {
	t.Helper()
	for _, s := range All() {
		if s.Name != portableSet.Name {
			t.Run(s.Name, func(t *testing.T) { f(t, s) })
		}
	}
}

func TestElementwiseKernelsAgree(t *testing.T) {
	others(t, func(t *testing.T, s Set) {
		for k, vector := range s.vectors {
			var d draws
			for n := range 70 {
				a, b := d.values(n), d.values(n)
				if n >= 64 {
					a, b = crossed()
				}
				got, want := make([]float32, len(a)), make([]float32, len(a))
				condition := make([]bool, len(a))
				for i := range condition {
					condition[i] = d.next()%2 == 0
				}
				call := func(f Elementwise, dst []float32) {
					switch k.op {
					case compute.OpTypeWhere:
						f(address(dst), address(condition), address(a), address(b), len(a))
					case compute.OpTypeConvertDType:
						f(address(dst), address(condition), nil, nil, len(a))
					default:
						f(address(dst), address(a), address(b), nil, len(a))
					}
				}
				definition := elementwise(k.op, k.dtype)
				switch k.op {
				case compute.OpTypeWhere:
					definition = where(4)
				case compute.OpTypeConvertDType:
					definition = convert(k.dtype, dtypes.Float32)
				}
				call(vector, got)
				call(definition, want)
				if !same(got, want) {
					t.Errorf("%s of %v and %v is %v, want %v", k.op, a, b, got, want)
				}
			}
		}
	})
}

func TestReLUAgrees(t *testing.T) {
	others(t, func(t *testing.T, s Set) {
		var d draws
		for n := 1; n < 40; n++ {
			a := append(d.values(n), special...)
			got, want := make([]float32, len(a)), make([]float32, len(a))
			s.ReLU(address(got), address(a), nil, nil, len(a))
			where(4)(address(want), address(greaterThanZero(a)), address(a), address(make([]float32, len(a))), len(a))
			if !same(got, want) {
				t.Errorf("ReLU of %v is %v, want %v", a, got, want)
			}
		}
	})
}

func greaterThanZero(a []float32) []bool {
	list := make([]bool, len(a))
	for i, v := range a {
		list[i] = v > 0
	}
	return list
}

// crossed pairs every special value with every other.
func crossed() (a, b []float32) {
	for _, x := range special {
		for _, y := range special {
			a, b = append(a, x), append(b, y)
		}
	}
	return a, b
}

// Tiles go over memory whose rows and steps lie anywhere, from 0 and from what is there.
func TestTilesAgree(t *testing.T) {
	others(t, func(t *testing.T, s Set) {
		for _, tile := range s.Tiles {
			for k := 1; k < 40; k += 3 {
				d := draws(k)
				a := make([]float32, 4096)
				b := make([]float32, k*tile.Cols)
				for _, list := range [][]float32{a, b} {
					for i := range list {
						list[i] = float32(int32(d.next())) / (1 << 31)
						if d.next()%8 == 0 {
							list[i] *= 0x1p-70 // products become subnormal
						}
					}
				}
				rows, steps, out := make([]int32, tile.Rows), make([]int32, k), make([]int32, tile.Rows)
				for i := range rows {
					rows[i], out[i] = int32(d.next()%2048*4), int32(i*tile.Cols*4)
				}
				for i := range steps {
					steps[i] = int32(d.next() % 2048 * 4)
				}
				got, want := make([]float32, tile.Rows*tile.Cols), make([]float32, tile.Rows*tile.Cols)
				for more := range 2 {
					p := Product{A: address(a), Rows: &rows[0], Steps: &steps[0], B: address(b), K: k, C: address(got), Out: &out[0], More: more}
					tile.Run(&p)
					for i, row := range rows {
						for j := range tile.Cols {
							sum := &want[i*tile.Cols+j]
							for l, o := range steps {
								*sum = FMA(a[(row+o)/4], b[l*tile.Cols+j], *sum)
							}
						}
					}
					if !same(got, want) {
						t.Fatalf("tile %d × %d over %d steps: %v, want %v", tile.Rows, tile.Cols, k, got, want)
					}
				}
			}
		}
	})
}

func TestPortableTileIsTheDefinition(t *testing.T) {
	tile := portableSet.Tiles[0]
	a, b := []float32{1, 2, 3, 4}, make([]float32, 2*tile.Cols)
	for i := range b {
		b[i] = float32(i)
	}
	rows, out := []int32{0, 4, 8, 0}, []int32{0, 64, 128, 192}
	got := make([]float32, 4*tile.Cols)
	tile.Run(&Product{A: address(a), Rows: &rows[0], Steps: &[]int32{0, 4}[0], B: address(b), K: 2, C: address(got), Out: &out[0]})
	// Row 1 is 2·b[0] + 3·b[16].
	if got[tile.Cols+5] != 2*5+3*21 {
		t.Errorf("element 1, 5 is %v, want 73", got[tile.Cols+5])
	}
}

func TestWindowKernelsAgree(t *testing.T) {
	others(t, func(t *testing.T, s Set) {
		for n := 1; n < 40; n++ {
			for _, count := range []int{1, 2, 4, 9} {
				d := draws(n * count)
				from, source := d.values(1024), d.values(n)
				inside := make([]int32, count)
				for i := range inside {
					inside[i] = int32(d.next() % 900 * 4)
				}
				type results struct {
					most, spread, sums []float32
					number             []uint8
				}
				run := func(s Set) results {
					r := results{make([]float32, n), make([]float32, 1024), make([]float32, n), make([]uint8, n)}
					s.MaxWindow(address(r.most), address(from), &inside[0], count, n)
					s.Winner(address(r.number), address(from), &inside[0], count, n)
					s.Spread(address(r.spread), address(r.number), address(source), &inside[0], count, n)
					s.SumRows(address(r.sums), address(from), &inside[0], count, n)
					return r
				}
				got, want := run(s), run(portableSet)
				if !same(got.most, want.most) || !bytes.Equal(got.number, want.number) || !same(got.spread, want.spread) || !same(got.sums, want.sums) {
					t.Fatalf("%d windows of %d: %v, want %v", n, count, got, want)
				}
			}
		}
	})
}

func TestLanesAgree(t *testing.T) {
	others(t, func(t *testing.T, s Set) {
		for n := 1; n < 80; n++ {
			d := draws(n)
			a, b := d.values(2048), d.values(2048)
			k := 1 + n%11
			aSteps, bSteps := make([]int32, k), make([]int32, k)
			for i := range aSteps {
				aSteps[i], bSteps[i] = int32(d.next()%1900*4), int32(d.next()%1900*4)
			}
			got, want := make([]float32, n), make([]float32, n)
			s.Lanes(address(got), address(a), address(b), &aSteps[0], &bSteps[0], k, n)
			portableSet.Lanes(address(want), address(a), address(b), &aSteps[0], &bSteps[0], k, n)
			if !same(got, want) {
				t.Fatalf("%d lanes over %d steps: %v, want %v", n, k, got, want)
			}
		}
	})
}

func TestChoose(t *testing.T) {
	for _, s := range All() {
		if got, err := Choose(s.Name); err != nil || got.Name != s.Name {
			t.Errorf("Choose(%q) = %s, %v", s.Name, got.Name, err)
		}
	}
	if s, err := Choose(""); err != nil || s.Name != All()[0].Name {
		t.Errorf("Choose of no name = %s, %v, want the fastest", s.Name, err)
	}
	for _, name := range append(slices.Clone(names), "quantum") {
		known := slices.ContainsFunc(All(), func(s Set) bool { return s.Name == name })
		if _, err := Choose(name); (err == nil) != known {
			t.Errorf("Choose(%q): error %v", name, err)
		}
	}
}

func TestTileWastesLeast(t *testing.T) {
	s := Set{Tiles: []Tile{{Rows: 8, Cols: 32}, {Rows: 8, Cols: 16}}}
	got := make(map[int]int)
	for _, cols := range []int{1, 16, 17, 32, 40, 48, 64} {
		got[cols] = s.Tile(cols).Cols
	}
	if want := map[int]int{1: 16, 16: 16, 17: 32, 32: 32, 40: 16, 48: 16, 64: 32}; !maps.Equal(got, want) {
		t.Errorf("columns of the tiles by columns of the product: %v, want %v", got, want)
	}
}

// The assembly in the repository is what the generator writes.
func TestAssemblyIsGenerated(t *testing.T) { assemblytest.Generated(t) }
