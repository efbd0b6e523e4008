// Package s3 is a blob store in a bucket of Amazon S3, or of a server that speaks its
// protocol.
//
// Credentials, profile and region come from where every AWS tool takes them. What may be
// read without credentials is read without: a request goes out signed, and again
// unsigned where it was refused.
//
// Every write carries the SHA-256 of its bytes, which the server compares. A blob of
// 8 MiB and more goes in the parts that Quilt's hash has as chunks; so the checksum that
// S3 keeps is the hash that a package gives the file.
//
// A request that failed for a passing reason is tried again, and a download that was cut
// goes on where it was; that is the only layer that does so. What a server can not do is
// done without, and said once to Options.Warn.
package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/logging"
	"golang.org/x/sync/semaphore"

	"github.com/sandwich-build/sandwich/registry/blob"
)

const (
	// uploadMemory is the most bytes of bodies that are held at once: a body is sent from
	// memory, so that it can be sent again, and its hash is in the header before it.
	uploadMemory = 96 << 20
	// maxIdle is how many connections are kept for the next request: as many as there are
	// requests at once at the most.
	maxIdle = 128
	// connBuffer is room for a small object with its header, which then takes one call of
	// the operating system instead of three.
	connBuffer = 32 << 10
	// defaultRegion is where a bucket is looked for that nobody names a region of; a
	// server that is not Amazon's wants this one.
	defaultRegion = "us-east-1"
)

// Options say how a bucket is reached. The zero Options are fine on Amazon S3.
type Options struct {
	Endpoint      string // URL of a server; the AWS configuration's when empty (AWS_ENDPOINT_URL)
	Region        string // the AWS configuration's when empty
	Encryption    string // of new objects: AES256, aws:kms or aws:kms:dsse; the bucket's default when empty
	KMSKey        string // the key of aws:kms; the account's when empty
	RequesterPays bool   // the requests are on the account of who makes them
	Attempts      int    // tries of one request; 0 for the default
	// Pace is told that the server asked for less, or did not answer in time, and has turns
	// for the parts of large blobs. nil knows no limit.
	Pace Pace
	// Warn is told, once each, what the server can not do and what is lost by that.
	Warn func(message string)
}

// Pace says how many transfers may be on their way. A blob that is put has a turn already.
type Pace interface {
	TryAcquire() bool
	Release(bytes int64)
	Slow()
}

func (o Options) tryAcquire() bool { return o.Pace == nil || o.Pace.TryAcquire() }

func (o Options) release(bytes int64) {
	if o.Pace != nil {
		o.Pace.Release(bytes)
	}
}

func (o Options) slow() {
	if o.Pace != nil {
		o.Pace.Slow()
	}
}

// Store is a bucket. It implements blob.Conditional and blob.Versioned.
type Store struct {
	bucket  string
	opts    Options
	encrypt types.ServerSideEncryption
	payer   types.RequestPayer
	custom  bool // the server is not Amazon's
	config  aws.Config
	clients atomic.Pointer[clients] // of the region where the bucket is, as far as that is known
	maxCopy int64                   // bytes that the server copies in one request
	memory  *semaphore.Weighted
	buffers sync.Pool // of *[]byte, for parts

	login    sync.Once
	loginErr error                  // why there are no credentials; set by login
	unsigned [accesses]atomic.Bool  // reads of this sort go unsigned
	lost     [abilities]atomic.Bool // what the server was found not to do
	probed   atomic.Bool            // conditional writes were tried out
	compares atomic.Bool            // the server was seen to keep checksums
}

var (
	_ blob.Conditional = (*Store)(nil)
	_ blob.Versioned   = (*Store)(nil)
)

// New returns the store in a bucket. Nothing is asked of the server yet.
func New(ctx context.Context, bucket string, opts Options) (*Store, error) {
	if err := checkBucket(bucket); err != nil {
		return nil, err
	}
	if opts.Endpoint != "" {
		if u, err := url.Parse(opts.Endpoint); err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" {
			return nil, errors.New("s3 endpoint: want a URL such as https://s3.example.com, without user and query")
		}
	}
	cfg, err := config.LoadDefaultConfig(ctx, func(o *config.LoadOptions) error {
		o.Region = opts.Region
		o.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConns, t.MaxIdleConnsPerHost = maxIdle, maxIdle
			t.ReadBufferSize, t.WriteBufferSize = connBuffer, connBuffer
		})
		o.Logger = logging.Nop{} // which would write to stderr, past whoever shows progress there
		// Whoever reads a blob verifies it. And a checksum that nobody asked for is not
		// understood by every server.
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the AWS configuration: %w", err)
	}
	if client, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok { // with the certificates of AWS_CA_BUNDLE
		cfg.HTTPClient = &http.Client{Transport: located{client.GetTransport()}, CheckRedirect: checkRedirect}
	}
	s := &Store{
		bucket: bucket, opts: opts, encrypt: types.ServerSideEncryption(opts.Encryption),
		config: cfg, maxCopy: maxCopy, memory: semaphore.NewWeighted(uploadMemory),
	}
	if opts.RequesterPays {
		s.payer = types.RequestPayerRequester
	}
	s.use(cfg.Region)
	s.custom = s.clients.Load().signed.Options().BaseEndpoint != nil
	if region, known := regions.Load(s.place()); known {
		s.use(region.(string))
	}
	return s, nil
}

// configure completes the AWS configuration.
func (s *Store) configure(o *awss3.Options) {
	if s.opts.Endpoint != "" {
		o.BaseEndpoint = aws.String(s.opts.Endpoint)
	}
	// A bucket's name as part of the host is unknown to most other servers, and with a
	// dot in it no certificate is right.
	o.UsePathStyle = o.BaseEndpoint != nil || strings.Contains(s.bucket, ".")
	o.Retryer = aws.NopRetryer{} // see retry
	o.DisableLogOutputChecksumValidationSkipped = true
}

// checkBucket refuses what can not be a bucket's name, and would be another place in a
// URL.
func checkBucket(name string) error {
	ok := len(name) >= 3 && len(name) <= 255
	for _, c := range name {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune(".-_", c))
	}
	if !ok || strings.HasPrefix(name, ".") {
		return fmt.Errorf("bucket name %+q: want 3 or more letters, digits, dots and dashes", name)
	}
	return nil
}

// String returns the URL of the bucket.
func (s *Store) String() string { return "s3://" + s.bucket }

// access is a sort of reading; credentials may allow one and not the other.
type access int

const (
	gets access = iota
	lists
	accesses
)

// read makes a request that changes nothing: signed, where there are credentials, and
// unsigned where that is refused. A bucket that everybody may read can refuse an account
// that it does not know.
func (s *Store) read(ctx context.Context, sort access, request func(context.Context, *awss3.Client) error) error {
	signed := func(c *clients) error {
		return s.retry(ctx, func(ctx context.Context) error { return request(ctx, c.signed) })
	}
	unsigned := func(c *clients) error {
		return s.retry(ctx, func(ctx context.Context) error { return request(ctx, c.anonymous) })
	}
	if s.unsigned[sort].Load() {
		return s.there(ctx, unsigned)
	}
	if loginErr := s.authenticate(ctx); loginErr != nil {
		err := s.there(ctx, unsigned)
		if refused(err) {
			return errors.Join(err, loginErr)
		}
		return err
	}
	err := s.there(ctx, signed)
	if !refused(err) {
		return err
	}
	if other := s.there(ctx, unsigned); !refused(other) {
		s.unsigned[sort].Store(true)
		return other
	}
	return err
}

// write makes a request that changes something, which is always signed.
func (s *Store) write(ctx context.Context, request func(context.Context, *awss3.Client) error) error {
	if err := s.authenticate(ctx); err != nil {
		return err
	}
	return s.there(ctx, func(c *clients) error {
		return s.retry(ctx, func(ctx context.Context) error { return request(ctx, c.signed) })
	})
}

// authenticate looks for credentials once and returns why there are none.
func (s *Store) authenticate(ctx context.Context) error {
	s.login.Do(func() {
		if s.config.Credentials == nil {
			s.loginErr = errNoCredentials
			return
		}
		// Not with the context of the caller that happens to be first: the others share
		// the answer.
		if _, err := s.config.Credentials.Retrieve(context.WithoutCancel(ctx)); err != nil {
			s.loginErr = fmt.Errorf("%w: %w", errNoCredentials, err)
		}
	})
	return s.loginErr
}

var errNoCredentials = errors.New("no AWS credentials")

// Stat implements blob.Store.
func (s *Store) Stat(ctx context.Context, key string) (blob.Info, error) {
	v, err := s.head(ctx, key, "")
	return v.Info, err
}

// Open implements blob.Store.
func (s *Store) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	return s.OpenVersion(ctx, key, "", offset, length)
}

// Delete implements blob.Store. Where the bucket keeps versions, it keeps this one.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := check(ctx, key); err != nil {
		return s.explain(ctx, "delete", key, err)
	}
	err := s.write(ctx, func(ctx context.Context, c *awss3.Client) error {
		_, err := c.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &s.bucket, Key: &key, RequestPayer: s.payer})
		return err
	})
	if err = s.explain(ctx, "delete", key, err); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// List implements blob.Store.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		if !startsKey(prefix) {
			return
		}
		var next *string
		for {
			page, err := s.listPage(ctx, prefix, next)
			if err != nil {
				yield(blob.Info{}, s.explain(ctx, "list", prefix, err))
				return
			}
			for _, object := range page.Contents {
				key, err := url.QueryUnescape(aws.ToString(object.Key))
				if err != nil || blob.CheckKey(key) != nil {
					continue // such as the "folders" that some tools make
				}
				if !yield(blob.Info{Key: key, Size: aws.ToInt64(object.Size)}, nil) {
					return
				}
			}
			if next = page.NextContinuationToken; !aws.ToBool(page.IsTruncated) || next == nil {
				return
			}
		}
	}
}

func (s *Store) listPage(ctx context.Context, prefix string, next *string) (page *awss3.ListObjectsV2Output, err error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	err = s.read(ctx, lists, func(ctx context.Context, c *awss3.Client) (err error) {
		page, err = c.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{
			Bucket: &s.bucket, Prefix: &prefix, ContinuationToken: next,
			EncodingType: types.EncodingTypeUrl, // XML can not hold every character
			RequestPayer: s.payer,
		})
		return err
	})
	return page, err
}

// startsKey reports whether a key can start with prefix. Servers that keep objects as
// files are not asked about others.
func startsKey(prefix string) bool {
	dir := prefix[:strings.LastIndex(prefix, "/")+1]
	return dir == "" || blob.CheckKey(strings.TrimSuffix(dir, "/")) == nil
}

func check(ctx context.Context, key string) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return blob.CheckKey(key)
}

// ability is something that not every server has.
type ability int

const (
	conditions ability = iota
	checksums
	sumHeaders // without which checksums are lost as well
	resuming   // this and the next cost time only, and are not told
	copiedSums // of parts that the server copies
	abilities
)

// lose says, once, what a server can not do.
func (s *Store) lose(what ability) {
	if s.lost[what].Swap(true) || s.opts.Warn == nil {
		return
	}
	s.opts.Warn(s.String() + ": " + map[ability]string{
		conditions: "the server has no conditional writes; of two pushes at the same moment one can be lost without a word",
		checksums:  "the server keeps no SHA-256 of what it gets; a push that was cut off sends large files again",
	}[what])
}
