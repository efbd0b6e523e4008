package pipeline_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
	"github.com/sandwich-build/sandwich/stages/cas/upkeep"
)

// lockOf returns the text of a lock with one photo and one tombstone.
func lockOf(t *testing.T, photo cas.Digest) []byte {
	t.Helper()
	var text bytes.Buffer
	err := lock.Encode(&text, &lock.Lock{Photos: func(yield func(lock.Photo, error) bool) {
		_ = yield(lock.Photo{ID: "0000000000000001", Place: "original", Digest: digest.Digest(photo.String()), Size: photo.Size()}, nil) &&
			yield(lock.Photo{ID: "0000000000000002", Dead: "no place has it"}, nil)
	}})
	if err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

// TestRoots notes a lock and an installed package, and takes them away: at first what
// they need is still known, and after a month nothing is kept for them.
func TestRoots(t *testing.T) {
	store, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	lockPath, lunch := filepath.Join(dir, "manifest.lock"), filepath.Join(dir, "lunch")
	was, is := cas.Sum([]byte("photo")), cas.Sum([]byte("another photo"))
	copied, err := cas.PutBytes(t.Context(), store, lockOf(t, was))
	if err != nil {
		t.Fatal(err)
	}
	built := cas.Sum([]byte("action"))
	record, err := json.Marshal(map[string]any{
		"package": "me/lunch@1234", "stages": []any{map[string]any{"stage": "crop", "action": fmt.Sprintf("%s/%d", built.Hex(), built.Size()), "tree": fmt.Sprintf("%s/%d", was.Hex(), was.Size())}},
	})
	err = errors.Join(err,
		os.WriteFile(lockPath, lockOf(t, is), 0o666), os.Mkdir(lunch, 0o777),
		disk.AddRoot(store.Root(), disk.Root{Path: lockPath, Name: "me/lunch", Lock: fmt.Sprintf("%s %d", copied.Hex(), copied.Size())}),
		disk.AddRoot(store.Root(), disk.Root{Path: lunch, Name: "me/lunch", Package: "me/lunch@1234"}),
		store.Append(t.Context(), "me/lunch", record),
	)
	if err != nil {
		t.Fatal(err)
	}
	roots := func(now time.Time) (map[string]string, int) {
		t.Helper()
		keep, gone, err := pipeline.Roots(t.Context(), store, now)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, r := range keep {
			var needs []string
			for _, list := range [][]cas.Digest{r.Blobs, r.Results, r.Actions} {
				for _, d := range list {
					needs = append(needs, map[cas.Digest]string{was: "was", is: "is", copied: "copy", built: "built"}[d])
				}
			}
			got[string(r.Reason)+" "+filepath.Base(r.Name)] = strings.Join(needs, " ")
		}
		return got, len(gone)
	}
	now := time.Now()
	check := func(now time.Time, gone int, want map[string]string) {
		t.Helper()
		got, n := roots(now)
		if diff := cmp.Diff(want, got); diff != "" || n != gone {
			t.Errorf("%d are gone, want %d (-want +got)\n%s", n, gone, diff)
		}
	}
	check(now.AddDate(1, 0, 0), 0, map[string]string{
		string(upkeep.ReasonLock) + " manifest.lock": "is", string(upkeep.ReasonInstalled) + " lunch": "built", string(upkeep.ReasonHistory) + " lunch": "built",
	})
	if err := errors.Join(os.Remove(lockPath), os.Remove(lunch)); err != nil {
		t.Fatal(err)
	}
	check(now.AddDate(0, 0, 29), 0, map[string]string{
		string(upkeep.ReasonLock) + " manifest.lock": "copy was", string(upkeep.ReasonInstalled) + " lunch": "built", string(upkeep.ReasonHistory) + " lunch": "built",
	})
	check(now.AddDate(0, 0, 31), 2, map[string]string{})
}
