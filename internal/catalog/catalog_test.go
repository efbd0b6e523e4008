package catalog

import (
	"bytes"
	"context"
	"fmt"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/boxindex"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/shared"
)

const (
	classes = "/m/food,Food\n/m/sandwich,Sandwich\n/m/burger,Hamburger\n/m/hotdog,Hot dog\n/m/bun,Bun\n/m/dog,Dog\n"
	// Hamburger stands in two places, and the bun is a part of it.
	hierarchy = `{"LabelName": "/m/root", "Subcategory": [
		{"LabelName": "/m/food", "Subcategory": [
			{"LabelName": "/m/sandwich", "Subcategory": [{"LabelName": "/m/burger", "Part": [{"LabelName": "/m/bun"}]}, {"LabelName": "/m/hotdog"}]},
			{"LabelName": "/m/burger"}]},
		{"LabelName": "/m/dog"}]}`
)

func small(t *testing.T) *Catalog {
	t.Helper()
	list, err := openimages.ReadClasses(strings.NewReader(classes), "classes.csv")
	if err != nil {
		t.Fatal(err)
	}
	tree, err := openimages.ReadHierarchy(strings.NewReader(hierarchy), "hierarchy.json")
	if err != nil {
		t.Fatal(err)
	}
	return New(list, tree, []boxindex.Counts{
		{Subset: "train", Boxes: 30, Labels: []boxindex.Label{{ID: "/m/burger", Boxes: 20, Images: 9, Yes: [5]int64{3}}, {ID: "/m/sandwich", Boxes: 10, Images: 8}}},
		{Subset: "test", Boxes: 2, Labels: []boxindex.Label{{ID: "/m/burger", Boxes: 2, Images: 1, Yes: [5]int64{1}, Unknown: [5]int64{0, 1}}}},
	})
}

func TestSearch(t *testing.T) {
	c := small(t)
	for query, want := range map[string]string{
		"":          "Bun name, Dog name, Food name, Hamburger name, Hot dog name, Sandwich name",
		"sandwich":  "Sandwich name, Hamburger below, Hot dog below",
		"dog":       "Dog name, Hot dog word",
		"burg":      "Hamburger part",
		"/m/burger": "Hamburger id",
		"/m/food":   "Food id, Hamburger below, Hot dog below, Sandwich below",
		"/m/b":      "Bun id, Hamburger id",
		"Sandwihc":  "Sandwich near",
		"hambrger":  "Hamburger near",
		"giraffe":   "",
	} {
		var got []string
		for _, m := range c.Search(query) {
			got = append(got, m.Name+" "+m.How.String())
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("%q: got %q, want %q", query, text, want)
		}
	}
}

func TestRelationsAndCounts(t *testing.T) {
	c := small(t)
	for _, test := range []struct {
		what      string
		got, want []openimages.LabelID
	}{
		{"kinds", c.Kinds("/m/food"), []openimages.LabelID{"/m/burger", "/m/sandwich"}},
		{"parents", c.Parents("/m/burger"), []openimages.LabelID{"/m/food", "/m/sandwich"}},
		{"parents of what is at the top", c.Parents("/m/dog"), nil},
		{"parts", c.Parts("/m/burger"), []openimages.LabelID{"/m/bun"}},
		{"part of", c.PartOf("/m/bun"), []openimages.LabelID{"/m/burger"}},
		{"below", c.Below("/m/sandwich"), []openimages.LabelID{"/m/burger", "/m/hotdog"}},
	} {
		if !slices.Equal(test.got, test.want) {
			t.Errorf("%s: got %v, want %v", test.what, test.got, test.want)
		}
	}
	want := boxindex.Label{ID: "/m/burger", Boxes: 22, Images: 10, Yes: [5]int64{4}, Unknown: [5]int64{0, 1}}
	if diff := cmp.Diff(want, c.Total("/m/burger")); diff != "" {
		t.Error(diff)
	}
	if got := c.BoxesBelow("/m/food"); got != 32 {
		t.Errorf("%d boxes below food, want each once: 32", got)
	}
	bare := New(c.Classes, nil, nil)
	if len(bare.Below("/m/food")) > 0 || bare.Total("/m/food").Boxes != 0 || len(bare.Search("food")) != 1 || len(bare.Parents("/m/food")) > 0 {
		t.Error("without a hierarchy and counts there is more than a list")
	}
	if leaves := bare.leaves(); len(leaves) != 7 || leaves[1].Parent != "root" {
		t.Errorf("without a hierarchy: %+v", leaves)
	}
}

// official is the catalog of the real lists.
func official(t *testing.T) *Catalog {
	t.Helper()
	folder := filepath.Join(shared.Dir(t), "data", "metadata", "v4")
	read := func(name string) *bytes.Reader {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		return bytes.NewReader(data)
	}
	list, err := openimages.ReadClasses(read("class-descriptions-boxable.csv"), "classes.csv")
	if err != nil {
		t.Fatal(err)
	}
	tree, err := openimages.ReadHierarchy(read("bbox_labels_600_hierarchy.json"), "hierarchy.json")
	if err != nil {
		t.Fatal(err)
	}
	return New(list, tree, []boxindex.Counts{{Subset: "train", Boxes: 1399, Labels: []boxindex.Label{{ID: "/m/0cdn1", Boxes: 1399, Images: 850}}}})
}

// browser is Chromium, started as this machine needs it, which fetches nothing.
func browser(ctx context.Context, t *testing.T, args ...string) []byte {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		const hint = "chromium is not installed; it is a package of Debian"
		if os.Getenv("CI") != "" {
			t.Fatal(hint)
		}
		t.Skip(hint)
	}
	flags := []string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=20000",
		"--window-size=1800,1500", "--hide-scrollbars", "--user-data-dir=" + filepath.Join(t.TempDir(), "profile")}
	output, err := exec.CommandContext(ctx, program, append(flags, args...)...).Output()
	if err != nil {
		t.Fatalf("chromium: %v\n%s", err, output)
	}
	return output
}

// TestPage looks at the page of the real labels in a browser that has no network.
func TestPage(t *testing.T) {
	c := official(t)
	page := filepath.Join(t.TempDir(), "labels.html")
	var text bytes.Buffer
	if err := c.WritePage(&text, "The labels of <Open Images>"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(page, text.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if loads := regexp.MustCompile(`(?i)<(script|link|img|iframe)[^>]*\b(src|href)=`).Find(text.Bytes()); loads != nil {
		t.Errorf("the page loads something: %s", loads)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dom := string(browser(ctx, t, "--dump-dom", "file://"+page+"#Hamburger"))
	for _, want := range []string{
		`data-drawn="yes"`, "The labels of &lt;Open Images&gt;", ">1 label<", "1,399 boxes on 850 photos", "below Sandwich", ">Entity</text>",
	} {
		if !strings.Contains(dom, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	names := len(regexp.MustCompile(`<text [^>]*>[^<]+</text>`).FindAllString(dom, -1))
	if want := 1 + len(c.Below(c.Hierarchy.Root())); names != want {
		t.Errorf("%d names are drawn, want %d", names, want)
	}
	// What was searched for is drawn red and bold, all else pale.
	marked := regexp.MustCompile(`<text [^>]*font-weight="bold"[^>]*>([^<]+)</text>`).FindAllStringSubmatch(dom, -1)
	if len(marked) != 1 || marked[0][1] != "Hamburger" {
		t.Errorf("marked are %v", marked)
	}

	shot := filepath.Join(t.TempDir(), "shot.png")
	if keep := os.Getenv("SANDWICH_SCREENSHOT"); keep != "" {
		shot = keep
	}
	browser(ctx, t, "--screenshot="+shot, "file://"+page+"#Hamburger")
	if problem := look(t, shot); problem != "" {
		t.Error(problem)
	}
}

// look says what is wrong with a screenshot: there must be dots around the middle in each
// direction, and something red.
func look(t *testing.T, name string) string {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }() // it was only read
	picture, err := png.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	bounds := picture.Bounds()
	var red int
	drawn := map[string]int{}
	for y := range bounds.Dy() {
		for x := 400; x < bounds.Dx(); x++ {
			c, ok := color.NRGBAModel.Convert(picture.At(x, y)).(color.NRGBA)
			if !ok || c.R > 0xe8 && c.G > 0xe8 && c.B > 0xe8 {
				continue
			}
			if c.R > 0xb0 && c.G < 0x50 && c.B < 0x50 {
				red++
			}
			drawn[fmt.Sprintf("%v %v", x > (bounds.Dx()+300)/2, y > bounds.Dy()/2)]++
		}
	}
	for _, quarter := range []string{"false false", "false true", "true false", "true true"} {
		if drawn[quarter] < 5000 {
			return fmt.Sprintf("a quarter of the picture is nearly empty: %v", drawn)
		}
	}
	if red < 50 {
		return "nothing is marked"
	}
	return ""
}

// The library in the page is the one that its licences are of.
func TestVega(t *testing.T) {
	library, err := unpack(vega)
	if err != nil || !bytes.Contains(library, []byte("6.4.0")) || !strings.Contains(licences, "vega 6.4.0") {
		t.Errorf("%d bytes, %v", len(library), err)
	}
	if bytes.Contains(bytes.ToLower(library), []byte("</script")) {
		t.Error("the library would end its script element")
	}
}
