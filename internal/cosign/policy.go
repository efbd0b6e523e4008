package cosign

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/sandwich-build/sandwich/internal/attest"
)

// Policy says who must have signed, as the flags of `cosign verify` do: --certificate-identity and
// --certificate-oidc-issuer, or the -regexp of either.
type Policy struct {
	Identity, IdentityRegexp string
	Issuer, IssuerRegexp     string
}

// IsZero reports whether nobody needs to have signed.
func (p Policy) IsZero() bool { return p == Policy{} }

// Validate returns an error unless the policy says who, and whose word for it counts.
func (p Policy) Validate() error {
	if (p.Identity == "") == (p.IdentityRegexp == "") || (p.Issuer == "") == (p.IssuerRegexp == "") {
		return errors.New("want one of --certificate-identity and --certificate-identity-regexp, and one of --certificate-oidc-issuer and --certificate-oidc-issuer-regexp")
	}
	for _, text := range []string{p.IdentityRegexp, p.IssuerRegexp} {
		if _, err := regexp.Compile(text); err != nil {
			return err
		}
	}
	return nil
}

// Allows reports whether an identity is one that the policy, which is valid, asks for.
func (p Policy) Allows(i attest.Identity) bool {
	return allows(p.Identity, p.IdentityRegexp, i.Subject) && allows(p.Issuer, p.IssuerRegexp, i.Issuer)
}

// allows reports whether a text is what is wanted, or matches what must match somewhere in it.
func allows(want, pattern, text string) bool {
	if pattern == "" {
		return text == want
	}
	found, err := regexp.MatchString(pattern, text)
	return err == nil && found
}

func (p Policy) String() string {
	return fmt.Sprintf("%s (%s)", either(p.Identity, p.IdentityRegexp), either(p.Issuer, p.IssuerRegexp))
}

func either(text, pattern string) string {
	if pattern != "" {
		return "/" + pattern + "/"
	}
	return text
}

// args are the policy for cosign.
func (p Policy) args() []string {
	var args []string
	for _, f := range []struct{ flag, value string }{
		{"--certificate-identity", p.Identity},
		{"--certificate-identity-regexp", p.IdentityRegexp},
		{"--certificate-oidc-issuer", p.Issuer},
		{"--certificate-oidc-issuer-regexp", p.IssuerRegexp},
	} {
		if f.value != "" {
			args = append(args, f.flag, f.value)
		}
	}
	return args
}
