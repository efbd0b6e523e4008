package sandbox

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
)

// Refusal is a setting of the kernel by which users other than root get no sandbox, and the
// command of root that changes it until the machine starts again.
type Refusal struct{ Setting, Allow string }

// refusals are the settings that distributions have, each with the value that refuses.
var refusals = []struct{ setting, refuses, allow string }{
	{"user.max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"},
	{"kernel.unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"},
	{"kernel.apparmor_restrict_unprivileged_userns", "1", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
}

// Refusals are the settings by which the kernel refuses user namespaces, without which nobody but
// root gets a sandbox. A setting that a kernel does not have refuses nothing.
func Refusals() []Refusal { return refusalsIn("/proc/sys") }

// refusalsIn reads the settings in the folder where the kernel shows them.
func refusalsIn(dir string) []Refusal {
	var found []Refusal
	for _, r := range refusals {
		name := filepath.Join(dir, strings.ReplaceAll(r.setting, ".", "/"))
		if text, err := os.ReadFile(name); err == nil && string(bytes.TrimSpace(text)) == r.refuses {
			found = append(found, Refusal{Setting: r.setting + "=" + r.refuses, Allow: r.allow})
		}
	}
	return found
}
