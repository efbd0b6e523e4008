package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sandwich-build/sandwich/internal/sigstoretest"
)

// visit opens a browser, which visits the page that the argument names, and does not wait for it.
func visit() {
	const browser = "SANDWICH_TEST_BROWSER"
	if os.Getenv(browser) == "" {
		cmd := exec.CommandContext(context.Background(), os.Args[0], os.Args[1:]...)
		cmd.Env = append(os.Environ(), browser+"=1")
		if err := cmd.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, os.Args[1], http.NoBody)
	if err == nil {
		var resp *http.Response
		if resp, err = http.DefaultClient.Do(req); err == nil {
			err = resp.Body.Close()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestKeylessScripts runs testdata/keyless with a real sigstore, in which they are alice; in front
// of the browser is bob. NO_COSIGN is a path of programs without cosign.
func TestKeylessScripts(t *testing.T) {
	sigstore := sigstoretest.Start(t)
	sigstore.Enter("bob@example.org")
	otherRoot := sigstore.TrustedRoot(t, filepath.Join("..", "cosign", "testdata", "other-root.pem"))
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/keyless",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE") != "",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "mislay": mislay, "forge": forge,
		},
		Setup: func(env *testscript.Env) error {
			for _, key := range slices.Sorted(maps.Keys(sigstore.Environ)) {
				env.Setenv(key, sigstore.Environ[key])
			}
			env.Setenv("EXAMPLES", examples)
			env.Setenv("ISSUER", sigstore.URL)
			env.Setenv("OTHER_ROOT", otherRoot)
			env.Setenv("SIGSTORE_ID_TOKEN", sigstore.Token("alice@example.org"))
			env.Setenv("BOB", sigstore.Token("bob@example.org"))
			var without []string
			for _, dir := range filepath.SplitList(env.Getenv("PATH")) {
				if _, err := os.Stat(filepath.Join(dir, "cosign")); err != nil {
					without = append(without, dir)
				}
			}
			env.Setenv("NO_COSIGN", strings.Join(without, string(filepath.ListSeparator)))
			env.Setenv("PATH", filepath.Dir(sigstore.Cosign)+string(filepath.ListSeparator)+env.Getenv("PATH"))
			env.Setenv("SANDWICH_CACHE", env.WorkDir+"/cache")
			return nil
		},
	})
}

// forge replaces a word in every statement that an identity has signed: forge registry old new.
func forge(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: forge registry old new")
	}
	all, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), ".sandwich", "attestations", "*", "*.sigstore.json"))
	ts.Check(err)
	for _, file := range all {
		data, err := os.ReadFile(file)
		ts.Check(err)
		var bundle struct {
			Envelope struct {
				Payload string `json:"payload"`
			} `json:"dsseEnvelope"`
		}
		ts.Check(json.Unmarshal(data, &bundle))
		payload, err := base64.StdEncoding.DecodeString(bundle.Envelope.Payload)
		ts.Check(err)
		changed := bytes.ReplaceAll(payload, []byte(args[1]), []byte(args[2]))
		if bytes.Equal(changed, payload) {
			ts.Fatalf("%s does not say %s", file, args[1])
		}
		data = bytes.Replace(data, []byte(bundle.Envelope.Payload), []byte(base64.StdEncoding.EncodeToString(changed)), 1)
		ts.Check(os.WriteFile(file, data, 0o666))
	}
}
