package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/attest"
	"github.com/sandwich-build/sandwich/internal/cosign"
	"github.com/sandwich-build/sandwich/internal/environment"
	"github.com/sandwich-build/sandwich/internal/provenance"
	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/command"
)

func (a *app) sign() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sign NAME[@HASH|:TAG]",
		Short: "Sign what a package is and how it was built",
		Long: `Sign puts a signed statement about a revision beside it in the registry: an in-toto
statement in a DSSE envelope that names the revision's hash, what it was built of and
what each stage came to. The package stays as it is. Install takes only what is signed
when it is asked to, and "challenge" compares what several builders say.

The key is the private one of a pair in PEM, Ed25519, ECDSA or RSA:

  openssl genpkey -algorithm ed25519 -out key.pem
  openssl pkey -in key.pem -pubout -out key.pub

With --keyless there is no key to keep: you sign as who you are for an issuer of OpenID
Connect, such as Google or GitHub, through sigstore. The program cosign does that, in
version 3 or later, which must be installed here and where the signature is checked. It
takes the token in SIGSTORE_ID_TOKEN, or the one that a CI service offers, or opens a
browser when it is run on a terminal. The public sigstore keeps who signed what, and
when, in a log that anybody can read; for another one let COSIGN_SIGNING_CONFIG and
COSIGN_TRUSTED_ROOT name its files, or set it up with "cosign initialize".`,
		Example: `  sandwich sign quilt/open_images --key key.pem --registry ./registry
  sandwich install quilt/open_images --require-signature key.pub --registry ./registry
  sandwich sign quilt/open_images --keyless
  sandwich install quilt/open_images --certificate-identity me@example.org \
    --certificate-oidc-issuer https://accounts.google.com`,
		Args:              between(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := registryFlag(cmd)
	var by signFlags
	cmd.Flags().StringVar(&by.key, "key", "", "private key, a file in PEM")
	cmd.Flags().BoolVar(&by.keyless, "keyless", false, "sign as who you are, through sigstore")
	cmd.RunE = a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
		if !by.given() {
			return nil, usagef("`openssl genpkey -algorithm ed25519 -out key.pem` makes a key; without one there is --keyless", "--key: want the file of a key")
		}
		s, err := a.signer(ctx, "--key", by)
		if err != nil {
			return nil, err
		}
		r, pkg, err := a.load(ctx, *flags, args[0])
		if err != nil {
			return nil, err
		}
		answer, err := signRevision(ctx, r, pkg, s)
		if err != nil {
			return nil, err
		}
		a.summary = "signed by " + answer.signer()
		return answer, nil
	})
	return cmd
}

func readKey(flag, file string) (*attest.Key, error) {
	key, err := attest.ReadKey(file)
	if err != nil {
		return nil, usagef("a key is a file in PEM, as openssl writes it", "%s: %v", flag, err)
	}
	return key, nil
}

// signFlags say who signs, if anybody does.
type signFlags struct {
	key     string
	keyless bool
}

// add adds the flags of verbs that push.
func (f *signFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.key, "sign", "", "sign the revision with this private key (help sign)")
	cmd.Flags().BoolVar(&f.keyless, "sign-keyless", false, "sign the revision as who you are (help sign)")
}

func (f signFlags) given() bool { return f.key != "" || f.keyless }

// signer signs a statement.
type signer interface {
	sign(ctx context.Context, s provenance.Statement) (signed, error)
}

// signed is what somebody has signed, and by whom.
type signed struct {
	file string // its name in a registry
	text []byte
	by   signAnswer
}

// signer returns who signs; nil when nobody does. keyFlag is the flag of the key. What does not
// work at all ends here, before there is anything to sign.
func (a *app) signer(ctx context.Context, keyFlag string, f signFlags) (signer, error) {
	switch {
	case f.keyless && f.key != "":
		return nil, usagef("`sandwich sign` adds a signature to those that are there", "%s: want a key or none, not both", keyFlag)
	case f.keyless:
		tool, err := cosign.Find(ctx)
		if err != nil {
			return nil, err
		}
		return identitySigner{tool, &prompts{command.NewLines(a.say)}}, nil
	case f.key != "":
		key, err := readKey(keyFlag, f.key)
		return keySigner{key}, err
	}
	return nil, nil
}

// say tells a line of a program that signs.
func (a *app) say(line string) {
	a.view.Observe(stages.Message{Stage: "sign", Line: cas.Line{Text: strings.TrimSpace(line)}})
}

// prompts shows what a program prints, also a line at whose end it waits for an answer.
type prompts struct{ *command.Lines }

// Write implements io.Writer.
func (p *prompts) Write(text []byte) (int, error) {
	n, err := p.Lines.Write(text)
	if bytes.HasSuffix(text, []byte(": ")) {
		p.Flush()
	}
	return n, err
}

type keySigner struct{ *attest.Key }

func (k keySigner) sign(ctx context.Context, s provenance.Statement) (signed, error) {
	envelope, err := k.Sign(ctx, s)
	if errors.Is(err, attest.ErrPublic) {
		err = usagef("the private key of the pair", "%v", err)
	}
	return signed{k.File(), envelope, signAnswer{Key: k.ID()}}, err
}

type identitySigner struct {
	*cosign.Tool
	say *prompts
}

func (i identitySigner) sign(ctx context.Context, s provenance.Statement) (signed, error) {
	defer i.say.Flush()
	bundle, err := i.Sign(ctx, s, i.say)
	if err != nil {
		return signed{}, err
	}
	by := bundle.Signer()
	return signed{bundle.File(), bundle.Encode(), signAnswer{Identity: by.Subject, Issuer: by.Issuer}}, nil
}

// signPushed signs a revision that was just pushed, if there is somebody to sign it.
func signPushed(ctx context.Context, r *registry.Registry, ref registry.Ref, s signer) error {
	if s == nil {
		return nil
	}
	pkg, err := r.Load(ctx, ref)
	if err != nil {
		return &registryError{err}
	}
	_, err = signRevision(ctx, r, pkg, s)
	return err
}

// signRevision signs what a package says of itself, about the revision that it is.
func signRevision(ctx context.Context, r *registry.Registry, pkg *registry.Package, s signer) (signAnswer, error) {
	statement, err := statementOf(ctx, r, pkg)
	if err != nil {
		return signAnswer{}, err
	}
	done, err := s.sign(ctx, statement)
	if err != nil {
		return signAnswer{}, fmt.Errorf("sign %s: %w", pkg.Ref(), err)
	}
	if err := r.Attest(ctx, pkg.TopHash, done.file, done.text); err != nil {
		return signAnswer{}, &registryError{err}
	}
	done.by.Package = pkg.Ref().String()
	return done.by, nil
}

// statementOf returns the statement that a package holds, about the revision that it is. One
// that was not built says who pushed it.
func statementOf(ctx context.Context, r *registry.Registry, pkg *registry.Package) (provenance.Statement, error) {
	s := provenance.Statement{Type: provenance.StatementType, PredicateType: provenance.PredicateType}
	s.Predicate.BuildDefinition.BuildType = provenance.PushType
	s.Predicate.BuildDefinition.ExternalParameters.Package = pkg.Name
	s.Predicate.RunDetails.Builder = provenance.Builder{ID: provenance.BuilderID, Version: map[string]string{"program": environment.Program()}}
	if _, ok := pkg.Content.Entry(provenance.StatementFile); ok {
		text, err := r.ReadFile(ctx, pkg, provenance.StatementFile)
		if err == nil {
			s, err = provenance.DecodeStatement(bytes.NewReader(text))
		}
		if err != nil {
			return s, &registryError{err}
		}
	}
	s.Subject = []provenance.Resource{attest.Subject(pkg.Name, pkg.TopHash)}
	return s, nil
}

type signAnswer struct {
	Package  string `json:"package"`
	Key      string `json:"key,omitempty"`
	Identity string `json:"identity,omitempty"`
	Issuer   string `json:"issuer,omitempty"`
}

// signer is who has signed.
func (s signAnswer) signer() string {
	if s.Key != "" {
		return keyName(s.Key)
	}
	return attest.Identity{Subject: s.Identity, Issuer: s.Issuer}.String()
}

func (s signAnswer) Text(w io.Writer) { fmt.Fprintln(w, s.Package) }

// requirements say who must have signed what is installed.
type requirements struct {
	key    string
	policy cosign.Policy
}

func (q *requirements) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&q.key, "require-signature", "", "install only what this public key has signed (help sign)")
	f.StringVar(&q.policy.Identity, "certificate-identity", "", "install only what this identity has signed without a key")
	f.StringVar(&q.policy.IdentityRegexp, "certificate-identity-regexp", "", "the same, of identities that match")
	f.StringVar(&q.policy.Issuer, "certificate-oidc-issuer", "", "who must have found out that it is that identity")
	f.StringVar(&q.policy.IssuerRegexp, "certificate-oidc-issuer-regexp", "", "the same, of issuers that match")
}

// check returns an error unless whoever must has signed the revision.
func (q requirements) check(ctx context.Context, r *registry.Registry, pkg *registry.Package) error {
	if q.key != "" {
		if err := requireKey(ctx, r, pkg, q.key); err != nil {
			return err
		}
	}
	if q.policy.IsZero() {
		return nil
	}
	if err := q.policy.Validate(); err != nil {
		return usagef("as `cosign verify` does (help sign)", "install: %v", err)
	}
	return requireIdentity(ctx, r, pkg, q.policy)
}

// requireKey returns an error unless a key has signed the revision.
func requireKey(ctx context.Context, r *registry.Registry, pkg *registry.Package, file string) error {
	key, err := readKey("--require-signature", file)
	if err != nil {
		return err
	}
	envelope, err := r.Attestation(ctx, pkg.TopHash, key.File())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = key.Unsigned(nil)
	case err == nil:
		_, err = key.Check(ctx, envelope, pkg.TopHash)
	}
	if err != nil {
		return &registryError{fmt.Errorf("%s: %s: %w", pkg.Ref(), file, err)}
	}
	return nil
}

// requireIdentity returns an error unless an identity that is allowed has signed the revision.
func requireIdentity(ctx context.Context, r *registry.Registry, pkg *registry.Package, policy cosign.Policy) error {
	tool, err := cosign.Find(ctx)
	if err != nil {
		return err
	}
	all, err := r.Attestations(ctx, pkg.TopHash)
	if err != nil {
		return &registryError{err}
	}
	var refusal error
	var others []string
	for _, file := range slices.Sorted(maps.Keys(all)) {
		bundle, err := attest.ReadBundle(all[file])
		if err != nil {
			continue // signed with a key, or nonsense that somebody has put there
		}
		if !policy.Allows(bundle.Signer()) {
			others = append(others, bundle.Signer().String())
			continue
		}
		if err := tool.Check(ctx, bundle, pkg.TopHash, policy); err == nil {
			return nil
		} else if refusal == nil {
			refusal = err
		}
	}
	if refusal == nil {
		unsigned := &attest.UnsignedError{By: policy.String()}
		if len(others) > 0 {
			unsigned.Err = fmt.Errorf("it is by %s", strings.Join(others, " and "))
		}
		refusal = unsigned
	}
	return &registryError{fmt.Errorf("%s: %w", pkg.Ref(), refusal)}
}

func (a *app) challenge() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "challenge A B",
		Short: "Compare what two builders say of a package",
		Long: `Challenge compares statements: what was built, of what, with which program, and what
each stage came to. A and B are packages in the registry, or files with what somebody
has signed. Of a package it takes all that is signed, by whomever, and what the
package says of itself when nobody has signed it; so two revisions can be compared,
and two builders of one. Signatures are not checked: for that you must know whose.

It ends with exit code 6 when two of the statements differ.`,
		Example: `  sandwich challenge quilt/open_images@4d1f02 quilt/open_images@77c3aa
  sandwich challenge quilt/open_images theirs.dsse.json`,
		Args:              between(2, 2),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := registryFlag(cmd)
	cmd.RunE = a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
		var all []claimed
		for _, arg := range args {
			found, err := a.statements(ctx, *flags, arg)
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
		answer := challengeAnswer{Statements: []string{}, Differences: []claimedDifference{}}
		for i, c := range all {
			answer.Statements = append(answer.Statements, c.who)
			if lines := all[0].Statement.Differences(c.Statement); i > 0 && len(lines) > 0 {
				answer.Differences = append(answer.Differences, claimedDifference{A: all[0].who, B: c.who, What: lines})
			}
		}
		if len(answer.Differences) > 0 {
			return answer, &challengedError{answer}
		}
		return answer, nil
	})
	return cmd
}

// claimed is a statement, and who makes it.
type claimed struct {
	provenance.Statement
	who string
}

// statements returns the statements that an argument names.
func (a *app) statements(ctx context.Context, flags registryFlags, arg string) ([]claimed, error) {
	if data, err := os.ReadFile(arg); err == nil {
		s, _, err := attest.Read(data)
		if err != nil {
			return nil, usagef("a file holds what `sandwich sign` has put into a registry", "%s: %v", arg, err)
		}
		return []claimed{{s, arg}}, nil
	}
	r, pkg, err := a.load(ctx, flags, arg)
	if err != nil {
		return nil, err
	}
	signed, err := r.Attestations(ctx, pkg.TopHash)
	if err != nil {
		return nil, &registryError{err}
	}
	var all []claimed
	for _, file := range slices.Sorted(maps.Keys(signed)) {
		s, by, err := attest.Read(signed[file])
		if err != nil || !attest.About(s, pkg.TopHash) {
			continue // no statement about this revision
		}
		all = append(all, claimed{s, pkg.Ref().String() + " by " + cmp.Or(by, keyName(file))})
	}
	if len(all) == 0 {
		s, err := statementOf(ctx, r, pkg)
		if err != nil {
			return nil, err
		}
		all = append(all, claimed{s, pkg.Ref().String() + " by itself"})
	}
	return all, nil
}

// keyName is a key for a person: the digits that tell it from others.
func keyName(id string) string { return "key " + id[:min(len(id), 12)] }

type challengeAnswer struct {
	Statements  []string            `json:"statements"`
	Differences []claimedDifference `json:"differences"`
}

type claimedDifference struct {
	A    string   `json:"a"`
	B    string   `json:"b"`
	What []string `json:"what"`
}

func (c challengeAnswer) Text(w io.Writer) {
	for _, d := range c.Differences {
		fmt.Fprintf(w, "%s\n%s\n", ui.Printable(d.A), ui.Printable(d.B))
		for _, line := range d.What {
			fmt.Fprintf(w, "  %s\n", ui.Printable(line))
		}
	}
	if len(c.Differences) == 0 {
		fmt.Fprintf(w, "%d statements say the same\n", len(c.Statements))
	}
}

// challengedError says that statements differ. How is the answer.
type challengedError struct{ answer challengeAnswer }

func (e *challengedError) Error() string {
	return fmt.Sprintf("%d of %d statements differ from the first", len(e.answer.Differences), len(e.answer.Statements)-1)
}
