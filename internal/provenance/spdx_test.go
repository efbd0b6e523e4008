package provenance_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandwich-build/sandwich/internal/provenance"
)

// findSPDXTools returns a Python with the SPDX tools that .ci/run installs. Where it is missing
// the test is skipped, but fails in CI.
func findSPDXTools(t *testing.T) string {
	t.Helper()
	python := os.Getenv("SANDWICH_SPDX")
	if cache, err := os.UserCacheDir(); python == "" && err == nil {
		python = filepath.Join(cache, "sandwich-ci", "spdx-tools-0.8.5", "bin", "python")
	}
	if _, err := os.Stat(python); err == nil {
		return python
	}
	const hint = "the SPDX tools are not installed; set SANDWICH_SPDX to the python of a virtual environment with spdx-tools==0.8.5"
	if os.Getenv("CI") != "" {
		t.Fatal(hint)
	}
	t.Skip(hint)
	return ""
}

// TestSPDXToolsAgree has the project's own validator read a list with all that one can have.
func TestSPDXToolsAgree(t *testing.T) {
	python := findSPDXTools(t)
	program := provenance.Component{Name: "sandwich", Version: "example.org/cmd/sandwich@v1.2.3", SHA256: blob("program").Hex()}
	text, err := provenance.EncodeSBOM(program, []provenance.Component{
		{Name: "go", Version: "1.26.5", PURL: "pkg:golang/stdlib@1.26.5"},
		provenance.GoModule("github.com/Masterminds/semver/v3", "v3.0.0-20260908115904-76ddd98e1f92+incompatible", "h1:abc="),
		provenance.GoModule("golang.org/x/sys", "v0.49.0", ""),
		provenance.Conda("numpy", "2.0", "py312_0", "channel/noarch/numpy-2.0-py312_0.conda", strings.Repeat("0", 64)),
		provenance.Wheel("ruamel.yaml", "0.18.6+local", strings.Repeat("0", 64)),
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "sbom.spdx.json")
	if err := os.WriteFile(file, text, 0o666); err != nil {
		t.Fatal(err)
	}
	validate := exec.CommandContext(t.Context(), python, "-m", "spdx_tools.spdx.clitools.pyspdxtools", "-i", file)
	if said, err := validate.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, said, text)
	}
}
