package manifest

import (
	"bufio"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/shared"
)

func TestFiles(t *testing.T) {
	official := func(name string, subsets ...string) []string {
		var got []string
		for _, f := range Files(Dataset{Source: Source{Name: name}, Subsets: subsets}) {
			got = append(got, strings.TrimSpace(string(f.Role)+" "+f.Subset)+" "+strings.TrimPrefix(f.URL, openImages))
		}
		return got
	}
	want := []string{
		"classes 2018_04/class-descriptions-boxable.csv",
		"hierarchy 2018_04/bbox_labels_600_hierarchy.json",
		"boxes train 2018_04/train/train-annotations-bbox.csv",
		"images train 2018_04/train/train-images-boxable-with-rotation.csv",
		"boxes validation 2018_04/validation/validation-annotations-bbox.csv",
		"images validation 2018_04/validation/validation-images-with-rotation.csv",
	}
	if diff := cmp.Diff(want, official("open-images/v4", "train", "validation")); diff != "" {
		t.Errorf("v4 (-want +got):\n%s", diff)
	}
	want = []string{
		"classes v5/class-descriptions-boxable.csv",
		"hierarchy 2018_04/bbox_labels_600_hierarchy.json",
		"boxes test v5/test-annotations-bbox.csv",
		"images test 2018_04/test/test-images-with-rotation.csv",
		"boxes train v6/oidv6-train-annotations-bbox.csv",
		"images train 2018_04/train/train-images-boxable-with-rotation.csv",
	}
	if diff := cmp.Diff(want, official("open-images/v7", "test", "train")); diff != "" {
		t.Errorf("v7 (-want +got):\n%s", diff)
	}
}

func TestFilesOfOnesOwn(t *testing.T) {
	got := Files(Dataset{
		Source:  Source{Classes: "classes.csv", Boxes: "../{subset}/{subset}.csv", Images: "https://example.org/{subset}"},
		Subsets: []string{"test"},
	})
	want := []SourceFile{
		{Role: Classes, URL: "classes.csv"},
		{Role: BoxRows, Subset: "test", URL: "../test/test.csv"},
		{Role: ImageRows, Subset: "test", URL: "https://example.org/test"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestOfficialSums compares the table with the published one.
func TestOfficialSums(t *testing.T) {
	f, err := os.Open(filepath.Join(shared.Dir(t), "data", "metadata", "OFFICIAL_DIGESTS.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	published := make(map[string]SourceFile)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if cells := strings.Split(lines.Text(), "\t"); cells[0] != "file" {
			size, err := strconv.ParseInt(cells[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			published[cells[0]] = SourceFile{OfficialSize: size, OfficialMD5: cells[2]}
		}
	}
	summed := make(map[string]bool)
	for _, name := range sourceNames() {
		for _, f := range Files(Dataset{Source: Source{Name: name}, Subsets: []string{"train", "validation", "test"}}) {
			if _, err := url.Parse(f.URL); err != nil {
				t.Error(err)
			}
			if f.OfficialMD5 == "" {
				continue
			}
			path := strings.TrimPrefix(f.URL, openImages)
			summed[path] = true
			_, file, _ := strings.Cut(path, "/") // the table leaves out the release's folder
			if want := published[file]; f.OfficialMD5 != want.OfficialMD5 || f.OfficialSize != want.OfficialSize {
				t.Errorf("%s: %s, %d bytes; published: %s, %d bytes", path, f.OfficialMD5, f.OfficialSize, want.OfficialMD5, want.OfficialSize)
			}
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(officialSums)), slices.Sorted(maps.Keys(summed))); diff != "" {
		t.Errorf("sums of files that no data set has (-table +used):\n%s", diff)
	}
	if names := slices.Sorted(maps.Keys(sources)); !slices.Equal(names, sourceNames()) {
		t.Errorf("sourceNames is %v, the table has %v", sourceNames(), names)
	}
}
