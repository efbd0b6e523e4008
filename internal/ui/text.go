package ui

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages"
)

// Printable makes text from outside safe to show in one line: what could move the
// cursor, change colours, hide or reorder text is written as an escape sequence of Go.
func Printable(s string) string {
	if strings.IndexFunc(s, unsafe) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unsafe(r):
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}

// unsafe tells control characters (Cc), and those of format (Cf) that reorder or hide
// text. Line and paragraph separators break lines in some terminals.
func unsafe(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029'
}

// Count is n with a comma between thousands.
func Count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// Plural is n of what a noun names: "1 file", "2,340 files".
func Plural[N int | int64](n N, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "x"):
		noun += "e"
	}
	return Count(int64(n)) + " " + noun + "s"
}

// Bytes is n bytes with the decimal unit that a person would use.
func Bytes(n int64) string {
	const step = 1000
	if n < step {
		return Count(n) + " B"
	}
	size, units := float64(n), "kMGTPE"
	for size /= step; size >= step-0.05 && len(units) > 1; units = units[1:] {
		size /= step
	}
	return fmt.Sprintf("%.1f %cB", size, units[0])
}

// UnitBytes is the unit of progress that is counted in bytes.
const UnitBytes = "bytes"

// amount is n of a unit.
func amount(n int64, unit string) string {
	if unit == UnitBytes {
		return Bytes(n)
	}
	return Count(n)
}

// counters are what a stage counted, in the order of their names.
func counters(counted map[string]int64) string {
	parts := make([]string, 0, len(counted))
	for _, name := range slices.Sorted(maps.Keys(counted)) {
		if name == UnitBytes {
			parts = append(parts, Bytes(counted[name]))
			continue
		}
		parts = append(parts, Count(counted[name])+" "+Printable(name))
	}
	return strings.Join(parts, ", ")
}

// Work tells how much of a stage's work was done by earlier runs; nothing when none was.
func Work(work []stages.Work) string {
	var parts []string
	for _, w := range work {
		if w.Reused > 0 {
			parts = append(parts, fmt.Sprintf("%s %s: %s, reused: %s", Printable(w.Unit), Printable(w.Verb), Count(w.Done), Count(w.Reused)))
		}
	}
	return strings.Join(parts, "; ")
}

// told is what a stage that ran has counted, and how much of its work was done before.
func told(e stages.Finished) string {
	return strings.Join(slices.DeleteFunc([]string{counters(e.Result.Counters), Work(e.Work)}, func(s string) bool { return s == "" }), "; ")
}

// maxReasons bounds how many of a stage's reasons to run are shown.
const maxReasons = 3

// Reasons is why a stage runs, in one line.
func Reasons(why []string) string {
	shown := slices.Clone(why)
	if len(shown) > maxReasons {
		shown = append(shown[:maxReasons], fmt.Sprintf("and %d more", len(why)-maxReasons))
	}
	return Printable(strings.Join(shown, "; "))
}

// writeProblem tells a problem: the message, its parts, and what to do.
func writeProblem(w io.Writer, s style, p *Problem) {
	if p == nil {
		return
	}
	fmt.Fprintf(w, "%s %s\n", s.red("sandwich:"), Printable(p.Message))
	for _, f := range p.Faults {
		fmt.Fprintf(w, "%s\n", Printable(f.String()))
	}
	for _, item := range p.Items {
		fmt.Fprintf(w, "  %s\n", Printable(item))
	}
	if p.Hint != "" {
		fmt.Fprintf(w, "%s %s\n", s.bold("hint:"), Printable(p.Hint))
	}
}

// String is the fault in one line, as editors and compilers write it.
func (f Fault) String() string { return manifest.Fault(f).String() }

// style colours words, or leaves them alone.
type style struct{ colour bool }

func (s style) red(text string) string    { return s.paint("31", text) }
func (s style) green(text string) string  { return s.paint("32", text) }
func (s style) yellow(text string) string { return s.paint("33", text) }
func (s style) dim(text string) string    { return s.paint("2", text) }
func (s style) bold(text string) string   { return s.paint("1", text) }

func (s style) paint(code, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
