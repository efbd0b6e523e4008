package command

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/sandwich-build/sandwich/stages"
)

const (
	maxPrinted = 64 << 20 // bytes of what a program prints that are kept
	maxLine    = 4 << 10  // bytes of a line that is shown at once
)

// transcript keeps what a program prints in a file, shows it line by line, and remembers the
// last lines. A carriage return, with which programs draw progress, ends a line too.
type transcript struct {
	file  *os.File
	show  func(string)
	line  []byte
	tail  []string
	size  int64
	wrong error // why not all of it is in the file
}

// openTranscript makes the file.
func openTranscript(name string, show func(string)) (*transcript, error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("keep what it prints: %w", err)
	}
	return &transcript{file: f, show: show}, nil
}

// Write implements io.Writer. It never fails: a program that prints too much is no reason
// to end it.
func (t *transcript) Write(p []byte) (int, error) {
	if keep := min(int64(len(p)), maxPrinted-t.size); keep > 0 && t.wrong == nil {
		_, t.wrong = t.file.Write(p[:keep])
	}
	t.size += int64(len(p))
	for rest := p; len(rest) > 0; {
		i := bytes.IndexAny(rest, "\r\n")
		if i < 0 {
			i = len(rest)
		}
		t.line = append(t.line, rest[:min(i, max(maxLine-len(t.line), 0))]...)
		if i < len(rest) {
			t.flush()
			i++
		}
		rest = rest[i:]
	}
	return len(p), nil
}

// flush ends the line that was begun.
func (t *transcript) flush() {
	text := strings.TrimRight(strings.ToValidUTF8(string(t.line), "\uFFFD"), " \t")
	t.line = t.line[:0]
	if text == "" {
		return
	}
	t.show(text)
	t.tail = append(t.tail, text)
	if len(t.tail) > logEnd {
		t.tail = t.tail[1:]
	}
}

// moveTo gives the file another name, where it stays.
func (t *transcript) moveTo(name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return err
	}
	return os.Rename(t.file.Name(), name)
}

// keep puts what was printed beside the result.
func (t *transcript) keep(ctx context.Context, task *stages.Task) error {
	if t.wrong != nil {
		return fmt.Errorf("keep what it printed: %w", t.wrong)
	}
	if t.size > maxPrinted {
		task.Warnf("it printed %d bytes, of which the first %d are kept", t.size, int64(maxPrinted))
	}
	if t.size == 0 {
		return nil
	}
	if _, err := t.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return task.KeepPrinted(ctx, t.file)
}

// close closes the file. What matters of it was read or moved before.
func (t *transcript) close() { _ = t.file.Close() }
