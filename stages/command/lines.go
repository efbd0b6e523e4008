package command

import (
	"bytes"
	"strings"
)

const maxLine = 4 << 10 // bytes of a line that is shown at once

// Lines is a writer that shows what a program prints line by line, without the empty ones. A
// carriage return, with which programs draw progress, ends a line too.
type Lines struct {
	show func(string)
	line []byte
}

// NewLines returns a writer that calls show for each line. Flush it at the end.
func NewLines(show func(string)) *Lines { return &Lines{show: show} }

// Write implements io.Writer. It never fails.
func (l *Lines) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		i := bytes.IndexAny(rest, "\r\n")
		if i < 0 {
			i = len(rest)
		}
		l.line = append(l.line, rest[:min(i, max(maxLine-len(l.line), 0))]...)
		if i < len(rest) {
			l.Flush()
			i++
		}
		rest = rest[i:]
	}
	return len(p), nil
}

// Flush ends the line that was begun.
func (l *Lines) Flush() {
	text := strings.TrimRight(strings.ToValidUTF8(string(l.line), "\uFFFD"), " \t")
	l.line = l.line[:0]
	if text != "" {
		l.show(text)
	}
}
