package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// idleFolder is where the program that does nothing is mounted.
const idleFolder = "/idle"

// ends are the instructions that end a process without an error, by processor.
var ends = map[string]struct {
	machine uint16 // as ELF numbers it
	code    []byte
}{
	"amd64": {62, []byte{
		0x31, 0xff, // xor edi, edi
		0xb8, 60, 0, 0, 0, // mov eax, 60: exit
		0x0f, 0x05, // syscall
	}},
	"arm64": {183, []byte{
		0x00, 0x00, 0x80, 0xd2, // mov x0, #0
		0xa8, 0x0b, 0x80, 0xd2, // mov x8, #93: exit
		0x01, 0x00, 0x00, 0xd4, // svc #0
	}},
}

// idleProgram is a program of Linux that does nothing and needs nothing of a system: machines that are
// none of Linux have no other at hand.
func idleProgram(arch string) ([]byte, error) {
	end, ok := ends[arch]
	if !ok {
		return nil, fmt.Errorf("there is no program to try it with on %s", arch)
	}
	const base, header, segment = 0x400000, 64, 56
	size := uint64(header + segment + len(end.code))
	text := []byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0} // of 64 bits, little endian
	for _, field := range []any{
		uint16(2), end.machine, uint32(1), uint64(base + header + segment), // a program, and where it starts
		uint64(header), uint64(0), uint32(0), uint16(header), uint16(segment), uint16(1), // one segment, and where it is told
		uint16(0), uint16(0), uint16(0), // no sections
		uint32(1), uint32(5), // load, to be read and run
		uint64(0), uint64(base), uint64(base), size, size, uint64(0x1000),
	} {
		var err error
		if text, err = binary.Append(text, binary.LittleEndian, field); err != nil {
			return nil, err
		}
	}
	return append(text, end.code...), nil
}

// idle is a process that does nothing, in an image of nothing. That the program is mounted tries whether
// the engine sees this machine's folders.
func idle() (p Process, clean func() error, err error) {
	text, err := idleProgram(runtime.GOARCH)
	if err != nil {
		return p, nil, err
	}
	dir, err := os.MkdirTemp("", "sandwich-idle-*")
	if err != nil {
		return p, nil, err
	}
	clean = func() error { return os.RemoveAll(dir) }
	if err := os.WriteFile(filepath.Join(dir, "idle"), text, 0o755); err != nil {
		return p, nil, errors.Join(err, clean())
	}
	return Process{Image: nothing{}, Args: []string{idleFolder + "/idle"}, Dir: "/", Mounts: []Mount{{From: dir, To: idleFolder}}}, clean, nil
}
