package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/boxindex"
	"github.com/sandwich-build/sandwich/internal/catalog"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/ui"
)

// labelsFlags are the flags of labels.
type labelsFlags struct {
	buildFlags
	manifest string
	source   string
	tree     bool
	uncount  bool
	html     string
	export   string
}

func (a *app) labels() *cobra.Command {
	var flags labelsFlags
	cmd := &cobra.Command{
		Use:   "labels [QUERY]",
		Short: "Search the labels of a data set",
		Long: `Labels finds labels by name or id, forgiving case and misspelling, and tells how many
boxes and photos each subset has of them, how many boxes are occluded, truncated, a
group, a depiction or seen from inside, and what is above and below them. What is
below a label that you name is listed with it. Without a query it lists all.

The data set is that of the manifest, if there is one in this folder or --manifest
names one, and else --source. The first time, the box files are fetched and an index is
made of them, which the cache keeps and builds use; --no-counts needs the class list
only.

With --export the index goes into a folder: push it, and whoever installs it and names
the folder in SANDWICH_INDEX, or as "index" in the config file, neither fetches nor
reads box files.`,
		Example: `  sandwich labels burger
  sandwich labels /m/0cdn1
  sandwich labels --tree Food
  sandwich labels --json | jq '.answer.labels[] | select(.boxes > 100000).name'
  sandwich labels --html labels.html      # the whole tree, to look at and to search
  sandwich labels --export index && sandwich push team/open-images-index index`,
		Args:              between(0, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
			project, options, err := a.openDataset(flags)
			if err != nil {
				return nil, err
			}
			return a.consulting(ctx, project, flags.shared, options, func(options pipeline.Options) (ui.Answer, error) {
				m, err := pipeline.ReadLabels(ctx, project, options, !flags.uncount)
				if err != nil {
					return nil, err
				}
				if flags.export != "" {
					if err := pipeline.ExportIndex(ctx, m, flags.export); err != nil {
						return nil, err
					}
				}
				return a.found(m, strings.Join(args, ""), flags)
			})
		}),
	}
	f := cmd.Flags()
	f.StringVarP(&flags.manifest, "manifest", "f", "", "the manifest whose data set it is (default manifest.yaml, if there is one)")
	f.StringVar(&flags.source, "source", "", "a data set by name, open-images/v4 or open-images/v7 (default open-images/v4, without a manifest)")
	f.BoolVar(&flags.tree, "tree", false, "show labels below what they are a kind of")
	f.BoolVar(&flags.uncount, "no-counts", false, "fetch no box files: tell names and what is below what")
	f.StringVar(&flags.html, "html", "", "write a page that draws the tree, with a search, into this file")
	f.StringVar(&flags.export, "export", "", "write the index into this folder, to push it as a package")
	flags.addCache(cmd)
	flags.shared.add(cmd)
	f.IntVarP(&flags.workers, "jobs", "j", 0, "cores to keep busy (default all)")
	flags.backend = "exact"
	return cmd
}

// openDataset opens the project that has the data set.
func (a *app) openDataset(f labelsFlags) (*pipeline.Project, pipeline.Options, error) {
	if f.export != "" && f.uncount {
		return nil, pipeline.Options{}, usagef("the index is what counts", "--export and --no-counts: want one of them")
	}
	if f.manifest != "" && f.source != "" {
		return nil, pipeline.Options{}, usagef("a manifest names its source", "--manifest and --source: want one of them")
	}
	name := cmp.Or(f.manifest, defaultManifest)
	if _, err := os.Stat(name); f.source == "" && (f.manifest != "" || !errors.Is(err, fs.ErrNotExist)) {
		return a.openProject([]string{name}, f.buildFlags)
	}
	store, index, err := a.openCache(f.cache)
	if err != nil {
		return nil, pipeline.Options{}, err
	}
	project, err := pipeline.OpenSource(cmp.Or(f.source, "open-images/v4"), store.Root())
	if err != nil {
		return nil, pipeline.Options{}, usagef("open-images/v4 and open-images/v7 are known", "--source %s: no such data set", f.source)
	}
	return project, pipeline.Options{Store: store, Workers: cmp.Or(f.workers, runtime.GOMAXPROCS(0)), Backend: f.backend, Observer: a.view, Index: index}, nil
}

// found is the answer of labels.
func (a *app) found(m *pipeline.Labels, query string, f labelsFlags) (ui.Answer, error) {
	matches := m.Search(query)
	if len(matches) == 0 {
		_, err := m.Classes.Find(query)
		return nil, err
	}
	answer := labelsAnswer{Source: m.Source, Subsets: []countedSubset{}, Labels: []labelAnswer{}, tree: f.tree, all: query == "", catalog: m.Catalog}
	for _, s := range m.Counts {
		answer.Subsets = append(answer.Subsets, countedSubset{s.Subset, s.Boxes})
	}
	for _, match := range matches {
		answer.Labels = append(answer.Labels, newLabelAnswer(m.Catalog, match, query != ""))
	}
	if m.Hierarchy != nil {
		answer.Root = m.Hierarchy.Root()
	}
	if f.html != "" {
		if err := writePage(f.html, m); err != nil {
			return nil, err
		}
		answer.File = f.html
	}
	answer.Folder = f.export
	return answer, nil
}

// writePage writes the page beside its place first, so that nobody sees half of it.
func writePage(name string, m *pipeline.Labels) error {
	file, err := os.CreateTemp(filepath.Dir(name), ".labels-*.html")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	buffered := bufio.NewWriter(file)
	err = m.WritePage(buffered, "The labels of "+m.Source)
	err = errors.Join(err, buffered.Flush(), file.Chmod(0o644), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), os.Remove(file.Name()))
	}
	return nil
}

type labelsAnswer struct {
	Source  string             `json:"source"`
	Subsets []countedSubset    `json:"subsets"`
	Root    openimages.LabelID `json:"root,omitempty"` // the top of the hierarchy, which is no label
	Labels  []labelAnswer      `json:"labels"`
	File    string             `json:"file,omitempty"`   // with --html
	Folder  string             `json:"folder,omitempty"` // with --export

	tree, all bool
	catalog   *catalog.Catalog
}

type countedSubset struct {
	Subset string `json:"subset"`
	Boxes  int64  `json:"boxes"`
}

// labelAnswer is a label with all that is known of it.
type labelAnswer struct {
	ID          openimages.LabelID   `json:"id"`
	Name        string               `json:"name"`
	Match       string               `json:"match,omitempty"` // id, name, word, part, near or below
	Parents     []openimages.LabelID `json:"parents"`
	Kinds       []openimages.LabelID `json:"kinds"`
	Parts       []openimages.LabelID `json:"parts"`
	PartOf      []openimages.LabelID `json:"part_of"`
	Descendants int                  `json:"descendants"`
	Boxes       int64                `json:"boxes"`
	Images      int64                `json:"images"`
	BoxesBelow  int64                `json:"boxes_below"` // with the descendants'
	Subsets     []subsetAnswer       `json:"subsets"`
}

// subsetAnswer is what a subset has of a label. Flags are counted by their names in the manifest.
type subsetAnswer struct {
	Subset  string           `json:"subset"`
	Boxes   int64            `json:"boxes"`
	Images  int64            `json:"images"`
	Yes     map[string]int64 `json:"yes"`
	Unknown map[string]int64 `json:"unknown"`
}

func newLabelAnswer(c *catalog.Catalog, m catalog.Match, asked bool) labelAnswer {
	total := c.Total(m.ID)
	l := labelAnswer{
		ID: m.ID, Name: m.Name, Parents: listed(c.Parents(m.ID)), Kinds: listed(c.Kinds(m.ID)), Parts: listed(c.Parts(m.ID)),
		PartOf: listed(c.PartOf(m.ID)), Descendants: len(c.Below(m.ID)), Boxes: total.Boxes, Images: total.Images,
		BoxesBelow: c.BoxesBelow(m.ID), Subsets: []subsetAnswer{},
	}
	if asked {
		l.Match = m.How.String()
	}
	for i, subset := range c.Counts {
		n := c.Count(i, m.ID)
		s := subsetAnswer{Subset: subset.Subset, Boxes: n.Boxes, Images: n.Images, Yes: map[string]int64{}, Unknown: map[string]int64{}}
		for flag := range openimages.NumAttributes {
			s.Yes[flag.String()], s.Unknown[flag.String()] = n.Yes[flag], n.Unknown[flag]
		}
		l.Subsets = append(l.Subsets, s)
	}
	return l
}

func (l labelsAnswer) Text(w io.Writer) {
	switch {
	case l.File+l.Folder != "":
		for _, name := range []string{l.File, l.Folder} {
			if name != "" {
				fmt.Fprintln(w, ui.Printable(name))
			}
		}
	case l.tree:
		l.writeTree(w)
	case len(l.Labels) == 1:
		l.Labels[0].write(w, l.catalog)
	default:
		l.writeTable(w)
	}
}

// flagTitles are the heads of the columns of flags, as wide as a number.
var flagTitles = [openimages.NumAttributes]string{"occluded", "truncated", "group of", "depiction", "inside"}

func (l labelsAnswer) writeTable(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	counted := len(l.Subsets) > 0
	fmt.Fprint(table, "label\tid")
	if counted {
		fmt.Fprintf(table, "\tboxes\tphotos\t%s", strings.Join(flagTitles[:], "\t"))
	}
	fmt.Fprintln(table, "\tbelow it")
	for _, label := range l.Labels {
		fmt.Fprintf(table, "%s\t%s", ui.Printable(label.Name), ui.Printable(string(label.ID)))
		if counted {
			fmt.Fprint(table, countsRow(l.catalog.Total(label.ID)))
		}
		below := "-"
		if label.Descendants > 0 {
			below = ui.Count(int64(label.Descendants))
		}
		fmt.Fprintf(table, "\t%s\n", below)
	}
	_ = table.Flush()
}

// countsRow are the cells of a label's counts, each behind a tab.
func countsRow(n boxindex.Label) string {
	row := fmt.Sprintf("\t%s\t%s", ui.Count(n.Boxes), ui.Count(n.Images))
	for _, yes := range n.Yes {
		row += "\t" + ui.Count(yes)
	}
	return row
}

// write tells all about one label.
func (l labelAnswer) write(w io.Writer, c *catalog.Catalog) {
	fmt.Fprintf(w, "%s  %s\n", ui.Printable(l.Name), ui.Printable(string(l.ID)))
	for _, relation := range []struct {
		what string
		ids  []openimages.LabelID
	}{{"a kind of", l.Parents}, {"kinds", l.Kinds}, {"part of", l.PartOf}, {"parts", l.Parts}} {
		if len(relation.ids) == 0 {
			continue
		}
		names := make([]string, len(relation.ids))
		for i, id := range relation.ids {
			names[i] = c.Classes.Name(id)
		}
		fmt.Fprintf(w, "  %s: %s\n", relation.what, ui.Printable(strings.Join(names, ", ")))
	}
	if len(l.Subsets) == 0 {
		return
	}
	if l.Descendants > 0 {
		fmt.Fprintf(w, "  with all %s below it: %s\n", ui.Count(int64(l.Descendants)), ui.Plural(l.BoxesBelow, "box"))
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "\nsubset\tboxes\tphotos\t%s\tnot answered\n", strings.Join(flagTitles[:], "\t"))
	for i, s := range l.Subsets {
		n := c.Count(i, l.ID)
		unknown := int64(0)
		for _, u := range n.Unknown {
			unknown = max(unknown, u)
		}
		fmt.Fprintf(table, "%s%s\t%s\n", s.Subset, countsRow(n), ui.Count(unknown))
	}
	_ = table.Flush()
}

// writeTree writes the hierarchy: of all labels, or below each that was meant.
func (l labelsAnswer) writeTree(w io.Writer) {
	seen := map[openimages.LabelID]bool{}
	var visit func(id openimages.LabelID, depth int)
	visit = func(id openimages.LabelID, depth int) {
		line := strings.Repeat("  ", depth) + ui.Printable(l.catalog.Classes.Name(id)) + "  " + ui.Printable(string(id))
		if len(l.Subsets) > 0 {
			line += fmt.Sprintf("  %s", ui.Plural(l.catalog.Total(id).Boxes, "box"))
		}
		kinds := l.catalog.Kinds(id)
		if seen[id] && len(kinds) > 0 {
			line += "  (as above)"
			kinds = nil
		}
		seen[id] = true
		fmt.Fprintln(w, line)
		for _, kind := range kinds {
			visit(kind, depth+1)
		}
	}
	if l.all && l.Root != "" {
		for _, id := range l.catalog.Kinds(l.Root) {
			visit(id, 0)
		}
		return
	}
	for _, label := range l.Labels {
		if label.Match != catalog.Below.String() {
			visit(label.ID, 0)
		}
	}
}
