package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/packagediff"
	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/registry/folder"
)

// packageDiffFlags are the flags of diff for packages and folders.
type packageDiffFlags struct {
	registry       *registryFlags
	stat, markdown bool
}

func (f *packageDiffFlags) add(cmd *cobra.Command) {
	f.registry = registryFlag(cmd)
	cmd.Flags().BoolVar(&f.stat, "stat", false, "of packages: count the files instead of listing them")
	cmd.Flags().BoolVar(&f.markdown, "markdown", false, "of packages: write Markdown")
}

func (a *app) diffPackages(ctx context.Context, f packageDiffFlags, past pastFlags, args []string) (ui.Answer, error) {
	if len(args) != 2 {
		return nil, usagef("name another revision, or a folder", "diff: %s is compared with nothing", args[0])
	}
	var sides [2]packagediff.Side
	for i, arg := range args {
		side, done, err := a.side(ctx, *f.registry, past, arg)
		if err != nil {
			return nil, err
		}
		defer done()
		sides[i] = side
	}
	report, err := packagediff.Compare(ctx, sides[0], sides[1])
	if err != nil {
		return nil, &registryError{err}
	}
	return packagesAnswer{Report: report, stat: f.stat, markdown: f.markdown}, nil
}

// side opens one of what is compared: a folder if there is one, a build, else a package.
// The caller calls done in the end.
func (a *app) side(ctx context.Context, f registryFlags, past pastFlags, arg string) (_ packagediff.Side, done func(), err error) {
	switch {
	case isBuild(arg):
		side, err := a.builtSide(ctx, past, arg)
		return side, func() {}, err
	case isFolder(arg):
		files, err := folder.Open(ctx, arg)
		if err != nil {
			return packagediff.Side{}, nil, err
		}
		done := func() { _ = files.Close() } // it was only read
		content, err := files.Content(ctx)
		if err != nil {
			done()
			return packagediff.Side{}, nil, err
		}
		return packagediff.Side{Name: arg, Content: content, Bare: true, Open: func(_ context.Context, key string) (io.ReadCloser, error) { return files.OpenFile(key) }}, done, nil
	}
	r, pkg, err := a.load(ctx, f, arg)
	if err != nil {
		return packagediff.Side{}, nil, err
	}
	return packagediff.Side{Name: pkg.Ref().String(), Content: pkg.Content, Open: func(ctx context.Context, key string) (io.ReadCloser, error) {
		return r.OpenFile(ctx, pkg, key)
	}}, func() {}, nil
}

// builtSide is the package of a build, as it is in the cache.
func (a *app) builtSide(ctx context.Context, f pastFlags, arg string) (packagediff.Side, error) {
	store, builds, err := a.past(ctx, f, arg)
	if err != nil {
		return packagediff.Side{}, err
	}
	rev, err := pipeline.Past(ctx, store, builds[0])
	if err != nil {
		return packagediff.Side{}, err
	}
	content, err := rev.Package(ctx)
	if err != nil {
		return packagediff.Side{}, err
	}
	open := make(map[string]func(context.Context) (io.ReadCloser, error), len(rev.Files))
	for _, f := range rev.Files {
		open[f.Key] = f.Open
	}
	return packagediff.Side{Name: builds[0].Package, Content: content, Open: func(ctx context.Context, key string) (io.ReadCloser, error) {
		return open[key](ctx)
	}}, nil
}

type packagesAnswer struct {
	*packagediff.Report
	stat     bool
	markdown bool
}

func (d packagesAnswer) Text(w io.Writer) {
	p := diffPrinter{w: w, markdown: d.markdown}
	r := d.Report
	p.title(r.A, r.B)
	if r.Same() {
		fmt.Fprintf(w, "no difference: %s\n", ui.Plural(r.Equal, "file"))
		return
	}
	if r.Message != nil && !slices.Contains(r.Manifest, *r.Message) { // of which most are
		p.fields("message", []packagediff.Field{*r.Message})
	}
	p.fields("manifest", r.Manifest)
	p.fields("code", r.Code)
	p.names("labels", r.Labels)
	p.boxes(r.Boxes)
	p.crops(r.Crops)
	p.names("dead photos", r.Dead)
	p.fields("environment", r.Environment)
	p.metrics(r.Metrics)
	p.fields("metadata", r.Metadata)
	p.files(r, d.stat)
}

// diffPrinter writes the parts of a report that are not empty, for a terminal or as
// Markdown.
type diffPrinter struct {
	w        io.Writer
	markdown bool
}

func (p diffPrinter) title(a, b string) {
	if p.markdown {
		fmt.Fprintf(p.w, "### %s → %s\n", p.code(a), p.code(b))
		return
	}
	fmt.Fprintf(p.w, "--- %s\n+++ %s\n", p.code(a), p.code(b))
}

func (p diffPrinter) section(name string) {
	if p.markdown {
		fmt.Fprintf(p.w, "\n**%s**\n\n", name)
		return
	}
	fmt.Fprintf(p.w, "\n%s\n", name)
}

// code is text from a package, which Markdown must not take for its own.
func (p diffPrinter) code(text string) string {
	text = ui.Printable(text)
	if p.markdown {
		return "`" + strings.ReplaceAll(text, "`", "'") + "`"
	}
	return text
}

// line writes one item; sign is +, -, ~ or =.
func (p diffPrinter) line(sign, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if p.markdown {
		words := map[string]string{"+": "added ", "-": "removed ", "~": "changed "}
		fmt.Fprintf(p.w, "- %s%s\n", words[sign], text)
		return
	}
	fmt.Fprintf(p.w, "  %s %s\n", sign, text)
}

func (p diffPrinter) fields(section string, all []packagediff.Field) {
	if len(all) == 0 {
		return
	}
	p.section(section)
	for _, f := range all {
		label := p.code(f.Path) + ": "
		if f.Path == section {
			label = ""
		}
		switch {
		case f.From == "":
			p.line("+", "%s%s", label, p.code(f.To))
		case f.To == "":
			p.line("-", "%s%s", label, p.code(f.From))
		default:
			p.line("~", "%s%s → %s", label, p.code(f.From), p.code(f.To))
		}
	}
}

func (p diffPrinter) names(section string, n packagediff.Names) {
	if len(n.Added)+len(n.Removed) == 0 {
		return
	}
	p.section(section)
	for _, name := range n.Removed {
		p.line("-", "%s", p.code(name))
	}
	for _, name := range n.Added {
		p.line("+", "%s", p.code(name))
	}
}

func (p diffPrinter) boxes(all []packagediff.Count) {
	if len(all) == 0 {
		return
	}
	p.section("boxes")
	for _, c := range all {
		if c.Removed > 0 {
			p.line("-", "%s of %s", ui.Plural(c.Removed, "box"), p.code(c.Label))
		}
		if c.Added > 0 {
			p.line("+", "%s of %s", ui.Plural(c.Added, "box"), p.code(c.Label))
		}
	}
}

func (p diffPrinter) crops(c packagediff.Crops) {
	if c.Added+c.Removed+c.Changed+c.Moved == 0 {
		return
	}
	p.section("crops")
	for _, part := range []struct {
		sign string
		n    int
		how  string
	}{{"+", c.Added, ""}, {"-", c.Removed, ""}, {"~", c.Changed, ""}, {"~", c.Moved, ", of another set now"}} {
		if part.n > 0 {
			p.line(part.sign, "%s%s", ui.Plural(part.n, "crop"), part.how)
		}
	}
}

func (p diffPrinter) metrics(all []packagediff.Metric) {
	if len(all) == 0 {
		return
	}
	p.section("metrics")
	if p.markdown {
		p.metricsTable(all)
		return
	}
	for _, m := range all {
		switch {
		case m.From == nil:
			p.line("+", "%s: %.4g", p.code(m.Name), *m.To)
		case m.To == nil:
			p.line("-", "%s: %.4g", p.code(m.Name), *m.From)
		default:
			p.line("~", "%s: %.4g → %.4g (%+.4g)", p.code(m.Name), *m.From, *m.To, *m.Change)
		}
	}
}

// metricsTable is how a pull request shows numbers best.
func (p diffPrinter) metricsTable(all []packagediff.Metric) {
	cell := func(format string, x *float64) string {
		if x == nil {
			return ""
		}
		return fmt.Sprintf(format, *x)
	}
	fmt.Fprint(p.w, "| | before | after | change |\n|---|---:|---:|---:|\n")
	for _, m := range all {
		name := strings.ReplaceAll(p.code(m.Name), "|", "¦")
		fmt.Fprintf(p.w, "| %s | %s | %s | %s |\n", name, cell("%.4g", m.From), cell("%.4g", m.To), cell("%+.4g", m.Change))
	}
}

// foldedFiles is from how many files on Markdown folds their list away.
const foldedFiles = 20

func (p diffPrinter) files(r *packagediff.Report, stat bool) {
	p.section("files")
	if !stat {
		end := p.fold(len(r.Removed) + len(r.Added) + len(r.Changed))
		for _, f := range r.Removed {
			p.line("-", "%s (%s)", p.code(f.Key), ui.Bytes(f.From))
		}
		for _, f := range r.Added {
			p.line("+", "%s (%s)", p.code(f.Key), ui.Bytes(f.To))
		}
		for _, f := range r.Changed {
			p.line("~", "%s (%s → %s)", p.code(f.Key), ui.Bytes(f.From), ui.Bytes(f.To))
		}
		end()
	} else {
		p.stat("-", r.Removed)
		p.stat("+", r.Added)
		p.stat("~", r.Changed)
	}
	verb := "are"
	if r.Equal == 1 {
		verb = "is"
	}
	p.line("=", "%s %s the same", ui.Plural(r.Equal, "file"), verb)
}

// fold begins a list of n items, and returns what ends it.
func (p diffPrinter) fold(n int) (end func()) {
	if !p.markdown || n < foldedFiles {
		return func() {}
	}
	fmt.Fprintf(p.w, "<details><summary>%s</summary>\n\n", ui.Plural(n, "file"))
	return func() { fmt.Fprint(p.w, "\n</details>\n\n") }
}

func (p diffPrinter) stat(sign string, all []packagediff.File) {
	if len(all) == 0 {
		return
	}
	var from, to int64
	for _, f := range all {
		from, to = from+f.From, to+f.To
	}
	size := ui.Bytes(from + to) // one of them is 0
	if sign == "~" {
		size = ui.Bytes(from) + " → " + ui.Bytes(to)
	}
	p.line(sign, "%s (%s)", ui.Plural(len(all), "file"), size)
}
