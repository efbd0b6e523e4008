// Package sigstoretest runs a real sigstore for tests: a certificate authority (Fulcio) and a
// timestamp authority, on loopback, which trust an issuer of identities that is the test itself.
// It has no logs: neither of certificates nor of signatures.
package sigstoretest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"
)

// program is a program of sigstore's that tests run.
type program struct{ name, variable, install string }

// The programs. .ci/run installs them.
var (
	cosign = program{"cosign", "SANDWICH_COSIGN", "go install github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3"}
	fulcio = program{"fulcio", "SANDWICH_FULCIO", "go install github.com/sigstore/fulcio@v1.8.8"}
	tsa    = program{"timestamp-server", "SANDWICH_TIMESTAMP_SERVER", "go install github.com/sigstore/timestamp-authority/v2/cmd/timestamp-server@v2.1.2"}
)

// startTime is how long a server may take on a busy machine; both need a tenth of a second on an
// idle one.
const startTime = 30 * time.Second

// Sigstore is a running sigstore.
type Sigstore struct {
	*Issuer
	Cosign  string // the program
	Environ map[string]string
	dir     string
	tsa     string // the URL of its endpoint, and its certificates
	tsaCert string
}

// Start starts a sigstore that ends with the test. Where one of its programs, or cosign, is not
// installed the test is skipped, but fails in CI.
func Start(tb testing.TB) *Sigstore {
	tb.Helper()
	programs := [3]string{cosign.find(tb), fulcio.find(tb), tsa.find(tb)}
	s := &Sigstore{Issuer: newIssuer(tb), Cosign: programs[0], dir: tb.TempDir()}
	config := filepath.Join(s.dir, "fulcio.yaml")
	write(tb, config, fmt.Sprintf("oidc-issuers:\n  %[1]s:\n    issuer-url: %[1]s\n    client-id: sigstore\n    type: email\n", s.URL))
	ca := serve(tb, programs[1], "/healthz", func(ports [2]string) []string {
		return []string{
			"serve", "--ca", "ephemeralca", "--ct-log-url", "", "--config-path", config, "--metrics-port", "0",
			"--host", "127.0.0.1", "--port", ports[0], "--grpc-host", "127.0.0.1", "--grpc-port", ports[1],
			"--legacy-unix-domain-socket", filepath.Join(s.dir, "fulcio.sock"),
		}
	})
	alone(tb)
	clock := serve(tb, programs[2], "/ping", func(ports [2]string) []string {
		return []string{"serve", "--host", "127.0.0.1", "--port", ports[0], "--timestamp-signer", "memory", "--disable-ntp-monitoring"}
	})
	roots := filepath.Join(s.dir, "fulcio.pem")
	s.tsa, s.tsaCert = clock+"/api/v1/timestamp", filepath.Join(s.dir, "tsa.pem")
	write(tb, roots, get(tb, ca+"/api/v1/rootCert"))
	write(tb, s.tsaCert, get(tb, s.tsa+"/certchain"))
	signing := filepath.Join(s.dir, "signing-config.json")
	const since = ",api-version=1,operator=test,start-time=2024-01-01T00:00:00Z"
	s.run(tb, "signing-config", "create", "--out", signing, "--fulcio", "url="+ca+since, "--oidc-provider", "url="+s.URL+since,
		"--tsa", "url="+s.tsa+since, "--tsa-config", "ANY")
	s.Environ = map[string]string{
		"COSIGN_SIGNING_CONFIG": signing, "COSIGN_TRUSTED_ROOT": s.TrustedRoot(tb, roots),
		// It has no logs, so signatures count by their timestamps.
		"COSIGN_INSECURE_IGNORE_SCT": "true", "COSIGN_INSECURE_IGNORE_TLOG": "true", "COSIGN_USE_SIGNED_TIMESTAMPS": "true",
		"SIGSTORE_ID_TOKEN": "", "TUF_ROOT": filepath.Join(s.dir, "tuf"),
	}
	return s
}

// alone waits until no other test of this machine runs a timestamp authority: whatever port that is
// given, its metrics are on port 2112.
func alone(tb testing.TB) {
	tb.Helper()
	lock := flock.New(filepath.Join(os.TempDir(), "sandwich-test-timestamp-server.lock"))
	if _, err := lock.TryLockContext(tb.Context(), 20*time.Millisecond); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := lock.Unlock(); err != nil {
			tb.Error(err)
		}
	})
}

// Setenv gives the test a PATH on which cosign is first, and the settings by which it works with
// this sigstore. The test must not be parallel.
func (s *Sigstore) Setenv(tb testing.TB) {
	tb.Helper()
	tb.Setenv("PATH", filepath.Dir(s.Cosign)+string(filepath.ListSeparator)+os.Getenv("PATH"))
	for _, key := range slices.Sorted(maps.Keys(s.Environ)) {
		tb.Setenv(key, s.Environ[key])
	}
}

// TrustedRoot writes a file that tells cosign to trust the certificate authority whose root is in
// another file, and this sigstore's timestamps, and returns its path.
func (s *Sigstore) TrustedRoot(tb testing.TB, ca string) string {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "trusted-root.json")
	s.run(tb, "trusted-root", "create", "--out", file,
		"--fulcio", "url=http://127.0.0.1,certificate-chain="+ca, "--tsa", "url="+s.tsa+",certificate-chain="+s.tsaCert)
	return file
}

// run runs cosign.
func (s *Sigstore) run(tb testing.TB, args ...string) {
	tb.Helper()
	if out, err := exec.CommandContext(tb.Context(), s.Cosign, args...).CombinedOutput(); err != nil {
		tb.Fatalf("cosign %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// find returns the path of the program.
func (p program) find(tb testing.TB) string {
	tb.Helper()
	if path := os.Getenv(p.variable); path != "" {
		return path
	}
	if path, err := exec.LookPath(p.name); err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		tb.Fatalf("%s is not installed: %s", p.name, p.install)
	}
	tb.Skipf("%s is not installed: %s", p.name, p.install)
	return ""
}

// serve runs a server on the first of two free ports of loopback and returns its URL once it
// answers at a path.
func serve(tb testing.TB, binary, path string, args func(ports [2]string) []string) string {
	tb.Helper()
	for try := 1; ; try++ {
		url, err := launch(tb, binary, path, args)
		if err == nil {
			return url
		}
		// Between choosing a port and using it another process may take it.
		if try == 3 {
			tb.Fatalf("start %s: %v", binary, err)
		}
	}
}

func launch(tb testing.TB, binary, path string, args func(ports [2]string) []string) (string, error) {
	tb.Helper()
	var ports [2]string
	for i := range ports {
		listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		defer func() { _ = listener.Close() }() // a second time
		if _, ports[i], err = net.SplitHostPort(listener.Addr().String()); err != nil {
			return "", err
		}
		if err := listener.Close(); err != nil {
			return "", err
		}
	}
	var said strings.Builder
	cmd := exec.CommandContext(context.WithoutCancel(tb.Context()), binary, args(ports)...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return "", err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is killed
	}()
	stop := func() {
		_ = cmd.Process.Kill()
		<-ended
	}
	url := "http://127.0.0.1:" + ports[0]
	if err := answers(tb.Context(), url+path, ended); err != nil {
		stop()
		return "", fmt.Errorf("%w: %s", err, said.String())
	}
	tb.Cleanup(stop)
	return url, nil
}

// answers waits until a server answers.
func answers(ctx context.Context, url string, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		_, err := fetch(ctx, url)
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return errors.New("it ended")
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func get(tb testing.TB, url string) string {
	tb.Helper()
	text, err := fetch(tb.Context(), url)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func fetch(ctx context.Context, url string) (_ string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, text)
	}
	return string(text), err
}

func write(tb testing.TB, file, text string) {
	tb.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}
