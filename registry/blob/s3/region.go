package s3

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// regions are those of buckets that were found to be elsewhere than they were looked for,
// by place. Where a bucket is never changes, so that every store of it may know.
var regions sync.Map

// clients make the requests to one region.
type clients struct {
	region            string
	signed, anonymous *awss3.Client
}

// use sends requests to a region from now on.
func (s *Store) use(region string) {
	c := &clients{region: cmp.Or(region, defaultRegion)}
	at := func(o *awss3.Options) {
		s.configure(o)
		o.Region = c.region
	}
	c.signed = awss3.NewFromConfig(s.config, at)
	c.anonymous = awss3.NewFromConfig(s.config, at, func(o *awss3.Options) { o.Credentials = aws.AnonymousCredentials{} })
	s.clients.Store(c)
}

// place names the bucket among those of all servers.
func (s *Store) place() string {
	return aws.ToString(s.clients.Load().signed.Options().BaseEndpoint) + "/" + s.bucket
}

// there makes a request to the region where the bucket is: when the server says that it is
// in another one, it is made again there.
func (s *Store) there(ctx context.Context, request func(*clients) error) error {
	c := s.clients.Load()
	err := request(c)
	if !elsewhere(err) {
		return err
	}
	region := cmp.Or(regionOf(err), s.locate(ctx, c))
	if region == "" || region == c.region {
		return err
	}
	regions.Store(s.place(), region)
	s.use(region)
	return request(s.clients.Load())
}

// elsewhere reports whether an answer may say that the bucket is in another region. The
// answer to HEAD has no word for it.
func elsewhere(err error) bool {
	return isStatus(err, http.StatusMovedPermanently) ||
		isStatus(err, http.StatusBadRequest) && (isCode(err, "AuthorizationHeaderMalformed") || regionOf(err) != "")
}

// regionOf returns the region that an answer tells, or "".
func regionOf(err error) string {
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) || answer.Response == nil {
		return ""
	}
	return answer.Response.Header.Get("X-Amz-Bucket-Region")
}

// locate asks for the region of the bucket, which everybody may who knows its name.
func (s *Store) locate(ctx context.Context, c *clients) string {
	out, err := c.anonymous.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: &s.bucket})
	if err != nil {
		return regionOf(err)
	}
	return aws.ToString(out.BucketRegion)
}
