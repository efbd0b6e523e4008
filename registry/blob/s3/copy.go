package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

// maxCopy is the most bytes that S3 copies in one request.
const maxCopy = 5 << 30

// CopyFrom puts a blob that the server copies from another bucket, or from this one, and
// returns its version as PutVersion does. The blob has size bytes, and sum is the sha256
// over the sha256 of its chunks, as in a package.
//
// Nothing of other bytes can be seen at any time: those are ErrDiffers. Where the server
// does not copy, or does not tell what it copied, that is errors.ErrUnsupported.
func (s *Store) CopyFrom(ctx context.Context, key string, from quilt.PhysicalKey, size int64, sum [sha256.Size]byte) (string, error) {
	if err := check(ctx, key); err != nil {
		return "", s.explain(ctx, "copy", key, err)
	}
	if size == 0 {
		return s.PutVersion(ctx, key, blob.Bytes(nil))
	}
	id, err := s.copy(ctx, key, from, size, sum)
	if err != nil && ctx.Err() == nil && !passes(err) && !errors.Is(err, blob.ErrDiffers) {
		// Such as a bucket of another region, or that these credentials may not read. Who
		// sends the bytes meets the same cause, or does without.
		return "", fmt.Errorf("copy %s to %s/%s: %w: %w", from, s, key, errors.ErrUnsupported, s.explain(ctx, "copy", key, err))
	}
	return id, s.explain(ctx, "copy", key, err)
}

// copy trusts what the server says of the source, as long as that is the same: then one
// request copies it, or several where it is too large for one. In parts some servers also say
// what they have copied, before that becomes a blob, and the blob gets the checksum that one
// has which was sent.
func (s *Store) copy(ctx context.Context, key string, from quilt.PhysicalKey, size int64, sum [sha256.Size]byte) (string, error) {
	if err := s.authenticate(ctx); err != nil {
		return "", err
	}
	var source *awss3.HeadObjectOutput
	// Not as write does: that another bucket is elsewhere says nothing of this one.
	err := s.retry(ctx, func(ctx context.Context) (err error) {
		source, err = s.clients.Load().signed.HeadObject(ctx, &awss3.HeadObjectInput{
			Bucket: &from.Bucket, Key: &from.Path, VersionId: optional(from.Version), ChecksumMode: types.ChecksumModeEnabled, RequestPayer: s.payer,
		})
		return err
	})
	if err != nil {
		return "", err
	}
	if aws.ToInt64(source.ContentLength) != size {
		return "", fmt.Errorf("%w: another size", blob.ErrDiffers)
	}
	right := source.ETag != nil && bytes.Equal(chunkedSum(aws.ToString(source.ChecksumSHA256), size), sum[:])
	if !right || size >= minParts && !s.lost[copiedSums].Load() {
		id, err := s.copyParts(ctx, key, from, size, copiedAs(sum))
		if err == nil || !right || ctx.Err() != nil || passes(err) || errors.Is(err, blob.ErrDiffers) {
			return id, err
		}
		s.lost[copiedSums].Store(true) // most servers but Amazon's
	}
	if size > s.maxCopy {
		return s.copyParts(ctx, key, from, size, copiedOf(source.ETag))
	}
	var out *awss3.CopyObjectOutput
	err = s.write(ctx, func(ctx context.Context, c *awss3.Client) (err error) {
		out, err = c.CopyObject(ctx, &awss3.CopyObjectInput{
			Bucket: &s.bucket, Key: &key, CopySource: sourceOf(from), CopySourceIfMatch: source.ETag, ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
			ServerSideEncryption: s.encrypt, SSEKMSKeyId: optional(s.opts.KMSKey), RequestPayer: s.payer,
		})
		return err
	})
	if err != nil {
		return "", err
	}
	return versionID(out.VersionId), nil
}

// proof is why a copy in parts is right: its parts have a sum, or are of a source that has it.
type proof struct {
	sum  *[sha256.Size]byte // over the sums of the parts, which the server has to tell
	etag *string            // of the source, whose sum is right: the server must not copy another one
}

func copiedAs(sum [sha256.Size]byte) proof { return proof{sum: &sum} }
func copiedOf(etag *string) proof          { return proof{etag: etag} }

// check returns an error unless the parts are right.
func (p proof) check(u *upload) error {
	if p.sum == nil {
		return nil // or a part would not have been copied
	}
	got, err := u.sum()
	if err == nil && got != *p.sum {
		err = fmt.Errorf("%w: another sha256", blob.ErrDiffers)
	}
	return err
}

// copyParts copies part by part.
func (s *Store) copyParts(ctx context.Context, key string, from quilt.PhysicalKey, size int64, why proof) (string, error) {
	u, err := s.createUpload(ctx, key, size, why.sum != nil)
	if err != nil {
		return "", err
	}
	err = u.copyPart(ctx, 0, from, why) // alone: it shows whether the server tells checksums
	if err == nil {
		group, groupCtx := errgroup.WithContext(ctx)
		group.SetLimit(partsAtOnce)
		for i := range u.parts[1:] {
			group.Go(func() error { return u.copyPart(groupCtx, i+1, from, why) })
		}
		err = group.Wait()
	}
	if err == nil {
		err = why.check(u)
	}
	id := ""
	if err == nil {
		id, err = u.complete(ctx)
	}
	if err != nil {
		u.abort(ctx)
	}
	return id, err
}

func (u *upload) copyPart(ctx context.Context, i int, from quilt.PhysicalKey, why proof) error {
	s := u.store
	start := int64(i) * quilt.ChunkSize(u.size)
	var out *awss3.UploadPartCopyOutput
	err := s.write(ctx, func(ctx context.Context, c *awss3.Client) (err error) {
		out, err = c.UploadPartCopy(ctx, &awss3.UploadPartCopyInput{
			Bucket: &s.bucket, Key: &u.key, UploadId: &u.id, PartNumber: aws.Int32(int32(i + 1)), CopySource: sourceOf(from),
			CopySourceRange: aws.String(fmt.Sprintf("bytes=%d-%d", start, start+u.partSize(i)-1)), CopySourceIfMatch: why.etag,
			RequestPayer: s.payer,
		})
		return err
	})
	if err != nil {
		return err
	}
	part := out.CopyPartResult
	if part == nil || why.sum != nil && !isSum(part.ChecksumSHA256) {
		return errNoChecksum
	}
	u.parts[i] = types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: part.ETag, ChecksumSHA256: part.ChecksumSHA256}
	return nil
}

var errNoChecksum = errors.New("the server does not tell the checksum of what it copied")

func isSum(checksum *string) bool {
	sum, err := base64.StdEncoding.DecodeString(aws.ToString(checksum))
	return err == nil && len(sum) == sha256.Size
}

// sourceOf names an object in a header, as physical keys do but for the scheme.
func sourceOf(from quilt.PhysicalKey) *string {
	const scheme = "s3://"
	return aws.String(from.String()[len(scheme):])
}
