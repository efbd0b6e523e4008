package attest

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/sandwich-build/sandwich/internal/provenance"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

// What registries call what was signed: by a key, and by an identity.
const (
	envelopeSuffix = ".dsse.json"
	bundleSuffix   = ".sigstore.json"
)

// Identity is who signs without a key: whom an issuer of OpenID Connect has found somebody to be.
type Identity struct {
	Subject string // an email address, or the URI of a workflow or a service
	Issuer  string // a URL
}

func (i Identity) String() string { return i.Subject + " (" + i.Issuer + ")" }

// Bundle is a sigstore bundle (application/vnd.dev.sigstore.bundle.v0.3+json) with an envelope:
// what an identity has signed, its certificate, and what proves when that was.
type Bundle struct {
	text      []byte
	payload   []byte
	statement provenance.Statement
	signer    Identity
}

// bundleText is a bundle as it is written.
type bundleText struct {
	MediaType            string          `json:"mediaType"`
	VerificationMaterial json.RawMessage `json:"verificationMaterial"`
	DSSEEnvelope         *dsse.Envelope  `json:"dsseEnvelope"`
}

// ReadBundle reads a bundle with a statement, and believes what it says.
//
// What Encode returns is written anew from what was read here: so whoever checks that checks what
// this package has read, also where two readers of JSON take one text for different things.
func ReadBundle(data []byte) (*Bundle, error) {
	var text bundleText
	if err := json.Unmarshal(data, &text); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	if text.DSSEEnvelope == nil || text.DSSEEnvelope.PayloadType != payloadType {
		return nil, fmt.Errorf("bundle: it has no envelope of %s", payloadType)
	}
	b := new(Bundle)
	var err error
	if b.payload, err = text.DSSEEnvelope.DecodeB64Payload(); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	if b.statement, err = provenance.DecodeStatement(bytes.NewReader(b.payload)); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	if b.signer, err = signer(text.VerificationMaterial); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	if b.text, err = json.Marshal(text); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	return b, nil
}

// Encode returns the bundle as it is stored and checked.
func (b *Bundle) Encode() []byte { return append(bytes.Clone(b.text), '\n') }

// Payload is the text that is signed: a statement.
func (b *Bundle) Payload() []byte { return b.payload }

// Signer is whom the certificate is of.
func (b *Bundle) Signer() Identity { return b.signer }

// About reports whether the bundle's statement is about a revision.
func (b *Bundle) About(top quilt.TopHash) bool { return About(b.statement, top) }

// File names what the identity signs about a revision, among what others have signed.
func (b *Bundle) File() string {
	sum := sha256.Sum256([]byte(b.signer.Issuer + "\n" + b.signer.Subject))
	return hex.EncodeToString(sum[:]) + bundleSuffix
}

// The extensions of a certificate that hold the issuer: one of DER, and one of plain text before
// there was that (github.com/sigstore/fulcio, docs/oid-info.md).
var (
	oidIssuer    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}
	oidIssuerOld = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}
)

// signer is whom the certificate of a bundle is of.
func signer(material []byte) (Identity, error) {
	var m struct {
		Certificate struct {
			RawBytes []byte `json:"rawBytes"`
		} `json:"certificate"`
	}
	if err := json.Unmarshal(material, &m); err != nil {
		return Identity{}, err
	}
	if len(m.Certificate.RawBytes) == 0 {
		return Identity{}, errors.New("it has no certificate: it was signed with a key")
	}
	cert, err := x509.ParseCertificate(m.Certificate.RawBytes)
	if err != nil {
		return Identity{}, err
	}
	var i Identity
	for _, e := range cert.Extensions {
		switch {
		case e.Id.Equal(oidIssuer):
			if _, err := asn1.UnmarshalWithParams(e.Value, &i.Issuer, "utf8"); err != nil {
				return Identity{}, fmt.Errorf("the issuer in the certificate: %w", err)
			}
		case e.Id.Equal(oidIssuerOld) && i.Issuer == "":
			i.Issuer = string(e.Value)
		}
	}
	switch {
	case len(cert.EmailAddresses) > 0:
		i.Subject = cert.EmailAddresses[0]
	case len(cert.URIs) > 0:
		i.Subject = cert.URIs[0].String()
	}
	if i.Subject == "" || i.Issuer == "" {
		return Identity{}, errors.New("its certificate names no identity, an email address or a URI with an issuer")
	}
	return i, nil
}
