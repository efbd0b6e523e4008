package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/attest"
	"github.com/sandwich-build/sandwich/internal/environment"
	"github.com/sandwich-build/sandwich/internal/provenance"
	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/registry"
)

func (a *app) sign() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sign NAME[@HASH|:TAG]",
		Short: "Sign what a package is and how it was built",
		Long: `Sign puts a signed statement about a revision beside it in the registry: an in-toto
statement in a DSSE envelope that names the revision's hash, what it was built of and
what each stage came to. The package stays as it is. "install --require-signature"
takes only what is signed, and "challenge" compares what several builders say.

The key is the private one of a pair in PEM, Ed25519, ECDSA or RSA:

  openssl genpkey -algorithm ed25519 -out key.pem
  openssl pkey -in key.pem -pubout -out key.pub`,
		Example: `  sandwich sign quilt/open_images --key key.pem --registry ./registry
  sandwich install quilt/open_images --require-signature key.pub --registry ./registry`,
		Args:              between(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := registryFlag(cmd)
	file := cmd.Flags().String("key", "", "private key, a file in PEM")
	cmd.RunE = a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
		key, err := readKey("--key", *file)
		if err != nil {
			return nil, err
		}
		r, pkg, err := a.load(ctx, *flags, args[0])
		if err != nil {
			return nil, err
		}
		if err := signRevision(ctx, r, pkg, key); err != nil {
			return nil, err
		}
		return signAnswer{Package: pkg.Ref().String(), Key: key.ID()}, nil
	})
	return cmd
}

func readKey(flag, file string) (*attest.Key, error) {
	if file == "" {
		return nil, usagef("`openssl genpkey -algorithm ed25519 -out key.pem` makes a key", "%s: want the file of a key", flag)
	}
	key, err := attest.ReadKey(file)
	if err != nil {
		return nil, usagef("a key is a file in PEM, as openssl writes it", "%s: %v", flag, err)
	}
	return key, nil
}

// signFlag adds the flag of verbs that push.
func signFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("sign", "", "sign the revision with this private key (help sign)")
}

// signingKey reads the key of the flag; nil when it is not given.
func signingKey(file string) (*attest.Key, error) {
	if file == "" {
		return nil, nil
	}
	return readKey("--sign", file)
}

// signPushed signs a revision that was just pushed, if there is a key to sign with.
func signPushed(ctx context.Context, r *registry.Registry, ref registry.Ref, key *attest.Key) error {
	if key == nil {
		return nil
	}
	pkg, err := r.Load(ctx, ref)
	if err != nil {
		return &registryError{err}
	}
	return signRevision(ctx, r, pkg, key)
}

// signRevision signs what a package says of itself, about the revision that it is.
func signRevision(ctx context.Context, r *registry.Registry, pkg *registry.Package, key *attest.Key) error {
	s, err := statementOf(ctx, r, pkg)
	if err != nil {
		return err
	}
	envelope, err := key.Sign(ctx, s)
	if errors.Is(err, attest.ErrPublic) {
		return usagef("the private key of the pair", "sign %s: %v", pkg.Ref(), err)
	}
	if err == nil {
		err = r.Attest(ctx, pkg.TopHash, key.ID(), envelope)
	}
	if err != nil {
		return &registryError{err}
	}
	return nil
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
	Package string `json:"package"`
	Key     string `json:"key"`
}

func (s signAnswer) Text(w io.Writer) { fmt.Fprintln(w, s.Package) }

// requireSignature returns an error unless a key has signed the revision.
func requireSignature(ctx context.Context, r *registry.Registry, pkg *registry.Package, file string) error {
	key, err := readKey("--require-signature", file)
	if err != nil {
		return err
	}
	envelope, err := r.Attestation(ctx, pkg.TopHash, key.ID())
	if errors.Is(err, fs.ErrNotExist) {
		err = attest.ErrUnsigned
	}
	if err == nil {
		_, err = key.Check(ctx, envelope, pkg.TopHash)
	}
	if err != nil {
		return &registryError{fmt.Errorf("%s: %s: %w", pkg.Ref(), file, err)}
	}
	return nil
}

func (a *app) challenge() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "challenge A B",
		Short: "Compare what two builders say of a package",
		Long: `Challenge compares statements: what was built, of what, with which program, and what
each stage came to. A and B are packages in the registry, or files with what somebody
has signed. Of a package it takes all that is signed, by whomever, and what the
package says of itself when nobody has signed it; so two revisions can be compared,
and two builders of one. Signatures are not checked: for that you must know a key.

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
		s, err := attest.Read(data)
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
	for _, id := range slices.Sorted(maps.Keys(signed)) {
		s, err := attest.Read(signed[id])
		if err != nil || !attest.About(s, pkg.TopHash) {
			continue // no statement about this revision
		}
		all = append(all, claimed{s, pkg.Ref().String() + " by key " + id[:min(len(id), keyDigits)]})
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

// keyDigits is how many digits of a key's name tell it from others for a person.
const keyDigits = 12

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
