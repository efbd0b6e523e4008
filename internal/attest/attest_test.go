package attest_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sandwich-build/sandwich/internal/attest"
	"github.com/sandwich-build/sandwich/internal/provenance"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

// keys makes a pair, and returns its private and its public half as they are read from files.
func keys(t testing.TB) (secret, public *attest.Key) {
	t.Helper()
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	read := func(name, kind string, der []byte, err error) *attest.Key {
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		key, err := attest.ReadKey(file)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	secret = read("key.pem", "PRIVATE KEY", der, err)
	der, err = x509.MarshalPKIXPublicKey(pub)
	return secret, read("key.pub", "PUBLIC KEY", der, err)
}

func statement(top quilt.TopHash) provenance.Statement {
	s := provenance.Statement{Type: provenance.StatementType, PredicateType: provenance.PredicateType}
	s.Subject = []provenance.Resource{attest.Subject("me/lunch", top)}
	return s
}

func TestCheck(t *testing.T) {
	secret, public := keys(t)
	_, stranger := keys(t)
	top, other := quilt.TopHash{1}, quilt.TopHash{2}
	envelope, err := secret.Sign(t.Context(), statement(top))
	if err != nil {
		t.Fatal(err)
	}
	if secret.ID() != public.ID() || secret.ID() == stranger.ID() {
		t.Errorf("the halves of a pair are %s and %s, another is %s", secret.ID(), public.ID(), stranger.ID())
	}
	if s, err := public.Check(t.Context(), envelope, top); err != nil || !attest.About(s, top) {
		t.Errorf("got %v, %v", s, err)
	}
	for name, check := range map[string]func() error{
		"another revision": func() error { _, err := public.Check(t.Context(), envelope, other); return err },
		"another key":      func() error { _, err := stranger.Check(t.Context(), envelope, top); return err },
		"a changed statement": func() error {
			_, err := public.Check(t.Context(), edit(t, envelope, statement(other)), other)
			return err
		},
	} {
		if _, unsigned := errors.AsType[*attest.UnsignedError](check()); !unsigned {
			t.Errorf("%s: got %v, want an UnsignedError", name, check())
		}
	}
	if _, err := public.Sign(t.Context(), statement(top)); !errors.Is(err, attest.ErrPublic) {
		t.Errorf("a public key signs: %v", err)
	}
}

// edit puts another statement into an envelope.
func edit(t *testing.T, envelope []byte, s provenance.Statement) []byte {
	t.Helper()
	var e map[string]any
	if err := json.Unmarshal(envelope, &e); err != nil {
		t.Fatal(err)
	}
	text, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	e["payload"] = base64.StdEncoding.EncodeToString(text)
	data, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func FuzzRead(f *testing.F) {
	secret, public := keys(f)
	envelope, err := secret.Sign(f.Context(), statement(quilt.TopHash{1}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(envelope)
	f.Add([]byte(`{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"sig":""}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _, readErr := attest.Read(data)
		s, err := public.Check(t.Context(), data, quilt.TopHash{1})
		if err == nil && (readErr != nil || !attest.About(s, quilt.TopHash{1})) {
			t.Errorf("checked, but %v: %s", readErr, data)
		}
	})
}

func TestReadKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	for name, text := range map[string]string{
		"no PEM":      "secret",
		"another PEM": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := attest.ReadKey(file); err == nil || !bytes.Contains([]byte(err.Error()), []byte(file)) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}
