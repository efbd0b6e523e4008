package synthetic

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sandwich-build/sandwich/internal/drawing"
)

// class is a label with its name.
type class struct{ id, name string }

// classes are the labels of a drawn data set, in the order of the official list. Ids and
// names are the official ones.
var classes = []class{
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

// classList is a class list: id and name, no header.
func classList(list []class) []byte {
	var b strings.Builder
	for _, c := range list {
		fmt.Fprintf(&b, "%s,%s\n", c.id, c.name)
	}
	return []byte(b.String())
}

// node is a label of the hierarchy with those below it.
type node struct {
	LabelName   string
	Subcategory []node `json:",omitempty"`
	Part        []node `json:",omitempty"`
}

func leaf(id string) node { return node{LabelName: id} }

// drawnHierarchy is the part of the official hierarchy that holds the classes. As there,
// the root is not in the class list, Fork has two parents, and Hamburger is below Sandwich.
func drawnHierarchy() node {
	kinds := func(id string, below ...node) node { return node{LabelName: id, Subcategory: below} }
	return kinds(rootLabel,
		kinds("/m/03_wxk",
			kinds("/m/03hlz0c", leaf("/m/04ctx"), leaf("/m/0dt3t")),
			kinds("/m/04brg2", leaf("/m/04kkgm"), leaf("/m/050gv4"), leaf("/m/0dt3t")),
		),
		kinds("/m/02wbm",
			kinds("/m/01_bhs", leaf("/m/02y6n")),
			kinds("/m/0f4s2w", leaf("/m/07j87")),
			kinds("/m/0l515", leaf("/m/0cdn1"), leaf("/m/06pcq")),
		),
		leaf("/m/0271t"),
	)
}

// rootLabel stands above all others and is in no class list.
const rootLabel = "/m/0bl9f"

func hierarchyText(root node) ([]byte, error) {
	data, err := json.MarshalIndent(root, "", "    ")
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", hierarchyFile, err)
	}
	return data, nil
}
