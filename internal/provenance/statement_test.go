package provenance_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/provenance"
)

func statement() provenance.Statement {
	s := provenance.Statement{Type: provenance.StatementType, PredicateType: provenance.PredicateType, Subject: provenance.Outputs(example())}
	s.Predicate.BuildDefinition = provenance.BuildDefinition{
		BuildType:            provenance.BuildType,
		ExternalParameters:   provenance.Parameters{Package: "me/lunch", Manifest: provenance.Resource{Name: "manifest.yaml", Digest: provenance.SHA256("aa")}},
		ResolvedDependencies: []provenance.Resource{{URI: "https://example.com/boxes.csv", Digest: provenance.SHA256("bb")}},
	}
	s.Predicate.RunDetails = provenance.RunDetails{
		Builder:    provenance.Builder{ID: provenance.BuilderID, Version: map[string]string{"go": "go1.26"}},
		Byproducts: provenance.Outputs(example()),
	}
	return s
}

func TestStatementsDiffer(t *testing.T) {
	a, b := statement(), statement()
	if same := a.Differences(b); len(same) > 0 {
		t.Errorf("equal statements differ: %v", same)
	}
	b.Predicate.BuildDefinition.ExternalParameters.Manifest.Digest = provenance.SHA256("ab")
	b.Predicate.BuildDefinition.ResolvedDependencies = nil
	b.Predicate.RunDetails.Builder.Version = map[string]string{"go": "go1.25"}
	b.Predicate.RunDetails.Byproducts[0].Digest = provenance.SHA256("cc")
	want := []string{
		"builder's go: go1.26, and go1.25",
		"manifest: sha256:aa, and sha256:ab",
		"material https://example.com/boxes.csv: sha256:bb, and nothing",
		"stage/crop: sha256:" + blob("crops").Hex() + ", and sha256:cc",
	}
	if diff := cmp.Diff(want, a.Differences(b)); diff != "" {
		t.Errorf("differences (-want +got)\n%s", diff)
	}
}

func TestSBOM(t *testing.T) {
	program := provenance.Component{Name: "sandwich", SHA256: blob("program").Hex()}
	text, err := provenance.EncodeSBOM(program, []provenance.Component{provenance.GoModule("github.com/Masterminds/semver", "v1.0.0", "h1:abc=")})
	if err != nil {
		t.Fatal(err)
	}
	again, err := provenance.EncodeSBOM(program, []provenance.Component{provenance.GoModule("github.com/Masterminds/semver", "v1.0.0", "h1:abc=")})
	if err != nil || !bytes.Equal(text, again) {
		t.Errorf("equal components give\n%s\nand\n%s\n%v", text, again, err)
	}
	var doc struct {
		Version  string `json:"spdxVersion"`
		Packages []struct {
			Name string `json:"name"`
			Refs []struct {
				Locator string `json:"referenceLocator"`
			} `json:"externalRefs"`
		} `json:"packages"`
		Relationships []struct {
			Type string `json:"relationshipType"`
		} `json:"relationships"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Version != "SPDX-2.3" || len(doc.Packages) != 2 || doc.Packages[1].Refs[0].Locator != "pkg:golang/github.com/masterminds/semver@v1.0.0" ||
		len(doc.Relationships) != 2 || doc.Relationships[0].Type != "DESCRIBES" || doc.Relationships[1].Type != "DEPENDS_ON" {
		t.Errorf("the document is\n%s", text)
	}
}

func FuzzDecodeStatement(f *testing.F) {
	text, err := statement().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := provenance.DecodeStatement(bytes.NewReader(text))
		if err != nil {
			return
		}
		s.Differences(statement())
		again, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		read, err := provenance.DecodeStatement(bytes.NewReader(again))
		if err != nil || len(s.Differences(read)) > 0 {
			t.Errorf("written and read again it differs: %v, %v", s.Differences(read), err)
		}
	})
}

func TestConda(t *testing.T) {
	got := provenance.Conda("numpy", "1!2.0", "py312_0", "https://conda.anaconda.org/conda-forge/linux-64/numpy-1!2.0-py312_0.tar.bz2", "00")
	want := provenance.Component{
		Name: "numpy", Version: "1!2.0", SHA256: "00", PURL: "pkg:conda/numpy@1%212.0?build=py312_0&channel=conda-forge&subdir=linux-64&type=tar.bz2",
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestWheel(t *testing.T) {
	got := provenance.Wheel("Ruamel__yaml", "1!2.0+cpu", "00")
	if want := (provenance.Component{Name: "ruamel-yaml", Version: "1!2.0+cpu", PURL: "pkg:pypi/ruamel-yaml@1%212.0%2Bcpu", SHA256: "00"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
