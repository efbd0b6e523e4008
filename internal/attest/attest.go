// Package attest is about what builders sign of a package: an in-toto statement whose subject
// is a revision's top hash, in a DSSE envelope (github.com/secure-systems-lab/dsse). A key that
// somebody keeps signs and checks it here. What an identity has signed is such an envelope in a
// bundle of sigstore's, which package cosign makes and checks.
package attest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/secure-systems-lab/go-securesystemslib/signerverifier"

	"github.com/sandwich-build/sandwich/internal/provenance"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

// payloadType is the type of what envelopes hold.
const payloadType = "application/vnd.in-toto+json"

// TopHash is the algorithm by which subjects are named.
const TopHash = "quiltTopHash"

// Subject is a revision of a package as statements name it.
func Subject(name string, top quilt.TopHash) provenance.Resource {
	return provenance.Resource{Name: name, Digest: map[string]string{TopHash: top.String()}}
}

// Key is a key that signs, or one that only checks.
type Key struct {
	signer dsse.SignerVerifier
	secret bool
	id     string
}

// ErrPublic says that a key cannot sign.
var ErrPublic = errors.New("it is a public key; signing needs the private one")

// ReadKey reads a key in PEM: the private key of an Ed25519, ECDSA or RSA pair, or the public
// one.
func ReadKey(file string) (*Key, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	key, err := signerverifier.LoadKey(text)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", file, err)
	}
	k := &Key{secret: key.KeyVal.Private != "", id: key.KeyID}
	switch key.KeyType {
	case signerverifier.ED25519KeyType:
		k.signer, err = signerverifier.NewED25519SignerVerifierFromSSLibKey(key)
	case signerverifier.ECDSAKeyType:
		k.signer, err = signerverifier.NewECDSASignerVerifierFromSSLibKey(key)
	case signerverifier.RSAKeyType:
		k.signer, err = signerverifier.NewRSAPSSSignerVerifierFromSSLibKey(key)
	default:
		err = fmt.Errorf("keys of type %q are not known", key.KeyType)
	}
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", file, err)
	}
	return k, nil
}

// ID names the key: the SHA-256 of its public part, as secure systems compute it.
func (k *Key) ID() string { return k.id }

// File names what the key signs about a revision, among what others have signed.
func (k *Key) File() string { return k.id + envelopeSuffix }

// Sign returns a statement in an envelope.
func (k *Key) Sign(ctx context.Context, s provenance.Statement) ([]byte, error) {
	if !k.secret {
		return nil, ErrPublic
	}
	text, err := s.Encode()
	if err != nil {
		return nil, err
	}
	signer, err := dsse.NewEnvelopeSigner(k.signer)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	envelope, err := signer.SignPayload(ctx, payloadType, text)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	data, err := json.Marshal(envelope)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return append(data, '\n'), nil
}

// UnsignedError says that somebody has not signed a revision.
type UnsignedError struct {
	By  string // whom: "this key"
	Err error  // what speaks against it; nil when there is nothing at all
}

func (e *UnsignedError) Error() string {
	if e.Err == nil {
		return "not signed by " + e.By
	}
	return fmt.Sprintf("not signed by %s: %v", e.By, e.Err)
}

// Unwrap returns what speaks against it.
func (e *UnsignedError) Unwrap() error { return e.Err }

// Unsigned says that the key has not signed a revision.
func (k *Key) Unsigned(err error) error { return &UnsignedError{By: "this key", Err: err} }

// ErrElsewhere says that what was signed is about another revision.
var ErrElsewhere = errors.New("what it signed is about another revision")

// Check returns the statement about a revision that the key has signed. An envelope that it
// has not signed, or that says something else, is an *UnsignedError.
func (k *Key) Check(ctx context.Context, envelope []byte, top quilt.TopHash) (provenance.Statement, error) {
	e, err := decode(envelope)
	if err != nil {
		return provenance.Statement{}, err
	}
	verifier, err := dsse.NewEnvelopeVerifier(k.signer)
	if err != nil {
		return provenance.Statement{}, fmt.Errorf("check attestation: %w", err)
	}
	if _, err := verifier.Verify(ctx, e); err != nil {
		return provenance.Statement{}, k.Unsigned(err)
	}
	s, err := statement(e)
	if err == nil && !About(s, top) {
		err = k.Unsigned(ErrElsewhere)
	}
	return s, err
}

// About reports whether a statement is about a revision.
func About(s provenance.Statement, top quilt.TopHash) bool {
	for _, subject := range s.Subject {
		if subject.Digest[TopHash] == top.String() {
			return true
		}
	}
	return false
}

// Read returns what is signed in an envelope or a bundle, and by whom that says it is.
// Nothing is checked.
func Read(data []byte) (s provenance.Statement, by string, err error) {
	if b, err := ReadBundle(data); err == nil {
		return b.statement, b.signer.String(), nil
	}
	e, err := decode(data)
	if err != nil {
		return provenance.Statement{}, "", err
	}
	s, err = statement(e)
	return s, by, err
}

func decode(data []byte) (*dsse.Envelope, error) {
	e := new(dsse.Envelope)
	if err := json.Unmarshal(data, e); err != nil {
		return nil, fmt.Errorf("attestation: %w", err)
	}
	if e.PayloadType != payloadType {
		return nil, fmt.Errorf("attestation: payload of type %q, want %s", e.PayloadType, payloadType)
	}
	return e, nil
}

// statement is what an envelope holds.
func statement(e *dsse.Envelope) (provenance.Statement, error) {
	text, err := e.DecodeB64Payload()
	if err != nil {
		return provenance.Statement{}, fmt.Errorf("attestation: %w", err)
	}
	return provenance.DecodeStatement(bytes.NewReader(text))
}
