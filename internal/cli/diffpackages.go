package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/packagediff"
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

// arePackages reports whether arguments name packages or folders: the digits and numbers
// that name builds hold no slash and no dot.
func arePackages(args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool { return strings.ContainsAny(arg, "/.") || isFolder(arg) })
}

func (a *app) diffPackages(ctx context.Context, f packageDiffFlags, args []string) (ui.Answer, error) {
	if len(args) != 2 {
		return nil, usagef("name another revision, or a folder", "diff: %s is compared with nothing", args[0])
	}
	var sides [2]packagediff.Side
	for i, arg := range args {
		side, done, err := a.side(ctx, *f.registry, arg)
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

// side opens one of what is compared: a folder if there is one, else a package. The
// caller calls done in the end.
func (a *app) side(ctx context.Context, f registryFlags, arg string) (_ packagediff.Side, done func(), err error) {
	if isFolder(arg) {
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
		fmt.Fprintf(w, "no difference: %s files\n", ui.Count(int64(r.Equal)))
		return
	}
	if r.Message != nil {
		p.fields("message", []packagediff.Field{*r.Message})
	}
	p.fields("manifest", r.Manifest)
	p.names("labels", r.Labels)
	p.counts("boxes", r.Boxes)
	if c := r.Crops; c.Added+c.Removed+c.Changed > 0 {
		p.counts("crops", []packagediff.Count{c})
	}
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
		fmt.Fprintf(p.w, "### `%s` → `%s`\n", a, b)
		return
	}
	fmt.Fprintf(p.w, "--- %s\n+++ %s\n", ui.Printable(a), ui.Printable(b))
}

func (p diffPrinter) section(name string) {
	if p.markdown {
		fmt.Fprintf(p.w, "\n**%s**\n\n", name)
		return
	}
	fmt.Fprintf(p.w, "\n%s\n", name)
}

// line writes one item; sign is +, - or ~.
func (p diffPrinter) line(sign, format string, args ...any) {
	text := ui.Printable(fmt.Sprintf(format, args...))
	if p.markdown {
		words := map[string]string{"+": "added ", "-": "removed ", "~": "changed "}
		fmt.Fprintf(p.w, "- %s`%s`\n", words[sign], strings.ReplaceAll(text, "`", "'"))
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
		switch {
		case f.From == "":
			p.line("+", "%s: %s", f.Path, f.To)
		case f.To == "":
			p.line("-", "%s: %s", f.Path, f.From)
		default:
			p.line("~", "%s: %s → %s", f.Path, f.From, f.To)
		}
	}
}

func (p diffPrinter) names(section string, n packagediff.Names) {
	if len(n.Added)+len(n.Removed) == 0 {
		return
	}
	p.section(section)
	for _, name := range n.Removed {
		p.line("-", "%s", name)
	}
	for _, name := range n.Added {
		p.line("+", "%s", name)
	}
}

func (p diffPrinter) counts(section string, all []packagediff.Count) {
	if len(all) == 0 {
		return
	}
	p.section(section)
	for _, c := range all {
		for _, part := range []struct {
			sign string
			n    int
		}{{"+", c.Added}, {"-", c.Removed}, {"~", c.Changed}} {
			if part.n > 0 {
				p.line(part.sign, "%s %s", ui.Count(int64(part.n)), c.Label)
			}
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
			p.line("+", "%s: %.4g", m.Name, *m.To)
		case m.To == nil:
			p.line("-", "%s: %.4g", m.Name, *m.From)
		default:
			p.line("~", "%s: %.4g → %.4g (%+.4g)", m.Name, *m.From, *m.To, *m.Change)
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
		name := strings.NewReplacer("`", "'", "|", "¦").Replace(ui.Printable(m.Name))
		fmt.Fprintf(p.w, "| `%s` | %s | %s | %s |\n", name, cell("%.4g", m.From), cell("%.4g", m.To), cell("%+.4g", m.Change))
	}
}

func (p diffPrinter) files(r *packagediff.Report, stat bool) {
	p.section("files")
	for _, part := range []struct {
		sign string
		all  []packagediff.File
	}{{"-", r.Removed}, {"+", r.Added}, {"~", r.Changed}} {
		if stat {
			p.stat(part.sign, part.all)
			continue
		}
		for _, f := range part.all {
			size := ui.Bytes(f.From + f.To) // one of them is 0
			if part.sign == "~" {
				size = ui.Bytes(f.From) + " → " + ui.Bytes(f.To)
			}
			p.line(part.sign, "%s (%s)", f.Key, size)
		}
	}
	p.line("=", "%s files are the same", ui.Count(int64(r.Equal)))
}

func (p diffPrinter) stat(sign string, all []packagediff.File) {
	if len(all) == 0 {
		return
	}
	var from, to int64
	for _, f := range all {
		from, to = from+f.From, to+f.To
	}
	switch sign {
	case "+":
		p.line(sign, "%s files (%s)", ui.Count(int64(len(all))), ui.Bytes(to))
	case "-":
		p.line(sign, "%s files (%s)", ui.Count(int64(len(all))), ui.Bytes(from))
	default:
		p.line(sign, "%s files (%s → %s)", ui.Count(int64(len(all))), ui.Bytes(from), ui.Bytes(to))
	}
}
