package folder

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/registry/quilt"
)

// Where upper and lower case, or two forms of a letter, are one, the file of a second key
// is there when it is to be created. That is an error: it would replace the first.
func TestTwoKeysOfOneFile(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := root.Close(); err != nil {
			t.Error(err)
		}
	}()
	e := quilt.NewEntry("A", "s3://b/A", 1, quilt.Hash{}, quilt.Value{})
	f, err := create(root, e)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	var fault *TwinsError
	if _, err := create(root, e); !errors.As(err, &fault) || fault.Key != "A" {
		t.Errorf("create = %v, want a *TwinsError", err)
	}
}

// compare is checked against its definition, on lists of all sorts.
func TestCompare(t *testing.T) {
	draw := rand.New(rand.NewPCG(1, 2))
	keys := []string{"B", "a/b", "a/c/d", "a/c-d", "a-b", "a.txt", "z", "é"}
	for range 500 {
		var entries []quilt.Entry
		var right []bool
		var present []string
		var want Report
		for _, key := range keys {
			in, there, good := draw.IntN(2) == 0, draw.IntN(2) == 0, draw.IntN(2) == 0
			if in {
				entries, right = append(entries, quilt.NewEntry(key, "", 1, quilt.Hash{}, quilt.Value{})), append(right, there && good)
			}
			if there {
				present = append(present, key)
			}
			switch {
			case in && !there:
				want.Missing = append(want.Missing, key)
			case in && !good:
				want.Changed = append(want.Changed, key)
			case !in && there:
				want.Extra = append(want.Extra, key)
			}
		}
		draw.Shuffle(len(present), func(i, j int) { present[i], present[j] = present[j], present[i] })
		if diff := cmp.Diff(want, compare(entries, slices.Clone(present), right)); diff != "" {
			t.Fatalf("present %v (-want +got):\n%s", present, diff)
		}
	}
}

// What comes in small pieces is written in large ones.
func TestCopyBytesWritesRarely(t *testing.T) {
	var w counted
	data := strings.Repeat("0123456789", bufferSize/4)
	n, err := copyBytes(t.Context(), &w, struct{ io.Reader }{&dripping{data: data}})
	if err != nil || n != int64(len(data)) || w.String() != data {
		t.Errorf("copyBytes = %d, %v", n, err)
	}
	if w.writes != 3 {
		t.Errorf("%d writes for %d bytes, want 3", w.writes, n)
	}
}

type counted struct {
	strings.Builder
	writes int
}

func (c *counted) Write(p []byte) (int, error) {
	c.writes++
	return c.Builder.Write(p)
}

type dripping struct{ data string }

func (d *dripping) Read(p []byte) (int, error) {
	if d.data == "" {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 1000)], d.data)
	d.data = d.data[n:]
	return n, nil
}
