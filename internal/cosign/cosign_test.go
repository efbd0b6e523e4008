package cosign_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/internal/attest"
	"github.com/sandwich-build/sandwich/internal/cosign"
	"github.com/sandwich-build/sandwich/internal/provenance"
	"github.com/sandwich-build/sandwich/internal/sigstoretest"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

const (
	alice = "alice@example.org"
	bob   = "bob@example.org"
)

// top is the revision that is signed.
var top = quilt.TopHash{1}

func statement(top quilt.TopHash) provenance.Statement {
	s := provenance.Statement{Type: provenance.StatementType, PredicateType: provenance.PredicateType}
	s.Subject = []provenance.Resource{attest.Subject("me/lunch", top)}
	return s
}

// start starts a sigstore for which the test is alice, and finds cosign.
func start(t *testing.T) (*sigstoretest.Sigstore, *cosign.Tool) {
	t.Helper()
	s := sigstoretest.Start(t)
	s.Setenv(t)
	t.Setenv("SIGSTORE_ID_TOKEN", s.Token(alice))
	tool, err := cosign.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if tool.Program != s.Cosign {
		t.Fatalf("%s was found, and the tests' is %s", tool.Program, s.Cosign)
	}
	return s, tool
}

func TestSignAndCheck(t *testing.T) {
	s, tool := start(t)
	b, err := tool.Sign(t.Context(), statement(top), nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := (attest.Identity{Subject: alice, Issuer: s.URL}); b.Signer() != want || !b.About(top) {
		t.Fatalf("signed by %s", b.Signer())
	}
	allowed := cosign.Policy{Identity: alice, Issuer: s.URL}
	for name, p := range map[string]cosign.Policy{
		"the identity": allowed,
		"regexps":      {IdentityRegexp: `@example\.org$`, IssuerRegexp: "^http://127"},
	} {
		if err := tool.Check(t.Context(), b, top, p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := edited(t, b, func(e map[string]any) {
		text, err := statement(quilt.TopHash{2}).Encode()
		if err != nil {
			t.Fatal(err)
		}
		e["payload"] = base64.StdEncoding.EncodeToString(text)
	})
	for name, check := range map[string]func() error{
		"another identity": func() error { return tool.Check(t.Context(), b, top, cosign.Policy{Identity: bob, Issuer: s.URL}) },
		"another issuer": func() error {
			return tool.Check(t.Context(), b, top, cosign.Policy{Identity: alice, Issuer: "https://x"})
		},
		"regexps of others": func() error {
			return tool.Check(t.Context(), b, top, cosign.Policy{IdentityRegexp: "^b", IssuerRegexp: "."})
		},
		"another revision":     func() error { return tool.Check(t.Context(), b, quilt.TopHash{2}, allowed) },
		"a statement replaced": func() error { return tool.Check(t.Context(), other, quilt.TopHash{2}, allowed) },
		"a root that is not its own": func() error {
			t.Setenv("COSIGN_TRUSTED_ROOT", s.TrustedRoot(t, filepath.Join("testdata", "other-root.pem")))
			return tool.Check(t.Context(), b, top, allowed)
		},
	} {
		if _, unsigned := errors.AsType[*attest.UnsignedError](check()); !unsigned {
			t.Errorf("%s: got %v, want an UnsignedError", name, check())
		}
	}
}

// edited is a bundle with another envelope.
func edited(t *testing.T, b *attest.Bundle, edit func(envelope map[string]any)) *attest.Bundle {
	t.Helper()
	var text map[string]any
	if err := json.Unmarshal(b.Encode(), &text); err != nil {
		t.Fatal(err)
	}
	edit(text["dsseEnvelope"].(map[string]any))
	data, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	other, err := attest.ReadBundle(data)
	if err != nil {
		t.Fatal(err)
	}
	return other
}

// TestNobodyToAsk signs where there is no token: without a terminal that fails at once.
func TestNobodyToAsk(t *testing.T) {
	_, tool := start(t)
	t.Setenv("SIGSTORE_ID_TOKEN", "")
	_, err := tool.Sign(t.Context(), statement(top), nil)
	if failed, ok := errors.AsType[*cosign.FailedError](err); !ok || len(failed.Lines) == 0 || !failed.Alone {
		t.Errorf("got %v, want a FailedError that tells what cosign says", err)
	}
}

// TestAsking signs with a code that somebody enters in a browser, and is interrupted while cosign
// waits for that.
func TestAsking(t *testing.T) {
	s, tool := start(t)
	t.Setenv("SIGSTORE_ID_TOKEN", "")
	t.Setenv("COSIGN_FULCIO_AUTH_FLOW", "device")
	ctx, cancel := context.WithCancel(t.Context())
	var interrupted time.Time
	go func() {
		<-s.Waiting()
		interrupted = time.Now()
		cancel()
	}()
	if _, err := tool.Sign(ctx, statement(top), io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was interrupted", err)
	}
	if late := time.Since(interrupted); late > 5*time.Second {
		t.Errorf("it ended %v after it was interrupted", late)
	}
	said := new(strings.Builder)
	s.Enter(bob)
	b, err := tool.Sign(t.Context(), statement(top), said)
	if err != nil {
		t.Fatal(err)
	}
	if b.Signer().Subject != bob || !strings.Contains(said.String(), "HAM-EGG") {
		t.Errorf("signed by %s, who was told %q", b.Signer(), said.String())
	}
}

// program makes a cosign that is a script, and the only one on the path.
func program(t *testing.T, script string, mode os.FileMode) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cosign"), []byte("#!/bin/sh\n"+script+"\n"), mode); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
}

func TestFind(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := cosign.Find(t.Context()); !isType[*cosign.NotFoundError](err) {
		t.Errorf("none: got %v", err)
	}
	program(t, "", 0o600)
	if _, err := cosign.Find(t.Context()); !isType[*cosign.NotFoundError](err) {
		t.Errorf("one that cannot be run: got %v", err)
	}
	program(t, `echo '{"gitVersion":"v2.6.2"}'`, 0o700)
	if _, err := cosign.Find(t.Context()); !isType[*cosign.OldError](err) || !strings.Contains(err.Error(), "cosign 2.6.2") {
		t.Errorf("an old one: got %v", err)
	}
	program(t, "echo no such command >&2; exit 1", 0o700)
	if _, err := cosign.Find(t.Context()); !isType[*cosign.FailedError](err) || !strings.Contains(err.Error(), "no such command") {
		t.Errorf("another program: got %v", err)
	}
	program(t, `echo '{"gitVersion":"devel"}'`, 0o700)
	if _, err := cosign.Find(t.Context()); err != nil {
		t.Errorf("one of no release: got %v", err)
	}
}

func isType[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// TestSignedByNobody is about what a cosign makes that does something else.
func TestSignedByNobody(t *testing.T) {
	for name, script := range map[string]string{
		"nothing":  `[ "$1" = version ] || exit 0`,
		"nonsense": `[ "$1" = version ] || echo '{}' > "$5"`,
	} {
		program(t, script, 0o700)
		tool, err := cosign.Find(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if b, err := tool.Sign(t.Context(), statement(top), nil); err == nil {
			t.Errorf("%s: got %s", name, b.Encode())
		}
	}
}

func TestPolicy(t *testing.T) {
	for _, p := range []cosign.Policy{
		{Identity: alice}, {Issuer: "https://x"}, {Identity: alice, IdentityRegexp: alice, Issuer: "https://x"},
		{IdentityRegexp: "(", Issuer: "https://x"}, {Identity: alice, IssuerRegexp: "("},
	} {
		if p.Validate() == nil {
			t.Errorf("%+v is valid", p)
		}
	}
	if !(cosign.Policy{}).IsZero() || (cosign.Policy{Issuer: "x"}).IsZero() {
		t.Error("only the zero policy asks for nobody")
	}
	p := cosign.Policy{IdentityRegexp: "@example", Issuer: "https://x"}
	if !p.Allows(attest.Identity{Subject: alice, Issuer: "https://x"}) || p.Allows(attest.Identity{Subject: alice, Issuer: "https://xx"}) || p.Allows(attest.Identity{Subject: "x", Issuer: "https://x"}) {
		t.Errorf("%s allows others than it should", p)
	}
}
