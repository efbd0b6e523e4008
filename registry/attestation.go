package registry

import (
	"context"
	"fmt"
	"strings"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

// attestationsPrefix is below what sandwich keeps beside Quilt's own files. A revision has a
// folder there, with a file for each one who signed something about it.
const attestationsPrefix = ".sandwich/attestations/"

// maxAttestation is the most bytes of an attestation that are read, and maxAttestations how
// many of a revision: whoever may write to a registry may write there.
const (
	maxAttestation  = 16 << 20
	maxAttestations = 100
)

// Attest puts what somebody has signed about a revision beside it, as a file whose name is the
// signer's own. What is there by that name is replaced.
func (r *Registry) Attest(ctx context.Context, top quilt.TopHash, file string, signed []byte) error {
	if err := r.writable(); err != nil {
		return err
	}
	if err := r.store.Put(ctx, attestationKey(top, file), blob.Bytes(signed)); err != nil {
		return fmt.Errorf("attest %s: %w", top, err)
	}
	return nil
}

// Attestation returns a file of what was signed about a revision, or fs.ErrNotExist.
func (r *Registry) Attestation(ctx context.Context, top quilt.TopHash, file string) ([]byte, error) {
	data, err := blob.ReadAll(ctx, r.store, attestationKey(top, file), maxAttestation)
	if err != nil {
		return nil, fmt.Errorf("attestation of %s: %w", top, err)
	}
	return data, nil
}

// Attestations returns what was signed about a revision, by file. Whoever may write to the
// registry may add to it.
func (r *Registry) Attestations(ctx context.Context, top quilt.TopHash) (map[string][]byte, error) {
	all := make(map[string][]byte)
	folder := attestationKey(top, "")
	for info, err := range r.store.List(ctx, folder) {
		if err != nil {
			return nil, fmt.Errorf("attestations of %s: %w", top, err)
		}
		if len(all) == maxAttestations {
			break
		}
		file := strings.TrimPrefix(info.Key, folder)
		if all[file], err = r.Attestation(ctx, top, file); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func attestationKey(top quilt.TopHash, file string) string {
	return attestationsPrefix + top.String() + "/" + file
}
