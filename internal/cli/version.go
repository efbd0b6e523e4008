package cli

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/ui"
)

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Long: `Version prints the version, the commit it was built from, and the toolchain and
platform it was built for. All of them are part of a package's environment.`,
		Example:           `  sandwich version --json`,
		Args:              between(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.verb(func(context.Context, []string) (ui.Answer, error) {
			info, _ := debug.ReadBuildInfo()
			return versionOf(info), nil
		}),
	}
}

type versionAnswer struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// versionOf reads what the toolchain wrote into the binary; info may be nil.
func versionOf(info *debug.BuildInfo) versionAnswer {
	v := versionAnswer{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info == nil {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

func (v versionAnswer) Text(w io.Writer) {
	revision := ""
	if v.Revision != "" {
		revision = " " + v.Revision[:min(len(v.Revision), 12)]
		if v.Modified {
			revision += "+changes"
		}
	}
	fmt.Fprintf(w, "sandwich %s%s %s %s\n", v.Version, revision, v.Go, v.Platform)
}
