package registry

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

// attestationsPrefix is below what sandwich keeps beside Quilt's own files. A revision has a
// folder there, with a file for each key that signed something about it.
const (
	attestationsPrefix = ".sandwich/attestations/"
	attestationSuffix  = ".dsse.json"
)

// maxAttestation is the most bytes of an attestation that are read, and maxAttestations how
// many of a revision: whoever may write to a registry may write there.
const (
	maxAttestation  = 16 << 20
	maxAttestations = 100
)

// Attest puts what a key has signed about a revision beside it. What the same key signed
// before is replaced.
func (r *Registry) Attest(ctx context.Context, top quilt.TopHash, keyID string, envelope []byte) error {
	if err := r.writable(); err != nil {
		return err
	}
	if err := r.store.Put(ctx, attestationKey(top, keyID), blob.Bytes(envelope)); err != nil {
		return fmt.Errorf("attest %s: %w", top, err)
	}
	return nil
}

// Attestation returns what a key has signed about a revision, or fs.ErrNotExist.
func (r *Registry) Attestation(ctx context.Context, top quilt.TopHash, keyID string) ([]byte, error) {
	data, err := blob.ReadAll(ctx, r.store, attestationKey(top, keyID), maxAttestation)
	if err != nil {
		return nil, fmt.Errorf("attestation of %s: %w", top, err)
	}
	return data, nil
}

// Attestations returns what was signed about a revision, by key. Whoever may write to the
// registry may add to it.
func (r *Registry) Attestations(ctx context.Context, top quilt.TopHash) (map[string][]byte, error) {
	all := make(map[string][]byte)
	for info, err := range r.store.List(ctx, attestationsPrefix+top.String()+"/") {
		if err != nil {
			return nil, fmt.Errorf("attestations of %s: %w", top, err)
		}
		id, ok := strings.CutSuffix(path.Base(info.Key), attestationSuffix)
		if !ok || len(all) == maxAttestations {
			continue
		}
		if all[id], err = r.Attestation(ctx, top, id); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func attestationKey(top quilt.TopHash, keyID string) string {
	return attestationsPrefix + top.String() + "/" + keyID + attestationSuffix
}
