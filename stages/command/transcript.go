package command

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/sandwich-build/sandwich/stages"
)

const maxPrinted = 64 << 20 // bytes of what a program prints that are kept

// transcript keeps what a program prints in a file, shows it line by line, and remembers the
// last lines.
type transcript struct {
	file  *os.File
	lines *Lines
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
	t := &transcript{file: f}
	t.lines = NewLines(func(text string) {
		show(text)
		t.tail = append(t.tail, text)
		if len(t.tail) > logEnd {
			t.tail = t.tail[1:]
		}
	})
	return t, nil
}

// Write implements io.Writer. It never fails: a program that prints too much is no reason
// to end it.
func (t *transcript) Write(p []byte) (int, error) {
	if keep := min(int64(len(p)), maxPrinted-t.size); keep > 0 && t.wrong == nil {
		_, t.wrong = t.file.Write(p[:keep])
	}
	t.size += int64(len(p))
	return t.lines.Write(p)
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
