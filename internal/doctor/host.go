package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/sandwich-build/sandwich/internal/cosign"
	"github.com/sandwich-build/sandwich/internal/environment"
	"github.com/sandwich-build/sandwich/internal/machine"
	"github.com/sandwich-build/sandwich/internal/neural"
)

// Program asks what this binary is made of: what decides the bits of a result.
func Program(backend string) Check {
	const name = "environment"
	return Check{name, func(context.Context) []Finding {
		n, err := environment.Current()
		if err != nil {
			return []Finding{ill(name, Fault, err.Error(), "go install github.com/sandwich-build/sandwich/cmd/sandwich@latest")}
		}
		if backend != neural.DefaultBackend {
			n.Backend = backend
		}
		digest, err := n.Digest()
		if err != nil {
			return []Finding{ill(name, Fault, err.Error())}
		}
		words := []string{n.Go, n.OS + "/" + n.Arch}
		for key, value := range n.Target {
			words = append(words, key+"="+value)
		}
		words = append(words, n.CPU...)
		return []Finding{ok(name, "%s: %s, and the versions of the modules that stages are made of", digest, strings.Join(words, " "))}
	}}
}

// Kernels asks what networks are computed with on this processor. forced is the variable of the
// environment that forces a set of kernels, and its value.
func Kernels(backend, variable, forced string) Check {
	const name = "kernels"
	return Check{name, func(context.Context) []Finding {
		b, err := neural.OpenBackend(backend, runtime.GOMAXPROCS(0))
		if err != nil {
			mend := "# take another --backend: exact is the default"
			if forced != "" {
				mend = "unset " + variable
			}
			return []Finding{ill(name, Fault, err.Error(), mend)}
		}
		defer b.Finalize()
		text := b.Description()
		if features := environment.Processor().CPU; len(features) > 0 {
			text += "; the processor has " + strings.Join(features, " ")
		}
		if forced != "" {
			text += fmt.Sprintf("; forced by %s=%s", variable, forced)
		}
		return []Finding{ok(name, "%s", text)}
	}}
}

// Cosign asks for the program that signs without a key. Nothing else needs it.
func Cosign(find func(context.Context) (*cosign.Tool, error)) Check {
	const name = "cosign"
	return Check{name, func(ctx context.Context) []Finding {
		t, err := find(ctx)
		if _, none := errors.AsType[*cosign.NotFoundError](err); none {
			return []Finding{ok(name, "not installed; only to sign without a key, and to require that, needs it")}
		}
		if err != nil {
			return []Finding{ill(name, Warning, oneLine(err.Error()), "# install a later one: https://docs.sigstore.dev/cosign")}
		}
		return []Finding{ok(name, "%s: version %s", t.Program, cmp.Or(t.Version, "unknown"))}
	}}
}

// fewFiles is what a build should be able to have open: a hundred connections, the packs of the
// store and their indexes, and a photo for each core.
const fewFiles = 1024

// OpenFiles asks how many files may be open at once.
func OpenFiles() Check { return openFiles(machine.OpenFiles) }

func openFiles(limit func() uint64) Check {
	const name = "open files"
	return Check{name, func(context.Context) []Finding {
		switch n := limit(); {
		case n == 0:
			return []Finding{ok(name, "the system does not tell its limit")}
		case n < fewFiles:
			return []Finding{ill(name, Warning, fmt.Sprintf("a process may have %d files open, which may be too few for many connections", n), fmt.Sprintf("ulimit -n %d", fewFiles))}
		default:
			return []Finding{ok(name, "a process may have %d files open", n)}
		}
	}}
}

// Clock asks whether the clock of this machine may be right: it is not before the commit that this
// program was built from.
func Clock(now func() time.Time) Check {
	var made time.Time
	if info, found := debug.ReadBuildInfo(); found {
		for _, s := range info.Settings {
			if s.Key == "vcs.time" {
				made, _ = time.Parse(time.RFC3339, s.Value) // the zero time is before all
			}
		}
	}
	return clock(now, made)
}

// fixClock is how the clock of a machine is set by its network.
const fixClock = "timedatectl set-ntp true"

func clock(now func() time.Time, made time.Time) Check {
	const name = "clock"
	return Check{name, func(context.Context) []Finding {
		at := now().UTC()
		if oldest := latest(made, first); at.Before(oldest) {
			return []Finding{ill(name, Warning, fmt.Sprintf("it is %s by the clock, and was %s when this program was made: certificates and signed requests are refused",
				at.Format(time.RFC3339), oldest.UTC().Format(time.RFC3339)), fixClock)}
		}
		return []Finding{ok(name, "%s", at.Format(time.RFC3339))}
	}}
}

// first is before the first commit of this project. A machine whose clock has lost its battery is
// in 1970.
var first = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
