package cli

import (
	"net/http/httptest"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sandwich-build/sandwich/internal/wheel/wheeltest"
)

// indexOf is the key of a script's index of packages.
type indexOf struct{}

// startIndex gives a script an index of packages of its own, which pip asks.
func startIndex(env *testscript.Env) {
	index := new(wheeltest.Index)
	server := httptest.NewServer(index)
	env.Defer(server.Close)
	env.Values[indexOf{}] = index
	env.Setenv("PIP_INDEX_URL", server.URL+"/simple")
	env.Setenv("PIP_RETRIES", "0")
}

// serveWheels changes the index: index bread 1.0 [requirement...] puts a wheel into it, whose module bread
// knows its version, and whose program bread prints it; index closed lets it refuse everything, index open
// not any more.
func serveWheels(ts *testscript.TestScript, neg bool, args []string) {
	index := ts.Value(indexOf{}).(*wheeltest.Index)
	switch {
	case !neg && len(args) == 1 && (args[0] == "closed" || args[0] == "open"):
		index.Close(args[0] == "closed")
	case !neg && len(args) >= 2:
		name := args[0]
		index.Put(ts, wheeltest.Wheel{
			Name: name, Version: args[1], Requires: args[2:], EntryPoints: "[console_scripts]\n" + name + " = " + name + ":main\n",
			Files: map[string]string{name + ".py": strings.ReplaceAll("version = \"VERSION\"\n\n\ndef main():\n    print(version)\n", "VERSION", args[1])},
		})
	default:
		ts.Fatalf("usage: index name version [requirement...] | index open | index closed")
	}
}
