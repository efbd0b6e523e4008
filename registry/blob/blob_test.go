package blob

import "testing"

func TestCheckKey(t *testing.T) {
	for _, key := range []string{"a", "a/b", ".quilt/packages/x", "a b", "..."} {
		if err := CheckKey(key); err != nil {
			t.Error(err)
		}
	}
	for _, key := range []string{"", ".", "..", "/a", "a/", "a//b", "a/../b", "./a", "\xff", "a\x00b"} {
		if err := CheckKey(key); err == nil {
			t.Errorf("CheckKey(%q) succeeded", key)
		}
	}
}
