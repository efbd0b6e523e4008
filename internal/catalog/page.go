package catalog

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"

	"github.com/sandwich-build/sandwich/internal/openimages"
)

// The page draws the hierarchy as the article of 2019 did: a radial tree, by Vega. Library and
// data are in the page, so that it works where there is no network.

var (
	//go:embed vega/vega.min.js.gz
	vega []byte
	//go:embed vega/LICENSES.txt
	licences string
	//go:embed page.html
	pageText string
	//go:embed tree.vega.json
	spec string
)

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// leaf is a label of the tree: an element of the data that the article's drawing takes.
type leaf struct {
	ID     openimages.LabelID `json:"id"`
	Parent openimages.LabelID `json:"parent,omitempty"`
	Name   string             `json:"name"`
	Boxes  int64              `json:"boxes"`
	Images int64              `json:"images"`
	Below  int                `json:"below"`
}

// WritePage writes the page. Title says whose labels they are.
func (c *Catalog) WritePage(w io.Writer, title string) error {
	library, err := unpack(vega)
	if err != nil {
		return fmt.Errorf("unpack vega: %w", err)
	}
	data, err := json.Marshal(c.leaves())
	if err != nil {
		return err
	}
	return pageTemplate.Execute(w, struct {
		Title, Licences  string
		Vega, Spec, Data template.JS
	}{title, licences, template.JS(library), template.JS(spec), template.JS(data)})
}

func unpack(data []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// leaves are the labels in the order of the tree from the top. A label that stands in several
// places is drawn in the first, as in the article.
func (c *Catalog) leaves() []leaf {
	if c.Hierarchy == nil {
		return c.flat()
	}
	var leaves []leaf
	seen := map[openimages.LabelID]bool{}
	var visit func(id, parent openimages.LabelID)
	visit = func(id, parent openimages.LabelID) {
		if seen[id] {
			return
		}
		seen[id] = true
		leaves = append(leaves, c.leaf(id, parent))
		for _, kind := range c.Kinds(id) {
			visit(kind, id)
		}
	}
	visit(c.Hierarchy.Root(), "")
	leaves[0].Name = "Entity" // which is in no class list
	return leaves
}

// flat are the labels of a data set without a hierarchy, all below a root.
func (c *Catalog) flat() []leaf {
	leaves := []leaf{{ID: "root", Name: "Entity"}}
	for class := range c.Classes.All() {
		leaves = append(leaves, c.leaf(class.ID, "root"))
	}
	return leaves
}

func (c *Catalog) leaf(id, parent openimages.LabelID) leaf {
	total := c.Total(id)
	return leaf{ID: id, Parent: parent, Name: c.Classes.Name(id), Boxes: total.Boxes, Images: total.Images, Below: len(c.Below(id))}
}
