// Package cli is the command line of sandwich: a file for each verb, which reads flags,
// calls the packages that do the work and shapes their answer. What an error means for
// the exit code and what to do about it is decided in exit.go and nowhere else.
package cli

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/ui"
)

// Process is what a command has of the process it runs in.
type Process struct {
	Args   []string // without the program's name
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Getenv func(string) string
}

// Main runs the command that the arguments name and returns the exit code. The context
// ends only when the process is interrupted.
func Main(ctx context.Context, p Process) int {
	a := &app{Process: p, mode: ui.Auto}
	root := a.root()
	root.SetArgs(append([]string{}, p.Args...)) // never nil, for which cobra takes those of the process
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	command, err := root.ExecuteContextC(ctx)
	return a.finish(ctx, command, err)
}

// app is one run of a command.
type app struct {
	Process
	mode  ui.Mode
	json  bool
	quiet bool

	view    ui.View // nil until a verb runs
	answer  ui.Answer
	summary string // the last line of the story
}

// root is the command sandwich with all its verbs.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "sandwich",
		Short: "Build models that anyone can rebuild",
		Long: `Sandwich turns one YAML file, the manifest, into a model that anyone can rebuild.

The manifest says which Open Images labels to use, how to crop them, and what to
train on the crops. Build runs that as cached stages and puts data, code,
environment and model into a registry, as one package with one name and hash.`,
		Example: `  sandwich init                    # write a manifest to start from
  sandwich plan                    # what would a build do?
  sandwich build                   # build, and push the package
  sandwich install quilt/open_images --registry ./registry`,
		DisableFlagsInUseLine:      true,
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		Args:                       unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(a.Stderr)
			_ = cmd.Help() // it fails only when stderr does
			return errNoCommand
		},
	}
	root.SetFlagErrorFunc(flagError)
	flags := root.PersistentFlags()
	flags.SortFlags = false
	flags.BoolVar(&a.json, "json", false, "write events and the answer as JSON lines (help json)")
	flags.Var(&a.mode, "progress", "how to show progress")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "show only warnings, errors and the answer")

	group(root, "build", "Build:", a.initCommand(), a.labels(), a.check(), a.plan(), a.lock(), a.retry(), a.outdated(), a.build(),
		a.explain(), a.history(), a.diff(), a.cache(), a.doctor())
	group(root, "packages", "Packages:", a.push(), a.install(), a.log(), a.show(), a.verify(), a.reproduce(), a.sign(), a.challenge(), a.predict())
	group(root, "registries", "Registries:", a.list(), a.tag(), a.rollback(), a.remove())
	group(root, "reference", "Reference:", a.render(), a.schema(), a.version())
	root.AddCommand(a.worker())
	root.SetHelpCommand(help(root))
	root.SetHelpCommandGroupID("reference")
	root.SetCompletionCommandGroupID("reference")
	root.AddCommand(topics()...)
	return root
}

// group adds verbs under a title of the help.
func group(root *cobra.Command, id, title string, commands ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: id, Title: title})
	for _, c := range commands {
		c.GroupID = id
		c.Flags().SortFlags = false
		root.AddCommand(c)
	}
}

// verb makes the body of a command from what it does.
func (a *app) verb(run func(ctx context.Context, args []string) (ui.Answer, error)) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) (err error) {
		a.open()
		a.answer, err = run(cmd.Context(), args)
		return err
	}
}

// open chooses the view, once the flags are known.
func (a *app) open() {
	if a.json {
		a.mode = ui.JSON
	}
	a.view = ui.Open(ui.Options{
		Mode: a.mode, Quiet: a.quiet, Stdout: a.Stdout, Stderr: a.Stderr, Getenv: a.Getenv, Now: time.Now,
	})
}

// verbName is a command as it is written, without the program's name.
func verbName(command *cobra.Command) string {
	return strings.TrimPrefix(command.CommandPath(), command.Root().Name()+" ")
}

// finish shows how the command ended and returns the exit code.
func (a *app) finish(ctx context.Context, command *cobra.Command, err error) int {
	if a.view == nil {
		if err == nil {
			return exitOK // help and completion have written their text
		}
		a.json = a.json || slices.Contains(a.Args, "--json") // parsing may have ended before it
		a.open()
	}
	code, problem := diagnose(ctx, err)
	if problem != nil {
		a.summary = ""
	}
	failure := a.view.Close(ui.End{Command: verbName(command), Exit: code, Summary: a.summary, Answer: a.answer, Problem: problem})
	if failure != nil && code == exitOK {
		code, problem = diagnose(ctx, failure)
		_ = ui.Open(ui.Options{Mode: ui.Plain, Stdout: io.Discard, Stderr: a.Stderr, Getenv: a.Getenv}).Close(ui.End{Exit: code, Problem: problem})
	}
	return code
}
