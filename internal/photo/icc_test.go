package photo

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sandwich-build/sandwich/internal/photo/jpeg"
	"github.com/sandwich-build/sandwich/internal/shared"
)

// matrixProfile returns a profile of primaries, as XYZ under D50, and a curve for all three.
func matrixProfile(primaries [3][3]float64, curve []byte) []byte {
	icc := make([]byte, 132+12*6)
	copy(icc[16:], "RGB XYZ ")
	binary.BigEndian.PutUint32(icc[128:], 6)
	for i, name := range []string{"rXYZ", "gXYZ", "bXYZ", "rTRC", "gTRC", "bTRC"} {
		body := curve
		if i < 3 {
			body = []byte("XYZ \x00\x00\x00\x00")
			for _, v := range primaries[i] {
				body = binary.BigEndian.AppendUint32(body, uint32(int32(math.Round(v*65536))))
			}
		}
		copy(icc[132+12*i:], name)
		binary.BigEndian.PutUint32(icc[136+12*i:], uint32(len(icc)))
		binary.BigEndian.PutUint32(icc[140+12*i:], uint32(len(body)))
		icc = append(icc, body...)
	}
	return icc
}

func gamma(g float64) []byte {
	return binary.BigEndian.AppendUint16([]byte("curv\x00\x00\x00\x00\x00\x00\x00\x01"), uint16(math.Round(g*256)))
}

// srgbCurve is sRGB's, in the form that Display P3's profile has.
func srgbCurve() []byte {
	curve := []byte("para\x00\x00\x00\x00\x00\x03\x00\x00")
	for _, v := range []float64{2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045} {
		curve = binary.BigEndian.AppendUint32(curve, uint32(math.Round(v*65536)))
	}
	return curve
}

// The primaries of some spaces, by B. Lindbloom (www.brucelindbloom.com) and ICC.
var (
	srgbPrimaries     = [3][3]float64{{0.4360747, 0.2225045, 0.0139322}, {0.3850649, 0.7168786, 0.0971045}, {0.1430804, 0.0606169, 0.7141733}}
	adobePrimaries    = [3][3]float64{{0.6097559, 0.3111242, 0.0194811}, {0.2052401, 0.6256560, 0.0608902}, {0.1492240, 0.0632197, 0.7448387}}
	p3Primaries       = [3][3]float64{{0.5151, 0.2412, -0.0011}, {0.2920, 0.6922, 0.0419}, {0.1571, 0.0666, 0.7841}}
	proPhotoPrimaries = [3][3]float64{{0.7976749, 0.2880402, 0}, {0.1351917, 0.7118741, 0}, {0.0313534, 0.0000857, 0.8252100}}
)

func testProfiles() map[string][]byte {
	return map[string][]byte{
		"Adobe RGB":  matrixProfile(adobePrimaries, gamma(2.19921875)),
		"Display P3": matrixProfile(p3Primaries, srgbCurve()),
		"ProPhoto":   matrixProfile(proPhotoPrimaries, gamma(1.8)),
		"linear":     matrixProfile(srgbPrimaries, []byte("curv\x00\x00\x00\x00\x00\x00\x00\x00")),
	}
}

// grid converts the colours of a grid; a profile that is nil leaves them.
func (p *profile) grid() (colours []byte) {
	for r := 0; r < 256; r += 51 {
		for g := 0; g < 256; g += 51 {
			for b := 0; b < 256; b += 51 {
				colour := [3]uint8{uint8(r), uint8(g), uint8(b)}
				if p != nil {
					colour[0], colour[1], colour[2] = p.of(colour[0], colour[1], colour[2])
				}
				colours = append(colours, colour[:]...)
			}
		}
	}
	return colours
}

// TestProfiles converts colours whose values in sRGB are known, and holds digests that are
// the same on every machine.
func TestProfiles(t *testing.T) {
	tests := []struct {
		profile    string
		from, want [3]uint8
	}{
		{"Adobe RGB", [3]uint8{255, 255, 255}, [3]uint8{255, 255, 255}},
		{"Adobe RGB", [3]uint8{128, 128, 128}, [3]uint8{128, 128, 128}},
		{"Adobe RGB", [3]uint8{200, 100, 50}, [3]uint8{226, 100, 43}},
		{"Adobe RGB", [3]uint8{0, 255, 0}, [3]uint8{0, 255, 0}},
		{"Display P3", [3]uint8{200, 100, 50}, [3]uint8{215, 93, 31}},
		{"ProPhoto", [3]uint8{128, 128, 128}, [3]uint8{146, 146, 146}},
		{"linear", [3]uint8{55, 55, 55}, [3]uint8{128, 128, 128}},
	}
	for _, test := range tests {
		p := newProfile(testProfiles()[test.profile])
		if p == nil {
			t.Fatalf("%s is not understood", test.profile)
		}
		r, g, b := p.of(test.from[0], test.from[1], test.from[2])
		if got := [3]uint8{r, g, b}; max(apart(int(got[0]), test.want[0]), apart(int(got[1]), test.want[1]), apart(int(got[2]), test.want[2])) > 1 {
			t.Errorf("%s %v: got %v, want %v", test.profile, test.from, got, test.want)
		}
	}
	for name, want := range map[string]string{
		"Adobe RGB": "5e50cab1116b2ed9", "Display P3": "7528f2afa77b96d0", "ProPhoto": "ff907c173a8c1908", "linear": "160213ed90102d07",
	} {
		p := newProfile(testProfiles()[name])
		if got := fmt.Sprintf("%x", sha256.Sum256(p.grid()))[:16]; got != want {
			t.Errorf("%s: digest %s, want %s", name, got, want)
		}
	}
	if newProfile(matrixProfile(srgbPrimaries, srgbCurve())) != nil {
		t.Error("sRGB is converted to sRGB")
	}
}

// photosWithProfiles are shared pictures, with a profile that is not sRGB.
var photosWithProfiles = []string{
	"openimages/apple-orange/Apple/6f5f56c01df801c7.jpg",      // Adobe RGB
	"openimages/apple-orange/Orange/f04b1b8d0d4abb46.jpg",     // of a camera
	"openimages/apple-orange/Apple/ed37c41b16636962.jpg",      // Nikon D300
	"nasty-images/pillow/frame_size.mpo",                      // Display P3
	"nasty-images/pillow/truncated_exif_dpi.jpg",              // Generic RGB
	"openimages/apple-orange/Apple/b6fb83d9e81594cd.jpg",      // Nikon sRGB
	"openimages/full-metadata-23/images/00075905539074f2.jpg", // Epson sRGB
}

// TestLittleCMS compares with what Little CMS makes of embedded profiles.
func TestLittleCMS(t *testing.T) {
	python, dir := shared.Pillow(t), t.TempDir()
	all := map[string][]byte{}
	for _, name := range photosWithProfiles {
		data, err := os.ReadFile(filepath.Join(shared.Dir(t), "data", filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		f, err := jpeg.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(name)] = f.ICC
	}
	for name, icc := range all {
		if err := os.WriteFile(filepath.Join(dir, name+".icc"), icc, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), python, "testdata/convert.py", dir).CombinedOutput(); err != nil {
		t.Fatalf("convert.py: %v\n%s", err, out)
	}
	for name, icc := range all {
		want, err := os.ReadFile(filepath.Join(dir, name+".rgb"))
		if err != nil {
			t.Fatal(err)
		}
		p := newProfile(icc)
		got := p.grid()
		worst := 0
		for i := range want {
			worst = max(worst, apart(int(want[i]), got[i]))
		}
		t.Logf("%s: converted %t, at most %d of 255 apart", name, p != nil, worst)
		if worst > 3 {
			t.Errorf("%s: Little CMS is %d of 255 apart", name, worst)
		}
	}
}

// FuzzProfile holds that whatever is called a profile does no harm.
func FuzzProfile(f *testing.F) {
	for _, icc := range testProfiles() {
		f.Add(icc)
	}
	f.Fuzz(func(_ *testing.T, icc []byte) {
		if p := newProfile(icc); p != nil {
			p.grid()
		}
	})
}
