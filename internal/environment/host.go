package environment

import (
	"bufio"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/cpu"
)

// Host is what of this machine can decide what a program of the user's own writes: libraries
// choose their code by the processor's features, and lie in the system or in an image.
type Host struct {
	OS      string   `json:"os"`
	Arch    string   `json:"arch"`
	CPU     []string `json:"cpu,omitempty"`     // the features by which numeric libraries choose their code
	System  string   `json:"system,omitempty"`  // of a program of this machine: its distribution, "debian 12"
	Program string   `json:"program,omitempty"` // of a program of this machine: the digest of its file
	Python  string   `json:"python,omitempty"`  // of a program of this machine with wheels: their interpreter, "cpython 3.12.3"
}

// CurrentHost describes this machine, without a program.
func CurrentHost() Host {
	h := Processor()
	h.System = system()
	return h
}

// Processor is what of this machine a program of an image depends on. The image is an input of its
// stage.
func Processor() Host { return Host{OS: runtime.GOOS, Arch: runtime.GOARCH, CPU: features()} }

// features are what BLAS, oneDNN and their like ask a processor for.
func features() []string {
	var found []string
	add := func(name string, has bool) {
		if has {
			found = append(found, name)
		}
	}
	switch runtime.GOARCH {
	case "amd64":
		add("avx", cpu.X86.HasAVX)
		add("avx2", cpu.X86.HasAVX2)
		add("fma", cpu.X86.HasFMA)
		add("avx512f", cpu.X86.HasAVX512F)
		add("avx512bw", cpu.X86.HasAVX512BW)
		add("avx512vnni", cpu.X86.HasAVX512VNNI)
		add("avx512bf16", cpu.X86.HasAVX512BF16)
		add("amx", cpu.X86.HasAMXTile)
	case "arm64":
		add("asimddp", cpu.ARM64.HasASIMDDP)
		add("asimdhp", cpu.ARM64.HasASIMDHP)
		add("sve", cpu.ARM64.HasSVE)
		add("sve2", cpu.ARM64.HasSVE2)
	}
	return found
}

// system is the distribution and its version, as far as it tells.
func system() string {
	f, err := os.Open("/etc/os-release")
	if err != nil {
		return ""
	}
	defer f.Close()
	values := make(map[string]string)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), "=")
		values[key] = strings.Trim(value, `"'`)
	}
	return strings.TrimSpace(values["ID"] + " " + values["VERSION_ID"])
}
