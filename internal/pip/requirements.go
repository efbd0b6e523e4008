package pip

import (
	"strings"
)

// Includes returns the files of requirements and constraints that a file of requirements names,
// as it names them: relative to its own folder. Those that are URLs are left out.
func Includes(text string) []string {
	var files []string
	for line := range logicalLines(text) {
		for _, option := range []string{"--requirement", "-r", "--constraint", "-c"} {
			rest, ok := strings.CutPrefix(line, option)
			if !ok {
				continue
			}
			if strings.HasPrefix(option, "--") {
				if rest == "" || !strings.ContainsAny(rest[:1], "= \t") {
					continue // another option
				}
				rest = rest[1:]
			}
			file := strings.Trim(strings.TrimSpace(rest), `"'`)
			if file != "" && !strings.Contains(file, "://") {
				files = append(files, file)
			}
			break
		}
	}
	return files
}

// logicalLines yields the lines without comments, those that end with a backslash joined with the
// next.
func logicalLines(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		joined := ""
		for line := range strings.SplitSeq(text, "\n") {
			line = strings.TrimSuffix(line, "\r")
			before, goesOn := strings.CutSuffix(line, `\`)
			switch comment := strings.HasPrefix(strings.TrimSpace(line), "#"); {
			case comment:
				line = " " + line // a comment also behind a line that goes on
			case goesOn:
				joined += before
				continue
			}
			joined += line
			if !yield(strings.TrimSpace(withoutComment(joined))) {
				return
			}
			joined = ""
		}
		if joined != "" {
			yield(strings.TrimSpace(withoutComment(joined)))
		}
	}
}

// withoutComment cuts what begins with # at the start of a line or behind a space.
func withoutComment(line string) string {
	for i := range len(line) {
		if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
			return line[:i]
		}
	}
	return line
}
