package drawing

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"image"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/dice"
)

func photo(n int) Picture {
	return Draw(dice.New(1).Fork("photo", n))
}

func TestThingsAreInThePicture(t *testing.T) {
	seen := map[Kind]int{}
	var both, groups, cards, hidden, cut int
	const n = 40
	for i := range n {
		p := photo(i)
		foods := map[Kind]int{}
		for _, thing := range p.Things {
			seen[thing.Kind]++
			if thing.Box.Empty() || !thing.Box.In(p.Image.Rect) {
				t.Errorf("photo %d: box %v of a picture of %v", i, thing.Box, p.Image.Rect)
			}
			if thing.Kind == Sandwich || thing.Kind == Hamburger {
				foods[thing.Kind]++
				groups += count(thing.Group)
				cards += count(thing.Depiction)
				hidden += count(thing.Occluded)
				cut += count(thing.Truncated)
			}
		}
		if len(foods) == 0 {
			t.Errorf("photo %d shows neither food", i)
		}
		both += count(len(foods) == 2)
		if !p.Image.Opaque() {
			t.Errorf("photo %d is not opaque", i)
		}
	}
	for k := Sandwich; k <= Bowl; k++ {
		if seen[k] == 0 {
			t.Errorf("no picture of %d shows kind %d", n, k)
		}
	}
	for what, got := range map[string]int{"pictures with both foods": both, "groups": groups, "depictions": cards,
		"occluded foods": hidden, "truncated foods": cut} {
		if got == 0 {
			t.Errorf("no %s in %d pictures", what, n)
		}
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// What is filled counts as part of the thing, beyond the canvas too; what is shaded does
// not.
func TestFillIsMeasured(t *testing.T) {
	c := newCanvas(64, 48)
	c.begin()
	c.fill(path{{x: 10.5, y: 5}, {x: 70, y: 5}, {x: 70, y: 20}, {x: 10.5, y: 20}}, opaque, plain(colour{200, 100, 300}))
	c.shade(path{{x: 0, y: 0}, {x: 64, y: 0}, {x: 64, y: 48}}, opaque, plain(colour{}))
	if got, want := c.measured(), image.Rect(10, 5, 70, 20); got != want {
		t.Errorf("measured %v, want %v", got, want)
	}
	half := newCanvas(4, 4)
	half.fill(path{{x: 1.5, y: 0}, {x: 4, y: 0}, {x: 4, y: 4}, {x: 1.5, y: 4}}, opaque, plain(colour{200, 100, 300}))
	want := []uint8{0, 0, 0, 0, 100, 50, 127, 255, 200, 100, 255, 255, 200, 100, 255, 255}
	if diff := cmp.Diff(want, half.img.Pix[:16]); diff != "" {
		t.Errorf("a half covered pixel (-want +got):\n%s", diff)
	}
}

// The drawings are fixed: their digests are in the rows of the quickstart. This one
// was made on amd64; the test below explains why it holds on arm64 too.
func TestDrawIsFixed(t *testing.T) {
	sum := sha256.Sum256(photo(3).Image.Pix)
	const want = "2cb04c51ee63fa4c"
	if got := fmt.Sprintf("%x", sum[:8]); got != want {
		t.Errorf("photo 3 has changed: digest %s, want %s; run go generate ./examples/... if that was meant", got, want)
	}
}

func TestDrawTwice(t *testing.T) {
	a, b := photo(5), photo(5)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("two drawings differ (-first +second):\n%s", diff)
	}
}

// The compiler may fuse a product and a sum on arm64, and then the last bit differs
// from amd64. No function of this package or of dice may contain such an instruction.
func TestNoFusedMultiplyAdd(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles two packages for arm64")
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-gcflags=-S", ".", "../dice")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("build for arm64: %v\n%s", err, out)
	}
	lines, fused := 0, 0
	scan := bufio.NewScanner(strings.NewReader(string(out)))
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		lines++
		if line := scan.Text(); strings.Contains(line, "FMADD") || strings.Contains(line, "FMSUB") ||
			strings.Contains(line, "FNMADD") || strings.Contains(line, "FNMSUB") {
			fused++
			t.Errorf("fused: %s", strings.TrimSpace(line))
		}
	}
	if lines < 1000 {
		t.Errorf("the compiler printed %d lines, want an assembly listing", lines)
	}
}

func TestTurn(t *testing.T) {
	p := photo(0)
	p.Things = p.Things[:1]
	around := p
	for range 4 {
		around = around.Turn(90)
	}
	if diff := cmp.Diff(p, around); diff != "" {
		t.Errorf("four quarter turns (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(p.Turn(90).Turn(90).Turn(90), p.Turn(270)); diff != "" {
		t.Errorf("270 degrees (-want +got):\n%s", diff)
	}
	// Clockwise: what was at the top left is at the top right.
	w := p.Turn(90).Image.Rect.Dx()
	if got, want := p.Turn(90).Image.RGBAAt(w-1, 0), p.Image.RGBAAt(0, 0); got != want {
		t.Errorf("top right after a turn is %v, want %v", got, want)
	}
	box := p.Things[0].Box
	if got := p.Turn(90).Things[0].Box; got.Min.Y != box.Min.X || got.Dx() != box.Dy() || got.Max.X != w-box.Min.Y {
		t.Errorf("box %v turned to %v in a width of %d", box, got, w)
	}
}

// Beyond maxSide the bytes of a picture would depend on the machine.
func TestSizesAreInFixedPoint(t *testing.T) {
	for _, size := range sizes {
		if max(size.X, size.Y) > maxSide {
			t.Errorf("pictures of %v: want at most %d pixels a side", size, maxSide)
		}
	}
}

func TestSincos(t *testing.T) {
	for angle := -20.0; angle < 20; angle += 0.037 {
		s, c := sincos(angle)
		if math.Abs(s-math.Sin(angle)) > 1e-7 || math.Abs(c-math.Cos(angle)) > 1e-7 {
			t.Fatalf("sincos(%v) = %v, %v, want %v, %v", angle, s, c, math.Sin(angle), math.Cos(angle))
		}
	}
}

func BenchmarkDraw(b *testing.B) {
	for i := 0; b.Loop(); i++ {
		photo(i % 50)
	}
}
