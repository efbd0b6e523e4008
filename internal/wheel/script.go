package wheel

import (
	"archive/zip"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sandwich-build/sandwich/internal/lazyregexp"
)

// firstLine finds the interpreter of the environment, wherever that lies.
const firstLine = "#!/usr/bin/env python3\n"

// interpreted gives a script, which begins with "#!python" where it is one of Python's, its
// interpreter.
func interpreted(in io.ReadCloser) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(in, maxScript)
	const mark = "#!python"
	start, err := buffered.Peek(len(mark))
	if err != nil || !bytes.Equal(start, []byte(mark)) {
		return script{buffered, in}, nil // an error shows up again
	}
	if _, err := buffered.ReadSlice('\n'); err != nil && !errors.Is(err, io.EOF) {
		_ = in.Close() // the first error counts
		return nil, &Error{"", "a script's first line: " + err.Error()}
	}
	return script{io.MultiReader(strings.NewReader(firstLine), buffered), in}, nil
}

type script struct {
	io.Reader
	io.Closer
}

var (
	pointName = lazyregexp.New(`^[A-Za-z0-9_][A-Za-z0-9_.+-]*$`)
	// A reference is module:attribute, both of which may have dots, and what extras it needs.
	reference = lazyregexp.New(`^([A-Za-z_][A-Za-z0-9_.]*)\s*:\s*([A-Za-z_][A-Za-z0-9_.]*)\s*(\[.*\])?$`)
)

// entryPoints makes the scripts that a wheel asks for: programs that call a function.
func entryPoints(files []*zip.File, info string) ([]File, error) {
	const name = "entry_points.txt"
	text, err := metadata(files, info+"/"+name)
	if err != nil {
		return nil, err
	}
	section := ""
	var scripts []File
	seen := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
			continue
		case line[0] == '[':
			section = strings.TrimSpace(strings.Trim(line, "[]"))
			continue
		case section != "console_scripts" && section != "gui_scripts":
			continue
		}
		key, value, _ := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		m := reference.FindStringSubmatch(strings.TrimSpace(value))
		switch {
		case m == nil || !pointName.MatchString(key):
			return nil, &Error{info + "/" + name, fmt.Sprintf("want a script as in tool = module:function, got %q", line)}
		case seen[key]:
			return nil, &Error{info + "/" + name, fmt.Sprintf("the script %q is there twice", key)}
		case len(scripts) == maxEntries:
			return nil, &Error{info + "/" + name, "more scripts than any wheel has"}
		}
		seen[key] = true
		first, _, _ := strings.Cut(m[2], ".")
		scripts = append(scripts, File{Place: Scripts, Path: key, text: fmt.Appendf(nil,
			"%simport sys\n\nfrom %s import %s\n\nif __name__ == \"__main__\":\n    sys.exit(%s())\n", firstLine, m[1], first, m[2])})
	}
	return scripts, nil
}
