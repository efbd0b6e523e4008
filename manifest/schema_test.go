package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

func compileSchema(t testing.TB) *validator.Schema {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := validator.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("manifest.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// instance reads YAML as editors do before they validate: without our decoder.
func instance(t testing.TB, src []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(src, &v); err != nil {
		t.Fatal(err)
	}
	return asJSON(t, v)
}

func asJSON(t testing.TB, v any) any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := validator.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// structural decodes without the checks between positions, which no schema can make.
func structural(t testing.TB, src []byte) []Fault {
	t.Helper()
	d := &decoder{file: "m.yaml", places: make(map[string]*yaml.Node)}
	root := d.parse(src)
	if root == nil {
		t.Fatalf("not a document: %v\n%s", d.faults, src)
	}
	d.place("", root)
	grammar(defaults()).decode(d, root, "")
	return d.faults
}

// TestSchemaAgreesWithDecoder damages a manifest that has every key, at each of its
// positions in turn and in many ways, and asks decoder and schema about it.
func TestSchemaAgreesWithDecoder(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of manifests, in one goroutine: half a minute under the race detector")
	}
	t.Parallel()
	schema := compileSchema(t)
	accepted, refused := 0, 0
	compare := func(path string, doc any) {
		src, err := yaml.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		faults, schemaErr := structural(t, src), schema.Validate(asJSON(t, doc))
		if (len(faults) == 0) != (schemaErr == nil) {
			t.Errorf("%s: decoder: %v\nschema: %v\n%s", path, faults, schemaErr, src)
		}
		if len(faults) == 0 {
			accepted++
		} else {
			refused++
		}
	}
	var small, whole map[string]any
	for src, doc := range map[string]*map[string]any{minimal: &small, string(readTestdata(t, "everything.yaml")): &whole} {
		if err := yaml.Unmarshal([]byte(src), doc); err != nil {
			t.Fatal(err)
		}
	}
	compare("everything.yaml", whole)
	mutate("minimal", small, func(damaged any) any { return damaged }, compare)
	// A key at a time, on a small manifest: the time goes into writing and parsing YAML.
	with := func(key string, value any) any {
		doc := maps.Clone(small)
		doc[key] = value
		return doc
	}
	for _, key := range slices.Sorted(maps.Keys(whole)) {
		if key != "model" {
			mutate(key, whole[key], func(damaged any) any { return with(key, damaged) }, compare)
		}
	}
	for _, source := range forms {
		mutate("source", source, func(damaged any) any {
			return with("dataset", map[string]any{"source": damaged, "labels": "all", "licence": []any{"CC BY"}})
		}, compare)
	}
	model, _ := whole["model"].(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(model)) {
		if key != "layers" {
			mutate("model."+key, model[key], func(damaged any) any { return with("model", map[string]any{key: damaged}) }, compare)
		}
	}
	layers, _ := model["layers"].([]any)
	for i, layer := range layers {
		mutate(fmt.Sprintf("model.layers[%d]", i), layer, func(damaged any) any {
			return with("model", map[string]any{"layers": []any{damaged}})
		}, compare)
	}
	t.Logf("%d accepted, %d refused", accepted, refused)
	if accepted < 500 || refused < 500 {
		t.Errorf("%d manifests accepted and %d refused: too few of one sort to tell anything", accepted, refused)
	}
}

// forms are sources in each of the forms besides that of Open Images.
var forms = []map[string]any{
	{"folders": "photos/{subset}"},
	{"coco": map[string]any{"annotations": "a/{subset}.json", "images": "s3://bucket/{subset}"}},
	{"voc": map[string]any{"annotations": "a/{subset}", "images": "photos"}},
	{"yolo": map[string]any{"classes": "data.yaml", "labels": "l/{subset}", "images": "photos/{subset}"}},
	{"urls": map[string]any{"table": "https://example.org/{subset}.parquet", "url": "link", "label": "class"}},
}

// TestForms: each form is checked, and rendered as it was read.
func TestForms(t *testing.T) {
	for _, source := range forms {
		text, err := yaml.Marshal(map[string]any{
			"version": 1, "name": "a/b",
			"dataset": map[string]any{"source": source, "subsets": []any{"train", "test"}, "labels": "all", "licence": []any{"CC BY", "https://example.org/terms"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		m := mustDecode(t, string(text))
		if m.Dataset.Source.Form() == "" || !m.Dataset.All || len(m.Dataset.Places()) != 1 {
			t.Errorf("got %+v", m.Dataset)
		}
		if diff := cmp.Diff(m, mustDecode(t, mustRender(t, m))); diff != "" {
			t.Errorf("%v (-file +render):\n%s", source, diff)
		}
		for _, f := range Files(m.Dataset) {
			if strings.Contains(f.URL, "{") || f.Subset == "" || f.Folder() != "" && !strings.HasSuffix(f.Folder(), "/") {
				t.Errorf("got the file %+v", f)
			}
		}
	}
	for _, tt := range []struct{ dataset, want string }{
		{"{source: {folders: a}, subsets: [train, test], labels: all}", "dataset.source.folders: one file for 2 subsets (put {subset} where the subset's name belongs)"},
		{"{source: {coco: {annotations: '{split}.json'}}, labels: all}", `dataset.source.coco.annotations: unknown placeholder in "{split}.json" (did you mean ` + "`{subset}`?)"},
		{"{source: {folders: a}, labels: all, images: [cvdf]}", "dataset.images: only photos of Open Images are at several places (leave it out)"},
		{"{source: {folders: a}, labels: [a, {name: b, descendants: true}]}", "dataset.labels[1].descendants: the labels of this source have no hierarchy (list the labels, and merge them with `as`)"},
		{"{source: {folders: a}, labels: All}", "dataset.labels: want a list of labels, got \"All\" (write [All])"},
		{"{source: {folders: a, voc: {annotations: a, images: b}}, labels: all}", "dataset.source: want one key, got 2"},
		{"{source: {folders: a}, labels: all, licence: [CC-BY, MIT]}", `dataset.licence[1]: want the URL of a licence, or a name such as CC BY 2.0 or CC-BY-2.0, of CC BY, CC BY-SA, CC BY-ND, CC BY-NC, CC BY-NC-SA, CC BY-NC-ND, CC0, Public Domain Mark, got "MIT"`},
	} {
		_, err := Decode("m.yaml", []byte("version: 1\nname: a/b\ndataset: "+tt.dataset+"\n"))
		if err == nil || !strings.HasSuffix(err.Error(), ": "+tt.want) {
			t.Errorf("%s:\ngot  %v\nwant %s", tt.dataset, err, tt.want)
		}
	}
}

// replacements are put at every position.
func replacements() []any {
	return []any{
		nil, true, false, "", "x", "none", "yes", "article", "flatten", "train", "a/b", "a b", "../x", "s3://bucket", "file:///x",
		"https://example.org/x", "12", "2019-01-01", " x", ".x", "x\ny", "x\x00y", "é", "{subset}", "C:\\x",
		-1, 0, 1, 2, 3, 63, 64, 89, 90, 180, 181, 2048, 2049, 4096, 4097, 65536, 65537, 100_000, 100_001, int64(1) << 53, uint64(1) << 63,
		-0.1, 0.5, 0.999, 1.0, 1.5, 10.0, 10.1, 1e-300, 1e300,
		[]any{}, []any{"train"}, []any{"train", "train"}, []any{"a", "b"}, []any{1, 2}, []any{nil}, []any{[]any{}},
		[]any{"flatten"}, []any{map[string]any{"conv": map[string]any{"filters": 1}}}, []any{map[string]any{}},
		map[string]any{}, map[string]any{"x": 1}, map[string]any{"name": "x"}, map[string]any{"https://a": "b"}, map[string]any{"git": "."},
		map[string]any{"conv": map[string]any{"filters": 1}, "max_pool": 2},
	}
}

// mutate calls try with the document that around makes of each damaged form of doc.
func mutate(path string, doc any, around func(any) any, try func(path string, doc any)) {
	for i, r := range replacements() {
		try(fmt.Sprintf("%s replaced by %d", path, i), around(r))
	}
	switch doc := doc.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(doc)) {
			with := func(v any) any {
				m := maps.Clone(doc)
				m[key] = v
				return around(m)
			}
			without := maps.Clone(doc)
			delete(without, key)
			try(path+"."+key+" removed", around(without))
			renamed := maps.Clone(without)
			renamed[key+"x"] = doc[key]
			try(path+"."+key+" renamed", around(renamed))
			mutate(path+"."+key, doc[key], with, try)
		}
	case string:
		for _, n := range []int{128, 129, 4096, 4097} {
			try(fmt.Sprintf("%s of %d characters", path, n), around(strings.Repeat("x", n)))
		}
	case []any:
		for _, n := range []int{64, 65, 601, 602} {
			try(fmt.Sprintf("%s of %d items", path, n), around(slices.Repeat([]any{"flatten"}, n)))
		}
		try(path+" doubled", around(append(slices.Clone(doc), doc...)))
		for i := range doc {
			with := func(v any) any {
				l := slices.Clone(doc)
				l[i] = v
				return around(l)
			}
			mutate(fmt.Sprintf("%s[%d]", path, i), doc[i], with, try)
		}
	}
}

// TestDecoderIsStricter lists, in full, what the schema cannot refuse because it
// sees values and not their spelling.
func TestDecoderIsStricter(t *testing.T) {
	schema := compileSchema(t)
	for name, line := range map[string]string{
		"octal to YAML 1.1": "seed: 010",
		"hexadecimal":       "seed: 0x10",
		"underscores":       "seed: 1_000",
		"an explicit tag":   `seed: !!int "7"`,
		"an alias":          "seed: &s 7\nmodel: {batch: *s}",
		"a merge key":       "crop: &c {pad: 0}\nmodel: {<<: {batch: 7}}",
		"octal to YAML 1.2": "seed: 0o7",
	} {
		src := []byte(minimal + line + "\n")
		if err := schema.Validate(instance(t, src)); err != nil {
			t.Errorf("%s: the schema refuses it too: move it to the other test: %v", name, err)
		}
		if len(structural(t, src)) == 0 {
			t.Errorf("%s: the decoder accepts it", name)
		}
	}
}

func TestSchemaIsStable(t *testing.T) {
	first, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		again, err := Schema()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(first), string(again)); diff != "" {
			t.Fatal(diff)
		}
	}
}
