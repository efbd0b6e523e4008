package pipeline

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// FuzzOpenIndex opens a folder with anything as index.json: it is refused, or what it says it
// has is there as it was.
func FuzzOpenIndex(f *testing.F) {
	const counts = `{"subsets":[{"subset":"train","boxes":1,"labels":[{"id":"/m/1","boxes":1,"images":1,"yes":[0,0,0,0,0],"unknown":[1,1,1,1,1]}]}]}`
	box := cas.Sum([]byte("boxes"))
	f.Add(`{"version":2,"sources":[{"url":"https://x","digest":"` + box.String() + `","size":5}],"boxes":{"train":"` + box.String() +
		`"},"files":{"labels.json":"` + string(digest.FromString(counts)) + `","boxes/train/m_1.parquet":"` + string(digest.FromString("x")) + `"}}`)
	f.Add(`{"version":2,"boxes":{"test":"` + box.String() + `"},"files":{"labels.json":"` + string(digest.FromString(counts)) + `"}}`)
	f.Add(`{"version":1}`)
	f.Fuzz(func(t *testing.T, text string) {
		dir := t.TempDir()
		for name, content := range map[string]string{indexFile: text, "labels.json": counts, "boxes/train/m_1.parquet": "x"} {
			file := filepath.Join(dir, filepath.FromSlash(name))
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		var wrong *IndexError
		x, err := openIndex(dir)
		if err != nil {
			if !errors.As(err, &wrong) {
				t.Errorf("%T: %v", err, err)
			}
			return
		}
		if !x.Has(box) {
			return
		}
		files, _, err := x.Index(t.Context(), cas.NewMemory(), box)
		if err != nil && !errors.As(err, &wrong) {
			t.Errorf("%T: %v", err, err)
		}
		if err == nil && files["m_1.parquet"] != cas.Sum([]byte("x")) {
			t.Errorf("files %v", files)
		}
	})
}
