package pin

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// Journal remembers what an unfinished pinning found at each URL, so that the next run
// goes on from there. It is a file of JSON lines that is only ever appended to, with
// one write a line: a process that is killed, or two that pin at once, leave at worst
// a line that is skipped.
//
// A journal lives as long as the pinning: who has written the lock removes it. It must
// not live longer, or dead links would be remembered outside of the lock.
//
// A nil Journal remembers nothing.
type Journal struct {
	path string
	mu   sync.Mutex // guards what follows
	file *os.File   // nil until there is something in it
	seen map[keySum]fact
}

// key is what was asked: a URL, and the content that was wanted there.
type key struct {
	URL string
	MD5 string // base64; empty when any content was wanted
}

// keySum stands for a key: millions of URLs would fill the memory. With as many, it is less
// likely that any two have one sum than that a disk reads them wrongly.
type keySum [16]byte

func (k key) sum() keySum {
	sum := sha256.Sum256([]byte(k.URL + "\x00" + k.MD5))
	return keySum(sum[:len(keySum{})])
}

// fact is the answer: bytes, or the reason why there are none.
type fact struct {
	digest cas.Digest
	dead   string

	attempts int // of this run; no part of what is remembered
}

// line is the form of a fact in the file.
type line struct {
	URL    string `json:"url"`
	MD5    string `json:"md5,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	Size   int64  `json:"size,omitempty"`
	Dead   string `json:"dead,omitempty"`
}

// OpenJournal opens the journal at path, if there is one, and reads what it holds. The
// first fact creates the file, with the folders above it. On a disk that may only be read
// the journal is nil: what was pinned before can be built there, and nothing new can be.
func OpenJournal(path string) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &Journal{path: path, seen: make(map[keySum]fact)}, nil
	case errors.Is(err, syscall.EROFS):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("open journal: %w", err)
	}
	seen, whole, err := readJournal(f)
	if err == nil && !whole {
		// What a killed process left of a line must not join the next one.
		_, err = f.WriteString("\n")
	}
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", errors.Join(err, f.Close()))
	}
	return &Journal{path: path, file: f, seen: seen}, nil
}

// readJournal returns the facts in r, of which later ones win, and whether it ends with
// a whole line.
func readJournal(r io.Reader) (seen map[keySum]fact, whole bool, err error) {
	seen = make(map[keySum]fact)
	in := bufio.NewReader(r)
	for whole = true; ; {
		text, err := in.ReadBytes('\n')
		if len(text) > 0 {
			whole = bytes.HasSuffix(text, []byte("\n"))
			if k, f, ok := parseLine(text); ok {
				seen[k.sum()] = f
			}
		}
		if errors.Is(err, io.EOF) {
			return seen, whole, nil
		}
		if err != nil {
			return nil, false, err
		}
	}
}

func parseLine(text []byte) (key, fact, bool) {
	var l line
	if err := json.Unmarshal(text, &l); err != nil || l.URL == "" {
		return key{}, fact{}, false
	}
	k := key{URL: l.URL, MD5: l.MD5}
	if l.Dead != "" {
		return k, fact{dead: l.Dead}, l.SHA256 == ""
	}
	d, err := cas.NewDigest(l.SHA256, l.Size)
	return k, fact{digest: d}, err == nil
}

func (j *Journal) find(k key) (fact, bool) {
	if j == nil {
		return fact{}, false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	f, ok := j.seen[k.sum()]
	return f, ok
}

func (j *Journal) add(k key, f fact) error {
	if j == nil {
		return nil
	}
	l := line{URL: k.URL, MD5: k.MD5, Dead: f.dead}
	if f.dead == "" {
		l.SHA256, l.Size = f.digest.Hex(), f.digest.Size()
	}
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("journal %s: %w", k.URL, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		if err := j.create(); err != nil {
			return fmt.Errorf("journal %s: %w", k.URL, err)
		}
	}
	if _, err := j.file.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("journal %s: %w", k.URL, err)
	}
	j.seen[k.sum()] = f
	return nil
}

func (j *Journal) create() error {
	if err := os.MkdirAll(filepath.Dir(j.path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(j.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	j.file = f
	return err
}

// Close closes the file and keeps it for the next run.
func (j *Journal) Close() error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}

// Remove closes and removes the file, once its facts are in a lock.
func (j *Journal) Remove() error {
	if j == nil {
		return nil
	}
	err := j.Close()
	if gone := os.Remove(j.path); !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}
