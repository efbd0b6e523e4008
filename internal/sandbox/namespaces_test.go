package sandbox

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	set := func(name, text string) {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if found := refusalsIn(dir); len(found) > 0 {
		t.Errorf("a kernel without the settings refuses by %v", found)
	}
	set("user/max_user_namespaces", "96365\n")
	set("kernel/unprivileged_userns_clone", "1\n")
	set("kernel/apparmor_restrict_unprivileged_userns", "0\n")
	if found := refusalsIn(dir); len(found) > 0 {
		t.Errorf("a kernel that allows them refuses by %v", found)
	}
	set("user/max_user_namespaces", "0\n")
	set("kernel/apparmor_restrict_unprivileged_userns", "1\n")
	want := []Refusal{
		{"user.max_user_namespaces=0", "sysctl -w user.max_user_namespaces=15000"},
		{"kernel.apparmor_restrict_unprivileged_userns=1", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
	}
	if diff := cmp.Diff(want, refusalsIn(dir)); diff != "" {
		t.Error(diff)
	}
}
