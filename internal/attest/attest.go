// Package attest signs what a builder says of a package, and checks what others signed: an
// in-toto statement whose subject is a revision's top hash, in a DSSE envelope
// (github.com/secure-systems-lab/dsse), signed by a key that somebody keeps.
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

// topHash is the algorithm by which subjects are named.
const topHash = "quiltTopHash"

// Subject is a revision of a package as statements name it.
func Subject(name string, top quilt.TopHash) provenance.Resource {
	return provenance.Resource{Name: name, Digest: map[string]string{topHash: top.String()}}
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

// ErrUnsigned says that a key has not signed a revision.
var ErrUnsigned = errors.New("not signed by this key")

// Check returns the statement about a revision that the key has signed. An envelope that it
// has not signed, or that says something else, is ErrUnsigned.
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
		return provenance.Statement{}, fmt.Errorf("%w: %w", ErrUnsigned, err)
	}
	s, err := Read(envelope)
	if err == nil && !About(s, top) {
		err = fmt.Errorf("%w: what it signed is about another revision", ErrUnsigned)
	}
	return s, err
}

// About reports whether a statement is about a revision.
func About(s provenance.Statement, top quilt.TopHash) bool {
	for _, subject := range s.Subject {
		if subject.Digest[topHash] == top.String() {
			return true
		}
	}
	return false
}

// Read returns what an envelope says, whoever signed it.
func Read(data []byte) (provenance.Statement, error) {
	envelope, err := decode(data)
	if err != nil {
		return provenance.Statement{}, err
	}
	text, err := envelope.DecodeB64Payload()
	if err != nil {
		return provenance.Statement{}, fmt.Errorf("attestation: %w", err)
	}
	return provenance.DecodeStatement(bytes.NewReader(text))
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
