package fetch

import (
	"path/filepath"
	"testing"
)

// TestMirrored says where images are read, which this package does not fetch.
func TestMirrored(t *testing.T) {
	mirrors := map[string]string{"https://docker.io/library": "./images", "https://docker.io": "https://mirror.example.com/hub", "https://docker.io/team/tools/own": "/own"}
	for url, want := range map[string]struct {
		at    string
		local bool
	}{
		"https://docker.io/library/python": {filepath.Join("/project", "images", "python"), true},
		"https://docker.io/team/tools":     {"https://mirror.example.com/hub/team/tools", false},
		"https://docker.io/team/tools/own": {"/own", true},
		"https://ghcr.io/team/tools":       {"https://ghcr.io/team/tools", false},
	} {
		at, local, err := Mirrored(mirrors, "/project", url)
		if err != nil || at != want.at || local != want.local {
			t.Errorf("%s is read from %s, %v, %v", url, at, local, err)
		}
	}
	if at, _, err := Mirrored(mirrors, "/project", "https://docker.io/library/%2e%2e/x"); err == nil {
		t.Errorf("a name leads out of the folder: %s", at)
	}
	if _, _, err := Mirrored(map[string]string{"nonsense": "./x"}, "/project", "https://docker.io/a"); err == nil {
		t.Error("a mirror of nothing is taken")
	}
}
