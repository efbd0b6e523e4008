package quilt

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// KeyError says that a logical key can not be used.
type KeyError struct {
	Key    string
	Reason string
}

func (e *KeyError) Error() string { return fmt.Sprintf("logical key %+q: %s", e.Key, e.Reason) }

// CheckKey returns a *KeyError unless key may be in a package: segments divided by
// "/", none of which is empty, "." or "..". quilt3 accepts "../a" and "/etc/a" when it
// reads a package and writes there; no caller of this package can.
func CheckKey(key string) error {
	switch {
	case !utf8.ValidString(key):
		return &KeyError{key, "not UTF-8"}
	case strings.ContainsRune(key, 0):
		return &KeyError{key, "holds a NUL character"}
	}
	for segment := range strings.SplitSeq(key, "/") {
		switch segment {
		case "":
			return &KeyError{key, "has an empty part"}
		case ".", "..":
			return &KeyError{key, "has a part " + segment}
		}
	}
	return nil
}

// CheckFileKey returns a *KeyError unless key may also become a file below a folder on
// every system. It refuses, besides what CheckKey does, what means another place or a
// device on Windows: backslashes, drive letters, and names such as NUL or com1.txt.
func CheckFileKey(key string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if strings.Contains(key, `\`) {
		return &KeyError{key, "holds a backslash, which divides folders on some systems"}
	}
	for segment := range strings.SplitSeq(key, "/") {
		if isDevice(segment) {
			return &KeyError{key, fmt.Sprintf("part %q is the name of a device on some systems", segment)}
		}
		if len(segment) >= 2 && segment[1] == ':' && unicode.IsLetter(rune(segment[0])) {
			return &KeyError{key, fmt.Sprintf("part %q starts with a drive letter", segment)}
		}
	}
	return nil
}

// isDevice reports whether Windows opens a device for a file of this name, whatever
// its extension, case and trailing spaces are.
func isDevice(name string) bool {
	base, _, _ := strings.Cut(name, ".")
	base, _, _ = strings.Cut(base, ":")
	base = strings.ToUpper(strings.TrimRight(base, " "))
	switch base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	for _, prefix := range []string{"COM", "LPT"} {
		if digit, ok := strings.CutPrefix(base, prefix); ok {
			switch digit {
			case "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³":
				return true
			}
		}
	}
	return false
}

// CompareKeys orders logical keys as the entries of a package are: by segments, so
// that a/b stands before a-b. It returns a negative number, zero or a positive number.
func CompareKeys(a, b string) int {
	for i := range min(len(a), len(b)) {
		if x, y := rank(a[i]), rank(b[i]); x != y {
			return x - y
		}
	}
	return len(a) - len(b)
}

// rank puts the divider before every other character.
func rank(c byte) int {
	if c == '/' {
		return -1
	}
	return int(c)
}

// CheckName returns an error unless name is the name of a package: a namespace and a
// name, of letters, digits, "_" and "-".
func CheckName(name string) error {
	namespace, rest, ok := strings.Cut(name, "/")
	if !ok || !isWord(namespace) || !isWord(rest) {
		return fmt.Errorf("package name %+q: want namespace/name of letters, digits, _ and -", name)
	}
	return nil
}

// isWord reports whether s matches [\w-]+ as Python's re does, for which numbers of
// every sort are word characters and combining marks are not.
func isWord(s string) bool {
	for _, r := range s {
		if r == utf8.RuneError || r != '_' && r != '-' && !unicode.IsLetter(r) && !unicode.IsNumber(r) {
			return false
		}
	}
	return s != ""
}
