package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

// minParts is the size from which a blob goes in parts. It is Quilt's: the checksum that
// S3 makes of one part is that of a package, and that of a whole is not.
const minParts = 8 << 20

// Put implements blob.Store.
func (s *Store) Put(ctx context.Context, key string, body blob.Body) error {
	_, err := s.PutVersion(ctx, key, body)
	return err
}

// PutVersion implements blob.Versioned.
func (s *Store) PutVersion(ctx context.Context, key string, body blob.Body) (id string, err error) {
	err = check(ctx, key)
	switch {
	case err != nil:
	case body.Size < minParts:
		id, err = s.putWhole(ctx, key, body)
	default:
		id, err = s.putParts(ctx, key, body)
	}
	return id, s.explain(ctx, "put", key, err)
}

// putWhole sends a body in one request.
func (s *Store) putWhole(ctx context.Context, key string, body blob.Body) (string, error) {
	size := max(body.Size, 1)
	if err := s.memory.Acquire(ctx, size); err != nil {
		return "", err
	}
	defer s.memory.Release(size)
	r, err := body.Open(ctx)
	if err != nil {
		return "", err
	}
	data := make([]byte, body.Size)
	err = readPart(blob.NewReader(ctx, r), data)
	if err == nil {
		err = atEnd(r)
	}
	if err = errors.Join(err, r.Close()); err != nil {
		return "", err
	}
	sum, known, err := s.sha256Of(body, 0, data)
	if err != nil {
		return "", err
	}
	input := &awss3.PutObjectInput{Bucket: &s.bucket, Key: &key}
	id, err := s.putObject(ctx, input, data, sum)
	return id, differs(err, known, sum, data)
}

// putObject completes a request with a body and what all writes have, and makes it.
func (s *Store) putObject(ctx context.Context, input *awss3.PutObjectInput, data []byte, sum [sha256.Size]byte) (string, error) {
	input.ContentLength = aws.Int64(int64(len(data)))
	input.ServerSideEncryption, input.SSEKMSKeyId, input.RequestPayer = s.encrypt, optional(s.opts.KMSKey), s.payer
	var out *awss3.PutObjectOutput
	err := s.withChecksums(func(with bool) error {
		input.ChecksumAlgorithm, input.ChecksumSHA256, input.ContentMD5 = checksumsOf(with, sum, data)
		return s.write(ctx, func(ctx context.Context, c *awss3.Client) (err error) {
			input.Body = bytes.NewReader(data)
			out, err = c.PutObject(ctx, input, signedAs(sum))
			return err
		})
	})
	if err != nil {
		return "", err
	}
	s.compared(out.ChecksumSHA256)
	if out.ChecksumSHA256 == nil {
		s.lose(checksums)
	}
	return versionID(out.VersionId), nil
}

// withChecksums makes a request with the headers for checksums, and without where the
// server says that it has not implemented what it was asked for, and then has.
func (s *Store) withChecksums(request func(with bool) error) error {
	with := !s.lost[sumHeaders].Load()
	err := request(with)
	if with && isStatus(err, http.StatusNotImplemented) && request(false) == nil {
		s.lost[sumHeaders].Store(true)
		return nil
	}
	return err
}

// checksumsOf returns what a write says of its bytes: their sha256 or, where the server
// does not know of that, their MD5.
func checksumsOf(with bool, sum [sha256.Size]byte, data []byte) (algorithm types.ChecksumAlgorithm, sha, old *string) {
	if with {
		return types.ChecksumAlgorithmSha256, checksum(sum), nil
	}
	digest := md5.Sum(data)
	return "", nil, aws.String(base64.StdEncoding.EncodeToString(digest[:]))
}

// ReadTagged implements blob.Conditional.
func (s *Store) ReadTagged(ctx context.Context, key string) (_ []byte, _ blob.Tag, err error) {
	if err := check(ctx, key); err != nil {
		return nil, "", s.explain(ctx, "get", key, err)
	}
	var data []byte
	var tag blob.Tag
	err = s.read(ctx, gets, func(ctx context.Context, c *awss3.Client) error {
		out, err := c.GetObject(ctx, &awss3.GetObjectInput{Bucket: &s.bucket, Key: &key, RequestPayer: s.payer})
		if err != nil {
			return err
		}
		tag = blob.Tag(aws.ToString(out.ETag))
		data, err = io.ReadAll(io.LimitReader(out.Body, blob.MaxTagged+1))
		return errors.Join(err, out.Body.Close())
	})
	if err == nil && len(data) > blob.MaxTagged {
		err = fmt.Errorf("%w: more than %d bytes", blob.ErrTooLarge, blob.MaxTagged)
	}
	if err != nil {
		return nil, "", s.explain(ctx, "get", key, err)
	}
	return data, tag, nil
}

// PutIf implements blob.Conditional. Where the server has no conditional writes the
// content is compared before it is written, which leaves a moment for another writer.
func (s *Store) PutIf(ctx context.Context, key string, data []byte, tag blob.Tag) error {
	err := check(ctx, key)
	switch {
	case err != nil:
	case s.lost[conditions].Load():
		err = s.putUnchanged(ctx, key, data, tag)
	default:
		err = s.putIf(ctx, key, data, tag)
		if isStatus(err, http.StatusNotImplemented) {
			s.lose(conditions)
			err = s.putUnchanged(ctx, key, data, tag)
		}
	}
	if tag != "" && isStatus(err, http.StatusNotFound) && !isCode(err, "NoSuchBucket") {
		err = blob.ErrChanged // it is not there any more
	}
	return s.explain(ctx, "put", key, err)
}

// writerKey is the metadata of a conditional write that tells it from all others. When its
// answer is lost and the server refuses the second try, only that shows who has written.
const writerKey = "sandwich-writer"

func (s *Store) putIf(ctx context.Context, key string, data []byte, tag blob.Tag) error {
	writer := rand.Text()
	input := &awss3.PutObjectInput{Bucket: &s.bucket, Key: &key, Metadata: map[string]string{writerKey: writer}}
	if tag == "" {
		input.IfNoneMatch = aws.String("*")
	} else {
		input.IfMatch = aws.String(string(tag))
	}
	sum := sha256.Sum256(data)
	if _, err := s.putObject(ctx, input, data, sum); err != nil {
		if isStatus(err, http.StatusPreconditionFailed) && s.wrote(ctx, key, writer) {
			return nil
		}
		return err
	}
	// Some servers take the condition and ignore it. Of those that are not Amazon's, the
	// first is asked once more for what it must refuse now.
	if tag == "" && s.custom && !s.probed.Swap(true) {
		if _, err := s.putObject(ctx, input, data, sum); err == nil {
			s.lose(conditions)
		}
	}
	return nil
}

// wrote reports whether the blob that is there is the one of a writer.
func (s *Store) wrote(ctx context.Context, key, writer string) bool {
	var out *awss3.HeadObjectOutput
	err := s.read(ctx, gets, func(ctx context.Context, c *awss3.Client) (err error) {
		out, err = c.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: &s.bucket, Key: &key, RequestPayer: s.payer})
		return err
	})
	return err == nil && out.Metadata[writerKey] == writer
}

// putUnchanged writes when the content is, a moment before, what tag names.
func (s *Store) putUnchanged(ctx context.Context, key string, data []byte, tag blob.Tag) error {
	old, now, err := s.ReadTagged(ctx, key)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && bytes.Equal(old, data) {
		return nil
	}
	if now != tag {
		return blob.ErrChanged
	}
	_, err = s.putObject(ctx, &awss3.PutObjectInput{Bucket: &s.bucket, Key: &key}, data, sha256.Sum256(data))
	return err
}

// readPart fills data from r.
func readPart(r io.Reader, data []byte) error {
	_, err := io.ReadFull(r, data)
	return missing(err)
}

// missing says of a body that has come to its end that it should not have.
func missing(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: bytes are missing", blob.ErrDiffers)
	}
	return err
}

// atEnd returns an error unless r has nothing more.
func atEnd(r io.Reader) error {
	var one [1]byte
	switch n, err := io.ReadFull(r, one[:]); {
	case n > 0:
		return fmt.Errorf("%w: more bytes", blob.ErrDiffers)
	case errors.Is(err, io.EOF):
		return nil
	default:
		return err
	}
}

// sha256Of returns the sha256 of a part, and whether it was known before. Where it was, the
// bytes are not hashed for it, since the server compares; until a server that is not
// Amazon's was seen to keep a checksum, they are.
func (s *Store) sha256Of(body blob.Body, part int, data []byte) (sum [sha256.Size]byte, known bool, err error) {
	if part >= len(body.Sums) || body.Chunk != quilt.ChunkSize(body.Size) {
		return sha256.Sum256(data), false, nil
	}
	if s.custom && !s.compares.Load() && sha256.Sum256(data) != body.Sums[part] {
		return sum, true, fmt.Errorf("%w: another sha256", blob.ErrDiffers)
	}
	return body.Sums[part], true, nil
}

// compared notes whether an answer shows that the server compares checksums.
func (s *Store) compared(checksum *string) {
	if checksum != nil {
		s.compares.Store(true)
	}
}

// differs makes blob.ErrDiffers of the refusal of bytes that have not the sum they were
// sent with. Servers have several words for that, so the bytes are looked at.
func differs(err error, known bool, sum [sha256.Size]byte, data []byte) error {
	if known && isStatus(err, http.StatusBadRequest) && sha256.Sum256(data) != sum {
		return fmt.Errorf("%w: another sha256", blob.ErrDiffers)
	}
	return err
}

func checksum(sum [sha256.Size]byte) *string {
	return aws.String(base64.StdEncoding.EncodeToString(sum[:]))
}

// signedAs signs a request with the hash of its body that is known already, where the
// SDK would read and hash the body once more.
func signedAs(sum [sha256.Size]byte) func(*awss3.Options) {
	set := middleware.FinalizeMiddlewareFunc("KnownPayloadHash", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
		return next.HandleFinalize(v4.SetPayloadHash(ctx, hex.EncodeToString(sum[:])), in)
	})
	return awss3.WithAPIOptions(func(stack *middleware.Stack) error { return stack.Finalize.Add(set, middleware.Before) })
}
