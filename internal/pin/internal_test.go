package pin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandwich-build/sandwich/internal/mirrortest"
	"github.com/sandwich-build/sandwich/internal/shared"
	"github.com/sandwich-build/sandwich/stages/cas"
)

func TestIsUnavailable(t *testing.T) {
	for url, want := range map[string]bool{
		mirrortest.PlaceholderURL:                                         true,
		"https://s.yimg.com/pw/images/en-us/photo_unavailable_l.png":      true,
		"https://s.yimg.com/pw/images/photo_unavailable.gif":              true,
		"http://l.yimg.com/g/images/photo_unavailable.gif?x=1":            true,
		"https://farm1.staticflickr.com/1/my_photo_unavailable.png":       false,
		"https://farm1.staticflickr.com/photo_unavailable.png/1_o.jpg":    false,
		"https://farm1.staticflickr.com/8087/8563450894_8f2fda7196_o.jpg": false,
		"": false,
	} {
		if got := isUnavailable(url); got != want {
			t.Errorf("%q: got %v", url, got)
		}
	}
}

// Genuine placeholders cannot be had any more, so this shows the look-up only: all sums
// are lower-case hex of the right length.
func TestPlaceholders(t *testing.T) {
	for sum := range placeholders {
		if strings.Trim(sum, "0123456789abcdef") != "" || (len(sum) != 32 && len(sum) != 40) {
			t.Errorf("%q is no MD5 or SHA-1", sum)
		}
	}
	if got := placeholder(mirrortest.Placeholder()); got != "" {
		t.Errorf("a lookalike passes for the real one: %q", got)
	}
	const abc = "900150983cd24fb0d6963f7d28e17f72"
	placeholders[abc] = reasonJunk
	defer delete(placeholders, abc)
	if got := placeholder([]byte("abc")); got != reasonJunk {
		t.Errorf("got %q", got)
	}
}

// Whatever is a picture by its first bytes is left to the decoder to judge; the rest is
// none whatever its name.
func TestNotPhoto(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(shared.Dir(t), "data", "nasty-images", "*", "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	refused := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got := notPhoto(data[:min(len(data), 32<<10)])
		if got != "" {
			refused++
			t.Logf("%s: %s", filepath.Base(file), got)
		}
		if strings.Contains(filepath.Base(file), "html") && got != "not a photo: text/html" {
			t.Errorf("%s: got %q", file, got)
		}
	}
	if refused == 0 || refused > len(files)/3 {
		t.Errorf("refused %d of %d", refused, len(files))
	}
}

func TestJournalSurvivesDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j, err := OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	bread, gone := key{URL: "https://a.com/bread", MD5: "x"}, key{URL: "https://a.com/gone"}
	for k, f := range map[key]fact{bread: {digest: cas.Sum([]byte("bread"))}, gone: {dead: "404 Not Found"}} {
		if err := j.add(k, f); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) + 1 {
		if err := os.WriteFile(path, whole[:cut], 0o644); err != nil {
			t.Fatal(err)
		}
		j, err := OpenJournal(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := j.add(bread, fact{digest: cas.Sum([]byte("toast"))}); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := OpenJournal(path)
		if err != nil {
			t.Fatal(err)
		}
		if f, ok := again.find(bread); !ok || f.digest != cas.Sum([]byte("toast")) {
			t.Errorf("cut at %d: the later line is lost: %v", cut, f)
		}
		if _, ok := again.find(gone); cut == len(whole) && !ok {
			t.Error("the earlier line is lost")
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzJournal(f *testing.F) {
	f.Add(`{"url":"https://a.com","sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","size":3}` + "\n")
	f.Add(`{"url":"https://a.com","dead":"404 Not Found"}` + "\n{")
	f.Add("\n\n\x00")
	f.Fuzz(func(t *testing.T, text string) {
		seen, whole, err := readJournal(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if whole != (text == "" || strings.HasSuffix(text, "\n")) {
			t.Errorf("%q: got whole %v", text, whole)
		}
		for k, f := range seen {
			if (f.dead == "") == f.digest.IsZero() {
				t.Errorf("%q: got %v %v", text, k, f)
			}
		}
	})
}

func FuzzCovers(f *testing.F) {
	f.Add("original: 404 Not Found; cvdf: deleted on Flickr", "cvdf")
	f.Fuzz(func(t *testing.T, reasons, place string) {
		if !covers(reasons, nil) {
			t.Error("no place is left out")
		}
		if covers(reasons, []string{place}) && !strings.Contains(reasons, place+": ") {
			t.Errorf("%q does not speak for %q", reasons, place)
		}
	})
}
