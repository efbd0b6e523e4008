package s3

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/retry"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

// head describes a version, or the newest without id.
func (s *Store) head(ctx context.Context, key, id string) (blob.Version, error) {
	if err := check(ctx, key); err != nil {
		return blob.Version{}, s.explain(ctx, "stat", key, err)
	}
	var out *awss3.HeadObjectOutput
	err := s.read(ctx, gets, func(ctx context.Context, c *awss3.Client) (err error) {
		out, err = c.HeadObject(ctx, &awss3.HeadObjectInput{
			Bucket: &s.bucket, Key: &key, VersionId: optional(id), ChecksumMode: types.ChecksumModeEnabled, RequestPayer: s.payer,
		})
		return err
	})
	if err != nil {
		return blob.Version{}, s.explain(ctx, "stat", key, err)
	}
	size := aws.ToInt64(out.ContentLength)
	return blob.Version{
		Info: blob.Info{Key: key, Size: size},
		ID:   versionID(out.VersionId),
		Sum:  chunkedSum(aws.ToString(out.ChecksumSHA256), size),
	}, nil
}

// StatVersion implements blob.Versioned.
func (s *Store) StatVersion(ctx context.Context, key string) (blob.Version, error) {
	return s.head(ctx, key, "")
}

// chunkedSum returns the sum of chunks that follows from the checksum that S3 keeps, or
// nil. Of an upload in parts, S3 keeps the sha256 over the sha256 of the parts and, behind
// a dash, their number; with other parts than Quilt's chunks it is the sum of nothing.
func chunkedSum(checksum string, size int64) []byte {
	value, count, parts := strings.Cut(checksum, "-")
	sum, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(sum) != sha256.Size {
		return nil
	}
	if !parts {
		hash, ok := quilt.ChunkedFromSHA256([sha256.Size]byte(sum), size)
		if !ok {
			return nil
		}
		outer, _ := hash.Sum()
		return outer[:]
	}
	chunk := quilt.ChunkSize(size)
	if count != strconv.FormatInt((size+chunk-1)/chunk, 10) {
		return nil
	}
	return sum
}

// versionID returns the id of a version; "null" is that of what was put before the bucket
// kept versions, and the next put without them would replace it.
func versionID(id *string) string {
	if aws.ToString(id) == "null" {
		return ""
	}
	return aws.ToString(id)
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// OpenVersion implements blob.Versioned.
func (s *Store) OpenVersion(ctx context.Context, key, id string, offset, length int64) (io.ReadCloser, error) {
	if err := check(ctx, key); err != nil {
		return nil, s.explain(ctx, "get", key, err)
	}
	if length == 0 {
		_, err := s.head(ctx, key, id)
		return http.NoBody, err
	}
	etag, end := "", int64(-1)
	if length > 0 {
		end = offset + length
	}
	open := func(read int64) (io.ReadCloser, error) {
		out, err := s.get(ctx, key, id, etag, offset+read, end)
		if err != nil {
			return nil, err
		}
		etag = aws.ToString(out.ETag)
		return out.Body, nil
	}
	body, err := open(0)
	switch {
	case isStatus(err, http.StatusRequestedRangeNotSatisfiable):
		return http.NoBody, nil // it starts behind the end
	case err != nil:
		return nil, s.explain(ctx, "get", key, err)
	}
	return retry.Explain(ctx, s.policy().Reader(ctx, body, open), func(err error) error {
		return s.explain(ctx, "get", key, err)
	}), nil
}

// get asks for the bytes from offset on; up to end, where that is not negative. With an
// etag, they must still be those of before.
func (s *Store) get(ctx context.Context, key, id, etag string, offset, end int64) (out *awss3.GetObjectOutput, err error) {
	input := &awss3.GetObjectInput{Bucket: &s.bucket, Key: &key, VersionId: optional(id), IfMatch: optional(etag), RequestPayer: s.payer}
	switch {
	case end >= 0:
		input.Range = aws.String(fmt.Sprintf("bytes=%d-%d", offset, end-1))
	case offset > 0:
		input.Range = aws.String(fmt.Sprintf("bytes=%d-", offset))
	}
	err = s.read(ctx, gets, func(ctx context.Context, c *awss3.Client) (err error) {
		out, err = c.GetObject(ctx, input)
		return err
	})
	return out, err
}

// ListVersions implements blob.Versioned.
func (s *Store) ListVersions(ctx context.Context, prefix string) iter.Seq2[blob.Version, error] {
	return func(yield func(blob.Version, error) bool) {
		if !startsKey(prefix) {
			return
		}
		input := &awss3.ListObjectVersionsInput{Bucket: &s.bucket, Prefix: &prefix, EncodingType: types.EncodingTypeUrl, RequestPayer: s.payer}
		for {
			var page *awss3.ListObjectVersionsOutput
			err := context.Cause(ctx)
			if err == nil {
				err = s.read(ctx, lists, func(ctx context.Context, c *awss3.Client) (err error) {
					page, err = c.ListObjectVersions(ctx, input)
					return err
				})
			}
			if err != nil {
				yield(blob.Version{}, s.explain(ctx, "list", prefix, err))
				return
			}
			for _, v := range page.Versions {
				key, err := url.QueryUnescape(aws.ToString(v.Key))
				if err != nil || blob.CheckKey(key) != nil {
					continue
				}
				if !yield(blob.Version{Info: blob.Info{Key: key, Size: aws.ToInt64(v.Size)}, ID: versionID(v.VersionId)}, nil) {
					return
				}
			}
			if input.KeyMarker, input.VersionIdMarker = page.NextKeyMarker, page.NextVersionIdMarker; !aws.ToBool(page.IsTruncated) || input.KeyMarker == nil {
				return
			}
		}
	}
}

// Versioned implements blob.Versioned. Who may not ask gets no: what does not rely on
// versions is right in any bucket.
func (s *Store) Versioned(ctx context.Context) (bool, error) {
	var out *awss3.GetBucketVersioningOutput
	err := s.read(ctx, lists, func(ctx context.Context, c *awss3.Client) (err error) {
		out, err = c.GetBucketVersioning(ctx, &awss3.GetBucketVersioningInput{Bucket: &s.bucket})
		return err
	})
	if isStatus(err, http.StatusForbidden) || isStatus(err, http.StatusNotImplemented) {
		return false, nil
	}
	if err != nil {
		if err = s.explain(ctx, "ask for the versioning of", "", err); errors.Is(err, fs.ErrNotExist) {
			return false, nil // a server that does not know the question
		}
		return false, err
	}
	return out.Status == types.BucketVersioningStatusEnabled, nil
}
