package photo_test

import (
	"errors"
	"fmt"
	"image"
	"image/color/palette"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"

	"github.com/sandwich-build/sandwich/internal/photo"
	"github.com/sandwich-build/sandwich/internal/shared"
)

// memoryLimit is the promise: decoding hostile pictures stays below it, the Go runtime
// and the test itself included.
const memoryLimit = 256 << 20

// largeEnv makes TestNastyMemory the child that decodes; it holds the folder with the
// large pictures.
const largeEnv = "SANDWICH_TEST_LARGE_PICTURES"

// TestNastyMemory decodes all of nasty-images in a process of its own, several at a
// time within a Budget, and reads from the kernel how much memory it ever had.
func TestNastyMemory(t *testing.T) {
	if large := os.Getenv(largeEnv); large != "" {
		decodeAll(t, large)
		t.Logf("peak %d", peak(t))
		return
	}
	switch {
	case runtime.GOOS != "linux":
		t.Skip("needs /proc")
	case raceEnabled:
		t.Skip("the race detector's shadow memory hides what is measured")
	case testing.Short():
		t.Skip("decodes pictures of 100 million pixels")
	}
	shared.Dir(t)
	large := t.TempDir()
	writeLargePictures(t, large)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNastyMemory$", "-test.v")
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "GOMEMLIMIT=") || strings.HasPrefix(v, "GOGC=")
	}), largeEnv+"="+large)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var used int64
	_, after, _ := strings.Cut(string(out), "peak ")
	if _, err := fmt.Sscan(after, &used); err != nil {
		t.Fatalf("no peak in the output of the child: %v\n%s", err, out)
	}
	t.Logf("peak memory %d MiB", used>>20)
	if used > memoryLimit {
		t.Errorf("peak memory is %d bytes, want at most %d", used, memoryLimit)
	}
}

// decodeAll decodes the nasty pictures, and among them large ones that just pass the
// limits, four at a time.
func decodeAll(t *testing.T, largeDir string) {
	dir, names := nastyFiles(t)
	var paths []string
	for i, name := range names {
		paths = append(paths, filepath.Join(dir, name))
		if i%24 == 0 {
			paths = append(paths, filepath.Join(largeDir, strconv.Itoa(i/24%numLarge)))
		}
	}
	budget := photo.NewBudget(photo.DefaultLimits().Memory)
	var wg sync.WaitGroup
	slots := make(chan struct{}, 4)
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := photo.Open(data, photo.DefaultLimits())
		if err != nil {
			continue
		}
		whole := []photo.Cut{f.Fit(128)}
		memory, small := f.Memory, f.Memory > photo.DefaultLimits().Memory
		if small {
			memory = f.CutMemory(whole)
		}
		slots <- struct{}{}
		release, err := budget.Reserve(t.Context(), memory)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if small {
				if err := f.Cut(t.Context(), whole, func(int, *image.YCbCr, error) error { return nil }); err != nil {
					t.Error(err)
				}
			} else {
				_, _ = f.Decode(t.Context()) // the verdicts are TestNasty's business
			}
			release()
			<-slots
		})
	}
	wg.Wait()
}

// peak returns the largest resident set that this process ever had, in bytes.
func peak(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscan(after, &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// numLarge is how many pictures writeLargePictures writes, named 0, 1, …
const numLarge = 6

// writeLargePictures writes pictures that use the memory limit up, or nearly so, in one
// way or another. They are made with a stride of 0, from a single row.
func writeLargePictures(t *testing.T, dir string) {
	t.Helper()
	row := make([]byte, 1<<17)
	for i := range row {
		row[i] = byte(i)
	}
	rect := func(w, h int) image.Rectangle { return image.Rect(0, 0, w, h) }
	n := 0
	add := func(encode func(io.Writer) error) {
		f, err := os.Create(filepath.Join(dir, strconv.Itoa(n)))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(encode(f), f.Close()); err != nil {
			t.Fatal(err)
		}
		n++
	}
	add(func(w io.Writer) error {
		return jpeg.Encode(w, &image.YCbCr{Y: row, Cb: row, Cr: row, SubsampleRatio: image.YCbCrSubsampleRatio420, Rect: rect(11000, 9000)}, nil)
	})
	add(func(w io.Writer) error {
		e := png.Encoder{CompressionLevel: png.BestSpeed}
		return e.Encode(w, &image.NRGBA64{Pix: row, Rect: rect(5000, 4500)})
	})
	add(func(w io.Writer) error {
		return gif.Encode(w, &image.Paletted{Pix: row, Rect: rect(5000, 5000), Palette: palette.Plan9}, nil)
	})
	add(func(w io.Writer) error {
		return bmp.Encode(w, &image.RGBA{Pix: row, Rect: rect(4000, 4000)})
	})
	add(func(w io.Writer) error {
		return tiff.Encode(w, &image.RGBA{Pix: row, Rect: rect(2500, 2500)}, &tiff.Options{Compression: tiff.Deflate})
	})
	add(func(w io.Writer) error {
		_, err := w.Write(progressive(11000, 9000))
		return err
	})
	if n != numLarge {
		t.Fatalf("%d large pictures, want %d", n, numLarge)
	}
}

// progressive returns a progressive JPEG of that size in colour, all grey: a bit for each DC
// coefficient, and runs of 32,767 blocks without others.
func progressive(width, height int) []byte {
	marker := func(code byte, body ...byte) []byte {
		return append([]byte{0xff, code, 0, byte(2 + len(body))}, body...)
	}
	// A table of one code, 0, for a symbol.
	table := func(number, symbol byte) []byte {
		return marker(0xc4, append([]byte{number, 1, 16: 0}, symbol)...)
	}
	data := []byte{0xff, 0xd8}
	data = append(data, marker(0xdb, append([]byte{0}, slices.Repeat([]byte{1}, 64)...)...)...)
	data = append(data, marker(0xc2, 8, byte(height>>8), byte(height), byte(width>>8), byte(width), 3, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0)...)
	data = append(data, table(0x00, 0)...)
	data = append(data, table(0x10, 0xe0)...)
	across, down := (width+15)/16, (height+15)/16
	data = append(data, marker(0xda, 3, 1, 0, 2, 0, 3, 0, 0, 0, 0)...)
	data = append(data, make([]byte, (6*across*down+7)/8)...)
	for component, blocks := range []int{(width + 7) / 8 * ((height + 7) / 8), across * down, across * down} {
		data = append(data, marker(0xda, 1, byte(1+component), 0, 1, 63, 0)...)
		var bits, have uint64
		for ; blocks > 0; blocks -= 1<<15 - 1 {
			bits, have = bits<<15|1<<14-1, have+15
			for ; have >= 8; have -= 8 {
				b := byte(bits >> (have - 8))
				data = append(data, b)
				if b == 0xff {
					data = append(data, 0)
				}
			}
		}
		data = append(data, byte(bits<<(8-have)))
	}
	return append(data, 0xff, 0xd9)
}

// TestLargeProgressive cuts a small picture out of a progressive photo whose coefficients
// alone would need 300 MB.
func TestLargeProgressive(t *testing.T) {
	f, err := photo.Open(progressive(11000, 9000), photo.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Decode(t.Context())
	wantReason(t, err)
	for _, cut := range []photo.Cut{f.Fit(128), {Region: image.Rect(5000, 4000, 5600, 4700), Size: image.Pt(600, 700)}} {
		if memory := f.CutMemory([]photo.Cut{cut}); memory > 40<<20 {
			t.Errorf("%+v takes %d MiB", cut, memory>>20)
		}
		err := f.Cut(t.Context(), []photo.Cut{cut}, func(_ int, img *image.YCbCr, damage error) error {
			if damage != nil || img.Y[0] != 128 || img.Cr[len(img.Cr)-1] != 128 {
				t.Errorf("%+v is not grey", cut)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}
