package manifest

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustRender(t testing.TB, m *Manifest) string {
	t.Helper()
	text, err := Render(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// golden compares got with a file of the project; UPDATE=1 writes it.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got), UPDATE=1 accepts it:\n%s", path, diff)
	}
}

func TestRender(t *testing.T) {
	for name, m := range map[string]*Manifest{
		"everything.rendered.yaml": everything(),
		"minimal.rendered.yaml":    mustDecode(t, minimal),
	} {
		got := mustRender(t, m)
		golden(t, filepath.Join("testdata", name), got)
		if diff := cmp.Diff(m, mustDecode(t, got)); diff != "" {
			t.Errorf("%s decodes to something else (-want +got):\n%s", name, diff)
		}
	}
}

// TestRenderNumbers: every number reads back as itself.
func TestRenderNumbers(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 12
	}
	for i := 0; i < 181; i += step {
		long := math.Sqrt(float64(i)) / math.Sqrt(181) // has as many digits as any
		m := everything()
		m.Seed = uint64(long * maxExactInteger)
		m.Crop.Pad = long * 10
		m.Model.Optimizer.LearningRate = math.Ldexp(long+0.5, -5*i)
		m.Model.Augment.Rotation = float64(i)
		if diff := cmp.Diff(m, mustDecode(t, mustRender(t, m))); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
}

// TestRenderText: every text reads back as itself, whatever it looks like.
func TestRenderText(t *testing.T) {
	texts := []string{
		"", " ", "x ", "yes", "No", "on", "null", "~", "true", "12", "1e3", "0x1F", "010", "1:30", ".inf", ".5", "1_000", "2019-01-01",
		"a: b", "a #b", "# a", "- a", "-", "--- a", "...", "a:", "&a", "*a", "!a", "|", ">", "@a", "`a", "%a", "{a}", "[a]", "a, b", "'a'", `"a"`, `a\b`,
		"a\nb", "\n", "a\tb", "é", "\u0085", "\u2028", "\ufeff", "\u00a0", "💩", "=", "<<", "?", "? a",
	}
	for _, text := range texts {
		m := everything()
		m.Message = text
		if diff := cmp.Diff(m, mustDecode(t, mustRender(t, m))); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}
