package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/url"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/retry"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

const (
	// partsAtOnce is how many parts of one blob are on their way at the most, as far as the
	// pace has turns. Together with the memory of the store it bounds what a single large
	// file takes.
	partsAtOnce = 8
	// abortTime is how long the removal of an unfinished upload may take.
	abortTime = 15 * time.Second
	// abortTries is how often an upload is removed: a part that was on its way can bring it
	// back.
	abortTries = 3
	// abandoned is the age from which an unfinished upload of a key that is written anew
	// belongs to nobody any more. Nobody else's upload takes a week.
	abandoned = 7 * 24 * time.Hour
)

// upload is an unfinished upload of a blob in parts of Quilt's size.
type upload struct {
	store   *Store
	key, id string
	size    int64
	parts   []types.CompletedPart // by number; those that have arrived have an ETag
	resumed bool                  // some arrived before; another client may know the upload too
}

func newParts(size int64) []types.CompletedPart {
	chunk := quilt.ChunkSize(size)
	return make([]types.CompletedPart, (size+chunk-1)/chunk)
}

// partSize returns the bytes of the part at an index.
func (u *upload) partSize(i int) int64 {
	chunk := quilt.ChunkSize(u.size)
	return min(chunk, u.size-int64(i)*chunk)
}

// putParts sends a body in parts. An upload of the same bytes that was cut off is gone on
// with.
func (s *Store) putParts(ctx context.Context, key string, body blob.Body) (string, error) {
	u, err := s.findUpload(ctx, key, body)
	if err != nil {
		return "", err
	}
	if u != nil {
		id, err := u.send(ctx, body)
		if !u.taken(err) && !u.gone(ctx, err) {
			return id, err
		}
	}
	if u, err = s.createUpload(ctx, key, body.Size, true); err != nil {
		return "", err
	}
	return u.send(ctx, body)
}

// taken reports whether an upload that was found ended with err because another client
// finished, removed or changed it.
func (u *upload) taken(err error) bool {
	return u.resumed && (isCode(err, "NoSuchUpload") || isCode(err, "InvalidPart"))
}

// gone reports whether an upload that was found is not there any more, of which a server
// may only say that it closes the connection.
func (u *upload) gone(ctx context.Context, err error) bool {
	if err == nil || !u.resumed || ctx.Err() != nil || !retry.Unreachable(err) {
		return false
	}
	err = u.store.write(ctx, func(ctx context.Context, c *awss3.Client) error {
		_, err := c.ListParts(ctx, &awss3.ListPartsInput{Bucket: &u.store.bucket, Key: &u.key, UploadId: &u.id, RequestPayer: u.store.payer})
		return err
	})
	return isCode(err, "NoSuchUpload")
}

// createUpload begins an upload, whose parts have checksums or not.
func (s *Store) createUpload(ctx context.Context, key string, size int64, sums bool) (*upload, error) {
	var out *awss3.CreateMultipartUploadOutput
	input := &awss3.CreateMultipartUploadInput{
		Bucket: &s.bucket, Key: &key, ServerSideEncryption: s.encrypt, SSEKMSKeyId: optional(s.opts.KMSKey), RequestPayer: s.payer,
	}
	err := s.withChecksums(func(with bool) error {
		if input.ChecksumAlgorithm = ""; with && sums {
			input.ChecksumAlgorithm = types.ChecksumAlgorithmSha256
		}
		return s.write(ctx, func(ctx context.Context, c *awss3.Client) (err error) {
			out, err = c.CreateMultipartUpload(ctx, input)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return &upload{store: s, key: key, id: aws.ToString(out.UploadId), size: size, parts: newParts(size)}, nil
}

// findUpload returns the newest upload of a key all of whose parts are those of the body,
// or nil. It looks for none where the sums of the parts are not known, or there is one part
// only.
func (s *Store) findUpload(ctx context.Context, key string, body blob.Body) (*upload, error) {
	chunk := quilt.ChunkSize(body.Size)
	if body.Size <= chunk || body.Chunk != chunk || s.lost[resuming].Load() {
		return nil, nil
	}
	found, err := s.listUploads(ctx, key)
	if passes(err) || ctx.Err() != nil {
		return nil, err
	}
	if err != nil {
		// It is not allowed, or not known there: all parts are sent.
		s.lost[resuming].Store(true)
		return nil, nil
	}
	for _, f := range found {
		u := &upload{store: s, key: key, id: aws.ToString(f.UploadId), size: body.Size, parts: newParts(body.Size), resumed: true}
		if same, err := u.arrived(ctx, body); err != nil {
			return nil, err
		} else if same {
			return u, nil
		}
		if time.Since(aws.ToTime(f.Initiated)) > abandoned {
			u.abort(ctx)
		}
	}
	return nil, nil
}

// listUploads returns the uploads of a key, the newest first.
func (s *Store) listUploads(ctx context.Context, key string) ([]types.MultipartUpload, error) {
	var found []types.MultipartUpload
	input := &awss3.ListMultipartUploadsInput{Bucket: &s.bucket, Prefix: &key, EncodingType: types.EncodingTypeUrl, RequestPayer: s.payer}
	for {
		var page *awss3.ListMultipartUploadsOutput
		err := s.write(ctx, func(ctx context.Context, c *awss3.Client) (err error) {
			page, err = c.ListMultipartUploads(ctx, input)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, f := range page.Uploads {
			if name, err := url.QueryUnescape(aws.ToString(f.Key)); err == nil && name == key {
				found = append(found, f)
			}
		}
		if input.KeyMarker, input.UploadIdMarker = page.NextKeyMarker, page.NextUploadIdMarker; !aws.ToBool(page.IsTruncated) || input.KeyMarker == nil {
			break
		}
	}
	slices.SortStableFunc(found, func(a, b types.MultipartUpload) int {
		return aws.ToTime(b.Initiated).Compare(aws.ToTime(a.Initiated))
	})
	return found, nil
}

// arrived notes the parts of an upload that are there, and reports whether there are any
// and all are those of the body. With another part, it is an upload of other bytes.
func (u *upload) arrived(ctx context.Context, body blob.Body) (bool, error) {
	s := u.store
	input := &awss3.ListPartsInput{Bucket: &s.bucket, Key: &u.key, UploadId: &u.id, RequestPayer: s.payer}
	n := 0
	for {
		var page *awss3.ListPartsOutput
		err := s.write(ctx, func(ctx context.Context, c *awss3.Client) (err error) {
			page, err = c.ListParts(ctx, input)
			return err
		})
		if isCode(err, "NoSuchUpload") {
			return false, nil // finished since
		}
		if err != nil {
			return false, err
		}
		for _, p := range page.Parts {
			i := int(aws.ToInt32(p.PartNumber)) - 1
			if i < 0 || i >= min(len(u.parts), len(body.Sums)) || aws.ToInt64(p.Size) != u.partSize(i) ||
				aws.ToString(p.ChecksumSHA256) != *checksum(body.Sums[i]) {
				return false, nil
			}
			u.parts[i] = types.CompletedPart{PartNumber: p.PartNumber, ETag: p.ETag, ChecksumSHA256: p.ChecksumSHA256}
			n++
		}
		if input.PartNumberMarker = page.NextPartNumberMarker; !aws.ToBool(page.IsTruncated) || input.PartNumberMarker == nil {
			return n > 0, nil
		}
	}
}

// send sends the parts that are missing and makes the blob of all of them. When it is
// stopped or does not reach the server it leaves the upload to be gone on with; anything
// else that goes wrong removes it, for its parts are paid for.
func (u *upload) send(ctx context.Context, body blob.Body) (string, error) {
	id, err := "", u.sendParts(ctx, body)
	if err == nil {
		id, err = u.complete(ctx)
	}
	again := len(body.Sums) == len(u.parts) && (ctx.Err() != nil || passes(err))
	if err != nil && !again && !u.taken(err) {
		u.abort(ctx)
	}
	return id, err
}

// abort removes an upload. A server that does not answer keeps it: it is a courtesy.
func (u *upload) abort(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
	defer cancel()
	for range abortTries {
		err := u.store.write(ctx, func(ctx context.Context, c *awss3.Client) error {
			_, err := c.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{
				Bucket: &u.store.bucket, Key: &u.key, UploadId: &u.id, RequestPayer: u.store.payer,
			})
			return err
		})
		if err != nil { // in the end that there is no such upload
			return
		}
	}
}

// sendParts reads the body once, in order, and sends several parts at a time. When one
// fails no more are begun, but those on their way arrive: they need not be sent again, and
// no straggler meets the upload's removal.
func (u *upload) sendParts(ctx context.Context, body blob.Body) (err error) {
	r, err := body.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	begin, stop := context.WithCancel(ctx)
	defer stop()
	var group errgroup.Group
	group.SetLimit(partsAtOnce)
	source := blob.NewReader(begin, r)
	for i := range u.parts {
		if u.parts[i].ETag != nil {
			if _, err := io.CopyN(io.Discard, source, u.partSize(i)); err != nil {
				return firstOf(group.Wait(), missing(err))
			}
			continue
		}
		memory := min(u.partSize(i), uploadMemory)
		if err := u.store.memory.Acquire(begin, memory); err != nil {
			return firstOf(group.Wait(), err)
		}
		buf := u.store.buffer(u.partSize(i))
		data := *buf
		err := readPart(source, data)
		if err == nil && i == len(u.parts)-1 {
			err = atEnd(source)
		}
		if err != nil {
			u.store.memory.Release(memory)
			return firstOf(group.Wait(), err)
		}
		send := func() error {
			defer u.store.memory.Release(memory)
			err := u.sendPart(ctx, i, data, body)
			if err != nil {
				stop() // and something may still read the buffer
			} else {
				u.store.buffers.Put(buf)
			}
			return err
		}
		if !u.store.opts.tryAcquire() {
			if err := send(); err != nil { // in the turn that this blob has
				return firstOf(group.Wait(), err)
			}
			continue
		}
		group.Go(func() error {
			defer u.store.opts.release(int64(len(data)))
			return send()
		})
	}
	return group.Wait()
}

// buffer returns a buffer of so many bytes. A new one for each part would be as much again
// that waits to be collected.
func (s *Store) buffer(size int64) *[]byte {
	if buf, ok := s.buffers.Get().(*[]byte); ok && int64(cap(*buf)) >= size {
		*buf = (*buf)[:size]
		return buf
	}
	buf := make([]byte, size)
	return &buf
}

// firstOf prefers the error of a part to that of what was stopped because of it.
func firstOf(part, reading error) error {
	if part != nil {
		return part
	}
	return reading
}

func (u *upload) sendPart(ctx context.Context, i int, data []byte, body blob.Body) error {
	s := u.store
	sum, known, err := s.sha256Of(body, i, data)
	if err != nil {
		return err
	}
	input := &awss3.UploadPartInput{
		Bucket: &s.bucket, Key: &u.key, UploadId: &u.id, PartNumber: aws.Int32(int32(i + 1)),
		ContentLength: aws.Int64(int64(len(data))), RequestPayer: s.payer,
	}
	input.ChecksumAlgorithm, input.ChecksumSHA256, input.ContentMD5 = checksumsOf(!s.lost[sumHeaders].Load(), sum, data)
	var out *awss3.UploadPartOutput
	err = s.write(ctx, func(ctx context.Context, c *awss3.Client) (err error) {
		input.Body = bytes.NewReader(data)
		out, err = c.UploadPart(ctx, input, signedAs(sum))
		return err
	})
	if err != nil {
		return differs(err, known, sum, data)
	}
	s.compared(out.ChecksumSHA256)
	u.parts[i] = types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: out.ETag, ChecksumSHA256: input.ChecksumSHA256}
	return nil
}

// complete makes the blob of its parts. A server that has done so and could not say it does
// not know the upload any more when it is asked again.
func (u *upload) complete(ctx context.Context) (string, error) {
	s := u.store
	var out *awss3.CompleteMultipartUploadOutput
	tries := 0
	err := s.write(ctx, func(ctx context.Context, c *awss3.Client) (err error) {
		tries++
		out, err = c.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{
			Bucket: &s.bucket, Key: &u.key, UploadId: &u.id, RequestPayer: s.payer,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts},
		})
		return err
	})
	if err != nil && (tries > 1 || u.resumed) && isCode(err, "NoSuchUpload") {
		return u.completed(ctx, err)
	}
	if err != nil {
		return "", err
	}
	if out.ChecksumSHA256 == nil {
		s.lose(checksums)
	}
	return versionID(out.VersionId), nil
}

// completed returns the version of the blob that was made of the parts, or err when the
// blob that is there is another one.
func (u *upload) completed(ctx context.Context, err error) (string, error) {
	outer, sumErr := u.sum()
	if sumErr != nil {
		return "", sumErr
	}
	v, statErr := u.store.StatVersion(ctx, u.key)
	if statErr != nil || v.Size != u.size || !bytes.Equal(v.Sum, outer[:]) {
		return "", err
	}
	return v.ID, nil
}

// sum returns the sha256 over the sha256 of the parts.
func (u *upload) sum() (outer [sha256.Size]byte, err error) {
	hash := sha256.New()
	for _, part := range u.parts {
		sum, err := base64.StdEncoding.DecodeString(aws.ToString(part.ChecksumSHA256))
		if err != nil {
			return outer, err
		}
		hash.Write(sum)
	}
	return [sha256.Size]byte(hash.Sum(nil)), nil
}
