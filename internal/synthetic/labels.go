package synthetic

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sandwich-build/sandwich/internal/drawing"
)

// classes are the labels of the data set with their names, in the order of the
// official list. Ids and names are the official ones.
var classes = []struct{ id, name string }{
	{"/m/01_bhs", "Fast food"},
	{"/m/0271t", "Drink"},
	{"/m/02wbm", "Food"},
	{"/m/02y6n", "French fries"},
	{"/m/03_wxk", "Kitchenware"},
	{"/m/03hlz0c", "Kitchen utensil"},
	{"/m/04brg2", "Tableware"},
	{"/m/04ctx", "Knife"},
	{"/m/04kkgm", "Bowl"},
	{"/m/050gv4", "Plate"},
	{"/m/06pcq", "Submarine sandwich"},
	{"/m/07j87", "Tomato"},
	{"/m/0cdn1", "Hamburger"},
	{"/m/0dt3t", "Fork"},
	{"/m/0f4s2w", "Vegetable"},
	{"/m/0l515", "Sandwich"},
}

// labelOf is the label of each kind of drawn thing.
var labelOf = map[drawing.Kind]string{
	drawing.Sandwich:  "/m/0l515",
	drawing.Hamburger: "/m/0cdn1",
	drawing.Plate:     "/m/050gv4",
	drawing.Fork:      "/m/0dt3t",
	drawing.Knife:     "/m/04ctx",
	drawing.Drink:     "/m/0271t",
	drawing.Fries:     "/m/02y6n",
	drawing.Tomato:    "/m/07j87",
	drawing.Bowl:      "/m/04kkgm",
}

// classList is the class list: id and name, no header.
func classList() []byte {
	var b strings.Builder
	for _, c := range classes {
		fmt.Fprintf(&b, "%s,%s\n", c.id, c.name)
	}
	return []byte(b.String())
}

// node is a label of the hierarchy with those below it.
type node struct {
	LabelName   string
	Subcategory []node `json:",omitempty"`
}

// hierarchy is the part of the official hierarchy that holds the classes. As there,
// the root is not in the class list, Fork has two parents, and Hamburger is below Sandwich.
func hierarchy() ([]byte, error) {
	leaf := func(id string) node { return node{LabelName: id} }
	root := node{"/m/0bl9f", []node{
		{"/m/03_wxk", []node{
			{"/m/03hlz0c", []node{leaf("/m/04ctx"), leaf("/m/0dt3t")}},
			{"/m/04brg2", []node{leaf("/m/04kkgm"), leaf("/m/050gv4"), leaf("/m/0dt3t")}},
		}},
		{"/m/02wbm", []node{
			{"/m/01_bhs", []node{leaf("/m/02y6n")}},
			{"/m/0f4s2w", []node{leaf("/m/07j87")}},
			{"/m/0l515", []node{leaf("/m/0cdn1"), leaf("/m/06pcq")}},
		}},
		leaf("/m/0271t"),
	}}
	data, err := json.MarshalIndent(root, "", "    ")
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", hierarchyFile, err)
	}
	return data, nil
}
