package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/sandwich-build/sandwich/registry/blob"
)

// trialPrefix is what the objects are called by which writing is tried.
const trialPrefix = ".sandwich/trial-"

// TryWrite returns a *blob.TrialError unless the bucket can be written to as pushes do. It puts a
// small object that nobody else knows, reads it, replaces it and removes it, each on the condition
// that pushes put.
func (s *Store) TryWrite(ctx context.Context) (err error) {
	key := trialPrefix + rand.Text()
	first, second := []byte("sandwich doctor"), []byte("has tried to write")
	if err := s.PutIf(ctx, key, first, ""); err != nil {
		return &blob.TrialError{Doing: "put", Err: err}
	}
	defer func() {
		// Also what was put just before the context ended.
		if removeErr := s.erase(context.WithoutCancel(ctx), key); removeErr != nil && err == nil {
			err = &blob.TrialError{Doing: "remove", Works: true, Err: removeErr}
		}
	}()
	data, tag, err := s.ReadTagged(ctx, key)
	if err == nil && !bytes.Equal(data, first) {
		err = errors.New("it has other bytes than were put")
	}
	if err != nil {
		return &blob.TrialError{Doing: "read back", Err: err}
	}
	if err := s.PutIf(ctx, key, second, tag); err != nil {
		return &blob.TrialError{Doing: "replace", Err: err}
	}
	switch err := s.PutIf(ctx, key, first, tag); {
	case err == nil || s.lost[conditions].Load():
		return &blob.TrialError{Doing: "replace what another has replaced", Works: true,
			Err: fmt.Errorf("%s does not refuse it: of two pushes at the same moment one can be lost without a word", s)}
	case !errors.Is(err, blob.ErrChanged):
		return &blob.TrialError{Doing: "replace what another has replaced", Err: err}
	}
	return nil
}

// erase removes an object with all its versions, or else as Delete does, which leaves them in a
// bucket that keeps versions.
func (s *Store) erase(ctx context.Context, key string) error {
	for v, err := range s.ListVersions(ctx, key) {
		if err == nil && v.ID != "" {
			err = s.write(ctx, func(ctx context.Context, c *awss3.Client) error {
				_, err := c.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &s.bucket, Key: &key, VersionId: &v.ID, RequestPayer: s.payer})
				return err
			})
		}
		if err != nil {
			return s.Delete(ctx, key) // versions may be for others to list and to remove
		}
	}
	if _, err := s.Stat(ctx, key); err == nil {
		return s.Delete(ctx, key)
	}
	return nil
}
