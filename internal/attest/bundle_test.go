package attest_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/url"
	"strings"
	"testing"

	"github.com/sandwich-build/sandwich/internal/attest"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

var (
	alice    = attest.Identity{Subject: "alice@example.org", Issuer: "https://issuer.example.org"}
	workflow = attest.Identity{Subject: "https://example.org/a/b/.github/workflows/c.yml@refs/heads/main", Issuer: "https://issuer.example.org"}
)

// certificate is one of an identity, as Fulcio makes them, that signs itself. The issuer is in the
// extension of a number.
func certificate(t testing.TB, i attest.Identity, number int, issuer []byte) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	if strings.Contains(i.Subject, "://") {
		u, err := url.Parse(i.Subject)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = []*url.URL{u}
	} else if i.Subject != "" {
		template.EmailAddresses = []string{i.Subject}
	}
	if issuer != nil {
		template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, number}, Value: issuer}}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// utf8 is a text in DER.
func utf8(t testing.TB, text string) []byte {
	t.Helper()
	der, err := asn1.MarshalWithParams(text, "utf8")
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// bundle puts an envelope and a certificate into a bundle.
func bundle(t testing.TB, envelope, cert []byte) []byte {
	t.Helper()
	data, err := json.Marshal(map[string]any{
		"mediaType":            "application/vnd.dev.sigstore.bundle.v0.3+json",
		"verificationMaterial": map[string]any{"certificate": map[string]any{"rawBytes": cert}},
		"dsseEnvelope":         json.RawMessage(envelope),
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// envelope is a statement about a revision, by a key that nobody knows.
func envelope(t testing.TB, top quilt.TopHash) []byte {
	t.Helper()
	secret, _ := keys(t)
	data, err := secret.Sign(t.Context(), statement(top))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestReadBundle(t *testing.T) {
	top := quilt.TopHash{1}
	for name, test := range map[string]struct {
		who    attest.Identity
		number int
		issuer []byte
	}{
		"a person":        {alice, 8, utf8(t, alice.Issuer)},
		"a workflow":      {workflow, 8, utf8(t, workflow.Issuer)},
		"an issuer of v1": {alice, 1, []byte(alice.Issuer)},
	} {
		data := bundle(t, envelope(t, top), certificate(t, test.who, test.number, test.issuer))
		b, err := attest.ReadBundle(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if b.Signer() != test.who || !b.About(top) || b.About(quilt.TopHash{2}) {
			t.Errorf("%s: it is by %s", name, b.Signer())
		}
		again, err := attest.ReadBundle(b.Encode())
		if err != nil || !bytes.Equal(again.Encode(), b.Encode()) || again.File() != b.File() {
			t.Errorf("%s: it reads its own text as another: %v", name, err)
		}
		if s, by, err := attest.Read(data); err != nil || by != test.who.String() || !attest.About(s, top) {
			t.Errorf("%s: it is read as one by %q, %v", name, by, err)
		}
	}
}

func TestReadBundleRefuses(t *testing.T) {
	good := envelope(t, quilt.TopHash{1})
	cert := certificate(t, alice, 8, utf8(t, alice.Issuer))
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"no JSON":         {[]byte("{"), "unexpected end"},
		"no envelope":     {[]byte(`{"messageSignature":{}}`), "no envelope"},
		"another payload": {bundle(t, []byte(`{"payloadType":"text/plain"}`), cert), "no envelope"},
		"no statement":    {bundle(t, []byte(`{"payloadType":"application/vnd.in-toto+json","payload":"e30="}`), cert), "want one of"},
		"a key":           {bundle(t, good, nil), "signed with a key"},
		"no certificate":  {bundle(t, good, []byte("nonsense")), "x509"},
		"no issuer":       {bundle(t, good, certificate(t, alice, 8, nil)), "names no identity"},
		"no subject":      {bundle(t, good, certificate(t, attest.Identity{}, 8, utf8(t, "x"))), "names no identity"},
		"a bad issuer":    {bundle(t, good, certificate(t, alice, 8, []byte("x"))), "the issuer in the certificate"},
	} {
		if _, err := attest.ReadBundle(test.data); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}

// TestOneReading holds that what is checked is what was read, of a text that readers of JSON
// disagree about: Go's takes any case of a name, and the last of two.
func TestOneReading(t *testing.T) {
	signed, other := envelope(t, quilt.TopHash{1}), envelope(t, quilt.TopHash{2})
	text := bundle(t, signed, certificate(t, alice, 8, utf8(t, alice.Issuer)))
	text = append(bytes.TrimSuffix(text, []byte("}")), `,"DSSEEnvelope":`+string(other)+`}`...)
	b, err := attest.ReadBundle(text)
	if err != nil {
		t.Fatal(err)
	}
	var strict map[string]json.RawMessage
	if err := json.Unmarshal(b.Encode(), &strict); err != nil {
		t.Fatal(err)
	}
	var e map[string]any
	if err := json.Unmarshal(strict["dsseEnvelope"], &e); err != nil || len(strict) != 3 || len(e) != 3 {
		t.Fatalf("it is written as %s: %v", b.Encode(), err)
	}
	if e["payload"] != base64.StdEncoding.EncodeToString(b.Payload()) {
		t.Errorf("%s was read, and %s is checked", b.Payload(), e["payload"])
	}
}

func FuzzReadBundle(f *testing.F) {
	f.Add(bundle(f, envelope(f, quilt.TopHash{1}), certificate(f, alice, 8, utf8(f, alice.Issuer))))
	f.Add(bundle(f, envelope(f, quilt.TopHash{1}), certificate(f, workflow, 1, []byte(workflow.Issuer))))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := attest.ReadBundle(data)
		if err != nil {
			return
		}
		again, err := attest.ReadBundle(b.Encode())
		if err != nil || again.Signer() != b.Signer() || !bytes.Equal(again.Payload(), b.Payload()) || !bytes.Equal(again.Encode(), b.Encode()) {
			t.Errorf("%s is read as %s: %v", data, b.Encode(), err)
		}
	})
}
