// Package cosign signs what a builder says of a package by an identity instead of a key, through
// sigstore, and checks what identities have signed: with the cosign of this machine.
//
// Its settings count as they do for the user: a signing configuration and a trusted root of one's
// own (COSIGN_SIGNING_CONFIG, COSIGN_TRUSTED_ROOT), what `cosign initialize` has set up, tokens
// (SIGSTORE_ID_TOKEN, and those that CI services offer) or the browser.
package cosign

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/sandwich-build/sandwich/internal/attest"
	"github.com/sandwich-build/sandwich/internal/provenance"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

const name = "cosign"

// oldest is the first major version that by itself writes bundles, and finds the services and the
// root to trust through sigstore's configuration.
const oldest = 3

// NotFoundError says that there is no cosign on the path of programs.
type NotFoundError struct{ Err error }

func (e *NotFoundError) Error() string { return "there is no cosign here: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *NotFoundError) Unwrap() error { return e.Err }

// OldError says that the cosign of this machine is too old.
type OldError struct{ Program, Version string }

func (e *OldError) Error() string {
	return fmt.Sprintf("%s is cosign %s, and signing with an identity needs %d.0 or later", e.Program, e.Version, oldest)
}

// FailedError says that cosign did not do what it was asked to, and what it has said.
type FailedError struct {
	Doing string
	Err   error
	Lines []string
	Alone bool // there was no terminal on which to ask who signs
}

func (e *FailedError) Error() string {
	text := e.Doing + ": cosign: " + e.Err.Error()
	if len(e.Lines) > 0 {
		text += ": " + e.Lines[len(e.Lines)-1]
	}
	return text
}

// Unwrap returns the cause.
func (e *FailedError) Unwrap() error { return e.Err }

// Tool is the cosign of this machine.
type Tool struct {
	Program string // its path
	Version string // empty where it does not tell
}

// Find finds cosign. The error is a *NotFoundError, an *OldError or a *FailedError.
func Find(ctx context.Context) (*Tool, error) {
	program, err := exec.LookPath(name)
	if err != nil {
		return nil, &NotFoundError{err}
	}
	t := &Tool{Program: program}
	out, err := t.run(ctx, "ask for its version", nil, nil, "version", "--json")
	if err != nil {
		return nil, err
	}
	var told struct {
		Version string `json:"gitVersion"`
	}
	if json.Unmarshal(out, &told) == nil {
		t.Version = strings.TrimPrefix(told.Version, "v")
	}
	major, _, _ := strings.Cut(t.Version, ".")
	if n, err := strconv.Atoi(major); err == nil && n < oldest { // one that was built from no release tells no number
		return nil, &OldError{program, t.Version}
	}
	return t, nil
}

// The variable by which cosign is told how to find out who signs, and its value for: by a token
// that is there.
const (
	flowVariable = "COSIGN_FULCIO_AUTH_FLOW"
	flowToken    = "token"
)

// Sign signs a statement as who cosign finds somebody to be. It asks on the terminal, when standard
// input is one, and say gets what it prints then; elsewhere there must be a token.
func (t *Tool) Sign(ctx context.Context, s provenance.Statement, say io.Writer) (_ *attest.Bundle, err error) {
	const doing = "sign"
	text, err := s.Encode()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "sandwich-sign-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	statement, bundle := filepath.Join(dir, "statement.json"), filepath.Join(dir, "bundle.json")
	if err := os.WriteFile(statement, text, 0o600); err != nil {
		return nil, err
	}
	var environ []string
	if _, chosen := os.LookupEnv(flowVariable); !chosen && !term.IsTerminal(int(os.Stdin.Fd())) {
		environ, say = append(os.Environ(), flowVariable+"="+flowToken), nil
	}
	if _, err := t.run(ctx, doing, environ, say, "attest-blob", "--statement", statement, "--bundle", bundle, "--yes"); err != nil {
		if failed, ok := errors.AsType[*FailedError](err); ok {
			failed.Alone = environ != nil
		}
		return nil, err
	}
	data, err := os.ReadFile(bundle)
	if err != nil {
		return nil, err
	}
	b, err := attest.ReadBundle(data)
	if err == nil && !bytes.Equal(b.Payload(), text) {
		err = errors.New("it has signed something else")
	}
	if err != nil {
		return nil, fmt.Errorf("sign: what cosign has made: %w", err)
	}
	return b, nil
}

// Check returns an error unless a bundle is signed by somebody of a policy, and is about a
// revision: an *attest.UnsignedError.
func (t *Tool) Check(ctx context.Context, b *attest.Bundle, top quilt.TopHash, by Policy) (err error) {
	if !b.About(top) {
		return &attest.UnsignedError{By: by.String(), Err: attest.ErrElsewhere}
	}
	dir, err := os.MkdirTemp("", "sandwich-check-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "bundle.json")
	if err := os.WriteFile(file, b.Encode(), 0o600); err != nil {
		return err
	}
	args := append([]string{"verify-blob-attestation", "--bundle", file, "--type", provenance.PredicateType,
		"--digestAlg", attest.TopHash, "--digest", top.String()}, by.args()...)
	_, err = t.run(ctx, "check what "+b.Signer().String()+" has signed", nil, nil, args...)
	if _, refused := errors.AsType[*exec.ExitError](err); refused {
		return &attest.UnsignedError{By: by.String(), Err: err}
	}
	return err
}

// killAfter is how long cosign may tidy up after the context has ended: less than this process
// waits for.
const killAfter = 500 * time.Millisecond

// maxSaid is how much of what cosign says is kept, in bytes.
const maxSaid = 64 << 10

// run runs cosign with the variables of environ, or else of this process, and returns what it
// prints. Unless say is nil it may ask: it has standard input, and what it prints goes to say too.
// The error is a *FailedError.
func (t *Tool) run(ctx context.Context, doing string, environ []string, say io.Writer, args ...string) ([]byte, error) {
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, t.Program, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = environ, &out, &said
	if say != nil {
		one := &oneAtATime{w: say} // of the two streams
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, io.MultiWriter(&out, one), io.MultiWriter(&said, one)
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = killAfter
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return nil, &NotFoundError{err}
		}
		return nil, &FailedError{Doing: doing, Err: err, Lines: lines(said.String())}
	}
	return out.Bytes(), nil
}

// oneAtATime is a writer for more than one goroutine.
type oneAtATime struct {
	mu sync.Mutex
	w  io.Writer // guarded by mu
}

// Write implements io.Writer.
func (o *oneAtATime) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(p)
}

// lines are the lines of a text that are not empty, the last ones of a long one. Of an error, which
// cosign tells twice, they have one.
func lines(text string) []string {
	text = text[max(len(text)-maxSaid, 0):]
	var all []string
	for line := range strings.Lines(text) {
		line = strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(line), "error during command execution: "), "Error: ")
		if line != "" && !slices.Contains(all, line) {
			all = append(all, line)
		}
	}
	return all
}
