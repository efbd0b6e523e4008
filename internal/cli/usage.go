package cli

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usageError says that the command line cannot be understood.
type usageError struct {
	message string
	hint    string
}

func (e *usageError) Error() string { return e.message }

var errNoCommand = &usageError{message: "which command?", hint: "start with `sandwich init` or `sandwich help`"}

func usagef(hint, format string, args ...any) error {
	return &usageError{message: fmt.Sprintf(format, args...), hint: hint}
}

// unknownCommand refuses what is not the name of a verb.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := cmp.Or(didYouMean(cmd, args[0], ""), "`sandwich help` lists the commands")
	return usagef(hint, "unknown command %q", args[0])
}

// flagError adds what was probably meant to an error of parsing flags.
func flagError(cmd *cobra.Command, err error) error {
	near := ""
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		near = didYouMean(flagNames(cmd), unknown.GetSpecifiedName(), "--")
	}
	hint := cmp.Or(near, fmt.Sprintf("`%s --help` lists the flags", cmd.CommandPath()))
	return &usageError{message: err.Error(), hint: hint}
}

// flagNames is a command whose verbs are the names of cmd's flags: cobra knows what is
// near to a verb.
func flagNames(cmd *cobra.Command) *cobra.Command {
	names := &cobra.Command{SuggestionsMinimumDistance: 2}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		names.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
	})
	return names
}

// didYouMean is a hint that names the verbs of cmd near to what was written, or nothing
// when none is.
func didYouMean(cmd *cobra.Command, written, prefix string) string {
	near := cmd.SuggestionsFor(written)
	if len(near) == 0 {
		return ""
	}
	for i, name := range near {
		near[i] = "`" + prefix + name + "`"
	}
	return "did you mean " + strings.Join(near, " or ") + "?"
}

// between checks the number of arguments.
func between(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		hint := "usage: " + cmd.UseLine()
		switch {
		case len(args) < least:
			return usagef(hint, "%s: an argument is missing", cmd.Name())
		case most >= 0 && len(args) > most:
			return usagef(hint, "%s: unexpected argument %q", cmd.Name(), args[most])
		}
		return nil
	}
}

// unlimited is a most for between.
const unlimited = -1
