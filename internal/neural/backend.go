package neural

import (
	"fmt"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/gobackend"

	"github.com/sandwich-build/sandwich/stages/train/exact"
)

// DefaultBackend computes when no other is asked for: in Go and Go assembly, the same
// bits everywhere.
const DefaultBackend = exact.Name

// KernelsVariable is the variable of the environment that forces what the default backend computes
// with.
const KernelsVariable = exact.KernelsVariable

// backends make the backends that this binary has, by name. The configuration is what
// stands behind the name and a colon.
var backends = map[string]func(config string, workers int) (compute.Backend, error){
	exact.Name: func(config string, workers int) (compute.Backend, error) {
		if config != "" {
			return nil, fmt.Errorf("backend %s takes no configuration, got %q", exact.Name, config)
		}
		return exact.New(fmt.Sprintf("workers=%d", workers))
	},
	// gomlx's own. Its default, and parallelism=2, can deadlock: operations that run side
	// by side wait for the workers that they themselves occupy.
	"go": func(config string, _ int) (compute.Backend, error) {
		if config == "" {
			config = "ops_sequential"
		}
		return gobackend.New(config)
	},
	"xla": newXLA,
}

// CheckBackend reports what is wrong with the name of a backend, as far as that is known
// without making it.
func CheckBackend(name string) error {
	kind, _, _ := strings.Cut(name, ":")
	if _, ok := backends[kind]; !ok && kind != "" {
		return fmt.Errorf("backend %q: want exact, go or xla:PLUGIN", name)
	}
	return nil
}

// OpenBackend makes a backend: exact (also for an empty name), go, or, in a binary built
// with the tag xla, xla:cpu, xla:cuda and what else there is a plugin for.
func OpenBackend(name string, workers int) (compute.Backend, error) {
	kind, config, _ := strings.Cut(name, ":")
	if kind == "" {
		kind = DefaultBackend
	}
	if err := CheckBackend(name); err != nil {
		return nil, err
	}
	b, err := backends[kind](config, max(workers, 1))
	if err != nil {
		return nil, fmt.Errorf("backend %s: %w", name, err)
	}
	return b, nil
}
