package cli

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sandwich-build/sandwich/internal/conda/condatest"
)

// channelOf is the key of a script's channel of conda's.
type channelOf struct{}

// salt is a package that conda-package-handling has made; a script starts in a folder of its own.
var salt, _ = filepath.Abs("../conda/archive/testdata/salt-1.0-0.tar.bz2")

// placeholder stands for the folder of an environment in packages of the tests.
const placeholder = "/opt/placehold_placehold_placehold"

// startChannel gives a script a channel of its own, at $CHANNEL, and $RATTLER, a PATH for what reads it. It has a
// python, which is the system's behind a script that knows where it was installed to, in a package with a binary that
// knows it too; and salt, a package of the older form that conda's own tool has made.
func startChannel(env *testscript.Env) {
	channel := new(condatest.Channel)
	server := httptest.NewServer(http.StripPrefix("/pantry", channel))
	env.Defer(server.Close)
	env.Values[channelOf{}] = channel
	env.Setenv("CHANNEL", server.URL+"/pantry")
	env.Setenv("RATTLER", condatest.FindRattler())
}

// servePackages changes the channel: channel bread 1.0 [dependency...] puts a package of Python's into it, whose module
// bread knows its version, and whose program bread prints it; channel base puts python and salt into it; channel closed
// lets it refuse everything, channel open not any more.
func servePackages(ts *testscript.TestScript, neg bool, args []string) {
	channel := ts.Value(channelOf{}).(*condatest.Channel)
	switch {
	case !neg && len(args) == 1 && (args[0] == "closed" || args[0] == "open"):
		channel.Close(args[0] == "closed")
	case !neg && len(args) == 1 && args[0] == "base":
		channel.Put(ts, condatest.Package{
			Name: "python", Version: "3.11.2", Subdir: "linux-64", Depends: []string{"salt", "__glibc >=2.17"},
			Files: map[string]condatest.File{
				"bin/python3.11": {
					Text:       "#!/bin/sh\nexport PYTHONPATH=" + placeholder + "/lib/python3.11/site-packages\nexec /usr/bin/python3 \"$@\"\n",
					Executable: true, Placeholder: placeholder,
				},
				"bin/python3": {Link: "python3.11"}, "bin/python": {Link: "python3.11"},
				"lib/libwhere.so":                {Text: "\x7fLIB\x00" + placeholder + "/lib\x00end", Placeholder: placeholder, Binary: true},
				"bin/.python-post-link.sh":       {Text: "exit 1\n", Executable: true},
				"etc/conda/activate.d/python.sh": {Text: "exit 1\n"},
			},
		})
		data, err := os.ReadFile(salt)
		ts.Check(err)
		channel.PutFile(ts, "linux-64", "salt-1.0-0.tar.bz2", `{"name": "salt", "version": "1.0", "build": "0", "build_number": 0, "depends": [], "subdir": "linux-64"}`, data)
	case !neg && len(args) >= 2:
		name := args[0]
		channel.Put(ts, condatest.Package{
			Name: name, Version: args[1], Python: true, Depends: append([]string{"python >=3.8"}, args[2:]...), EntryPoints: []string{name + " = " + name + ":main"},
			Files: map[string]condatest.File{
				"site-packages/" + name + ".py": {Text: strings.ReplaceAll("version = \"VERSION\"\n\n\ndef main():\n    print(version)\n", "VERSION", args[1])},
				"etc/shared":                    {Text: name},
			},
		})
	default:
		ts.Fatalf("usage: channel name version [dependency...] | channel base | channel open | channel closed")
	}
}
