package machine

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestMemory(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const meminfo = "MemTotal:       100 kB\nMemFree:        10 kB\nMemAvailable:   64 kB\nHugePages: 0\n"
	for _, test := range []struct {
		info, group string
		want        int64
	}{
		{meminfo, "max\n", 64 << 10},
		{meminfo, "1000\n", 1000},
		{meminfo, "9999999\n", 64 << 10},
		{"MemTotal: 1 kB\n", "max\n", 0},
		{"MemAvailable: many kB\n", "max\n", 0},
	} {
		if got := memory(file("info", test.info), file("max", test.group)); got != test.want {
			t.Errorf("%q, %q: %d, want %d", test.info, test.group, got, test.want)
		}
	}
	if got := memory(file("info", meminfo), filepath.Join(dir, "none")); got != 64<<10 {
		t.Errorf("without a group: %d", got)
	}
	if got := memory(filepath.Join(dir, "none"), ""); got != 0 {
		t.Errorf("on another system: %d", got)
	}
	if got := Memory(); runtime.GOOS == "linux" && got < 1<<20 {
		t.Errorf("this machine has %d bytes", got)
	}
}

func FuzzAvailable(f *testing.F) {
	f.Add([]byte("MemAvailable:   64 kB\n"))
	f.Fuzz(func(_ *testing.T, text []byte) { available(text) })
}
