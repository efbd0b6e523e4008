package cli

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/pin"
	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/ui"
)

// failuresFlag names the table of the photos that a verb got no pin for.
type failuresFlag struct{ file string }

func (f *failuresFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "failures", "", "write a CSV of the photos that were asked for in vain: place, URL, reason, attempts")
}

// during makes the options of run write the table, which is there when run has ended, in
// whatever way.
func (f failuresFlag) during(o *pipeline.Options, run func() (ui.Answer, error)) (answer ui.Answer, err error) {
	if f.file == "" {
		return run()
	}
	temp, err := os.CreateTemp(filepath.Dir(f.file), ".failures-*")
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, temp.Close())
		if renamed := os.Rename(temp.Name(), f.file); renamed != nil {
			err = errors.Join(err, renamed, os.Remove(temp.Name()))
		}
	}()
	table := csv.NewWriter(temp)
	write := func(row ...string) { _ = table.Write(row) } // the table keeps its first error
	write("ImageID", "Place", "URL", "Reason", "Attempts", "Dead")
	o.Missed = func(p pin.Failure) {
		write(string(p.ImageID), string(p.Place), p.URL, p.Reason, strconv.Itoa(p.Attempts), strconv.FormatBool(!p.Unreached))
	}
	answer, err = run()
	if table.Flush(); table.Error() != nil {
		err = errors.Join(err, fmt.Errorf("write %s: %w", f.file, table.Error()))
	}
	return answer, err
}
