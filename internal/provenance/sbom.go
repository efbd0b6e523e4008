package provenance

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/sandwich-build/sandwich/internal/lazyregexp"
)

// SBOMFile lists what a package was built with.
const SBOMFile = "provenance/sbom.spdx.json"

// Component is a piece of software that a package was built with.
type Component struct {
	Name    string
	Version string
	PURL    string // as in pkg:golang/github.com/opencontainers/go-digest@v1.0.0
	SHA256  string // of its bytes, in hexadecimal digits; empty where it is not known
	Comment string // such as the sum by which its ecosystem names it
}

// What an SPDX document must say and nobody has decided.
const noAssertion = "NOASSERTION"

// The document has no time of its own, because a build has none; SPDX wants one.
const noTime = "1970-01-01T00:00:00Z"

type spdxDocument struct {
	Version       string             `json:"spdxVersion"`
	DataLicense   string             `json:"dataLicense"`
	ID            string             `json:"SPDXID"`
	Name          string             `json:"name"`
	Namespace     string             `json:"documentNamespace"`
	Creation      spdxCreation       `json:"creationInfo"`
	Packages      []spdxPackage      `json:"packages"`
	Relationships []spdxRelationship `json:"relationships"`
}

type spdxCreation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxPackage struct {
	ID               string         `json:"SPDXID"`
	Name             string         `json:"name"`
	Version          string         `json:"versionInfo,omitempty"`
	DownloadLocation string         `json:"downloadLocation"`
	FilesAnalyzed    bool           `json:"filesAnalyzed"`
	Concluded        string         `json:"licenseConcluded"`
	Declared         string         `json:"licenseDeclared"`
	Copyright        string         `json:"copyrightText"`
	Checksums        []spdxChecksum `json:"checksums,omitempty"`
	Refs             []spdxRef      `json:"externalRefs,omitempty"`
	Comment          string         `json:"comment,omitempty"`
}

type spdxChecksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type spdxRef struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type spdxRelationship struct {
	From string `json:"spdxElementId"`
	Type string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

const documentID = "SPDXRef-DOCUMENT"

// EncodeSBOM returns an SPDX 2.3 document: the program that built a package, first, and what
// it depends on. Equal components give equal bytes.
func EncodeSBOM(program Component, dependencies []Component) ([]byte, error) {
	doc := spdxDocument{
		Version: "SPDX-2.3", DataLicense: "CC0-1.0", ID: documentID,
		Name:      program.Name,
		Namespace: BuilderID + "/spdx/" + program.SHA256,
		Creation:  spdxCreation{Created: noTime, Creators: []string{"Tool: sandwich"}},
	}
	for i, c := range append([]Component{program}, dependencies...) {
		p := spdxPackage{
			ID: fmt.Sprintf("SPDXRef-Package-%d", i), Name: c.Name, Version: c.Version, DownloadLocation: noAssertion,
			Concluded: noAssertion, Declared: noAssertion, Copyright: noAssertion, Comment: c.Comment,
		}
		if c.SHA256 != "" {
			p.Checksums = []spdxChecksum{{Algorithm: "SHA256", Value: c.SHA256}}
		}
		if c.PURL != "" {
			p.Refs = []spdxRef{{Category: "PACKAGE-MANAGER", Type: "purl", Locator: c.PURL}}
		}
		doc.Packages = append(doc.Packages, p)
		relation := spdxRelationship{From: "SPDXRef-Package-0", Type: "DEPENDS_ON", To: p.ID}
		if i == 0 {
			relation = spdxRelationship{From: documentID, Type: "DESCRIBES", To: p.ID}
		}
		doc.Relationships = append(doc.Relationships, relation)
	}
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("sbom: %w", err)
	}
	return append(text, '\n'), nil
}

// GoModule is the component that a Go module is. Sum is what go.sum has for it.
func GoModule(path, version, sum string) Component {
	c := Component{Name: path, Version: version, PURL: "pkg:golang/" + strings.ToLower(path) + "@" + version}
	if sum != "" {
		c.Comment = "go.sum: " + sum
	}
	return c
}

// Conda is the component that a package of conda's is, from a URL or a path of a channel; sha256 is in hexadecimal
// digits.
func Conda(name, version, build, from, sha256 string) Component {
	dir, file := path.Split(from)
	at := url.Values{
		"build": {build}, "channel": {path.Base(path.Dir(path.Clean(dir)))}, "subdir": {path.Base(dir)},
		"type": {strings.TrimPrefix(file, name+"-"+version+"-"+build+".")},
	}
	return Component{
		Name: name, Version: version, SHA256: sha256,
		PURL: "pkg:conda/" + url.PathEscape(strings.ToLower(name)) + "@" + url.QueryEscape(version) + "?" + at.Encode(),
	}
}

// separators are what names of Python's distributions may be spelt with, all of which mean the same.
var separators = lazyregexp.New(`[-_.]+`)

// Wheel is the component that a wheel of Python's is; sha256 is in hexadecimal digits.
func Wheel(name, version, sha256 string) Component {
	name = strings.ToLower(separators.ReplaceAllString(name, "-"))
	return Component{Name: name, Version: version, PURL: "pkg:pypi/" + name + "@" + url.QueryEscape(version), SHA256: sha256}
}
