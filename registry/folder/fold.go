package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/sandwich-build/sandwich/registry/quilt"
)

// TwinsError says that a package has two names that are one file or folder on the file system of
// the destination, where upper and lower case are one, or several forms of a letter.
type TwinsError struct {
	Key   string // logical key of an entry
	Other string // path of the file or folder of the package that is the same there; "" when not known
}

func (e *TwinsError) Error() string {
	other := "another file of the package"
	if e.Other != "" {
		other = fmt.Sprintf("%+q", e.Other)
	}
	return fmt.Sprintf("%+q and %s are one on the file system of the destination", e.Key, other)
}

// twins are two names in one folder of a package that some file system takes for one.
type twins struct {
	key    string    // of the entry that brings the second name
	folder string    // that the names are in, slash-separated; "." for the top
	names  [2]string // in the order of the package
}

// findTwins returns the names that are one where upper and lower case are, or the forms of
// a letter that Unicode takes for equal, or trailing dots and spaces. Each name is paired
// with the first of its sort. It takes more for one than any file system does: which of
// them are one somewhere is tried out there.
func findTwins(entries []quilt.Entry) []twins {
	var found []twins
	first := make(map[string]string, len(entries)) // the path by its folded form, of files and folders
	before := ""
	for _, e := range entries {
		// The folders that the entry before was in too are known.
		for end := shared(before, e.Key); end < len(e.Key); {
			if n := strings.IndexByte(e.Key[end+1:], '/'); n >= 0 {
				end += 1 + n
			} else {
				end = len(e.Key)
			}
			name := e.Key[:end]
			folded := fold(name)
			switch other, ok := first[folded]; {
			case !ok:
				first[folded] = name
			case other != name && path.Dir(other) == path.Dir(name): // else their folders are twins
				found = append(found, twins{key: e.Key, folder: path.Dir(name), names: [2]string{path.Base(other), path.Base(name)}})
			}
		}
		before = e.Key
	}
	return found
}

// shared returns the length of the longest folder that two keys are in.
func shared(a, b string) int {
	last := 0
	for i := 0; i < len(a) && i < len(b) && a[i] == b[i]; i++ {
		if a[i] == '/' {
			last = i
		}
	}
	return last
}

// fold returns the same text for all paths that some file system may take for one.
func fold(name string) string {
	if !strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) {
		name = strings.ToLower(name)
	} else {
		name = norm.NFKD.String(cases.Fold().String(norm.NFKD.String(name)))
	}
	if !strings.Contains(name, "./") && !strings.Contains(name, " /") && strings.TrimRight(name, ". ") == name {
		return name
	}
	segments := strings.Split(name, "/")
	for i, s := range segments {
		segments[i] = strings.TrimRight(s, ". ")
	}
	return strings.Join(segments, "/")
}

// probeName is the folder, in the part folder, that pairs of names are tried out in.
const probeName = "probe"

// checkTwins returns a *TwinsError when two names of the package are one in the folder
// part, and tries that out only where the package has such names at all. It leaves nothing
// there.
func checkTwins(part string, entries []quilt.Entry, same func(dir *os.Root, names [2]string) (bool, error)) (err error) {
	all := findTwins(entries)
	if len(all) == 0 {
		return nil
	}
	root, err := os.OpenRoot(part)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.RemoveAll(probeName), root.Close()) }()
	for _, t := range all {
		if err := root.RemoveAll(probeName); err != nil {
			return err
		}
		if err := root.Mkdir(probeName, 0o777); err != nil {
			return err
		}
		dir, err := root.OpenRoot(probeName)
		if err != nil {
			return err
		}
		one, err := same(dir, t.names)
		if err = errors.Join(err, dir.Close()); err != nil {
			return fmt.Errorf("try out names such as %q: %w", t.names[1], err)
		}
		if one {
			return &TwinsError{Key: t.key, Other: path.Join(t.folder, t.names[0])}
		}
	}
	return nil
}

// sameName reports whether two names are one in a folder that has neither.
func sameName(dir *os.Root, names [2]string) (bool, error) {
	f, err := dir.OpenFile(names[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return false, err
	}
	if err := f.Close(); err != nil {
		return false, err
	}
	_, err = dir.Lstat(names[1])
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
