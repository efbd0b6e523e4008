package cli

import (
	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/stages/worker"
)

// worker is the verb by which this program does the work of a stage in an image. No person uses it.
func (a *app) worker() *cobra.Command {
	return &cobra.Command{
		Use:    pipeline.WorkerVerb,
		Short:  "Do the work of a stage, for another process",
		Args:   between(0, 0),
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return worker.Main(cmd.Context(), a.Stdin, a.Stdout, pipeline.Catalogue())
		},
	}
}
