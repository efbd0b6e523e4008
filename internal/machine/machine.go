// Package machine knows what the machine has to give.
package machine

import (
	"bytes"
	"os"
	"strconv"
)

// The files of Linux that tell about memory: of the machine, and of the container or
// other group of processes that this one belongs to.
const (
	memInfo  = "/proc/meminfo"
	groupMax = "/sys/fs/cgroup/memory.max"
)

// Memory returns how many bytes programs can have without swapping, or 0 where the
// system does not tell.
func Memory() int64 { return memory(memInfo, groupMax) }

func memory(memInfo, groupMax string) int64 {
	text, err := os.ReadFile(memInfo)
	if err != nil {
		return 0
	}
	free := available(text)
	// A group without a limit says "max", which is no number.
	text, err = os.ReadFile(groupMax)
	limit, parseErr := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil || parseErr != nil {
		return free
	}
	return min(free, limit)
}

// available finds "MemAvailable:   12345 kB".
func available(text []byte) int64 {
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) != 3 || string(fields[0]) != "MemAvailable:" {
			continue
		}
		kib, err := strconv.ParseInt(string(fields[1]), 10, 64)
		if err != nil {
			return 0
		}
		return kib << 10
	}
	return 0
}
