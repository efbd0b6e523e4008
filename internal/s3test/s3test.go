// Package s3test runs a real S3 server for tests: versitygw, on loopback, with its data in
// a temporary folder. A Proxy before it fails as a test has planned.
package s3test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Install is the command that makes the server.
const Install = "go install github.com/versity/versitygw/cmd/versitygw@v1.8.0"

const (
	accessKey = "test"
	secretKey = "testtesttest"
	region    = "us-east-1"
	// startTime is how long the server may take on a busy machine; it needs a tenth of a
	// second on an idle one.
	startTime = 30 * time.Second
)

// Server is a running server.
type Server struct {
	Endpoint string // its URL
	binary   string // its program; empty of a server that was running
	client   *awss3.Client
	prefix   string // of the names of buckets
	buckets  atomic.Int64
	users    atomic.Int64
}

// Start starts a server that ends with the test. It points the AWS configuration of the
// process to it and to nothing else, so the test must not be parallel. Where the server
// is not installed the test is skipped, but fails in CI.
//
// With SANDWICH_TEST_S3, such as http://127.0.0.1:9000, that server is used instead, which
// knows the same keys; so other servers are tried by hand.
func Start(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{Endpoint: os.Getenv("SANDWICH_TEST_S3"), prefix: "bucket"}
	if s.Endpoint == "" {
		s.binary = find(tb)
	} else {
		s.prefix = strings.ToLower(rand.Text()[:10]) // it keeps the buckets of other tests
	}
	for key, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": accessKey, "AWS_SECRET_ACCESS_KEY": secretKey, "AWS_REGION": region,
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		tb.Setenv(key, value)
	}
	for _, key := range []string{"AWS_PROFILE", "AWS_SESSION_TOKEN"} {
		tb.Setenv(key, "") // which has it restored
		if err := os.Unsetenv(key); err != nil {
			tb.Fatal(err)
		}
	}
	for try := 1; s.Endpoint == ""; try++ {
		var err error
		// Between choosing a port and using it another process may take it.
		if s.Endpoint, err = launch(tb, s.binary); err != nil && try == 3 {
			tb.Fatalf("start versitygw: %v", err)
		}
	}
	tb.Setenv("AWS_ENDPOINT_URL", s.Endpoint)
	s.client = awss3.New(awss3.Options{
		BaseEndpoint: &s.Endpoint, UsePathStyle: true, Region: region,
		Credentials: credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""),
	})
	return s
}

// find returns the server's program.
func find(tb testing.TB) string {
	tb.Helper()
	candidates := []string{os.Getenv("SANDWICH_VERSITYGW")}
	if path, err := exec.LookPath("versitygw"); err == nil {
		candidates = append(candidates, path)
	}
	if home, err := os.UserHomeDir(); err == nil {
		candidates = append(candidates, filepath.Join(home, "go", "bin", "versitygw"))
	}
	for _, path := range candidates {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		tb.Fatalf("versitygw is not installed: %s", Install)
	}
	tb.Skipf("versitygw is not installed: %s", Install)
	return ""
}

// launch starts the server and returns its URL once it answers.
func launch(tb testing.TB, binary string) (string, error) {
	tb.Helper()
	dir := tb.TempDir()
	root, versions, users := filepath.Join(dir, "root"), filepath.Join(dir, "versions"), filepath.Join(dir, "users")
	if err := errors.Join(os.Mkdir(root, 0o755), os.Mkdir(versions, 0o755), os.Mkdir(users, 0o755)); err != nil {
		return "", err
	}
	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return "", err
	}
	var said strings.Builder
	cmd := exec.CommandContext(context.WithoutCancel(tb.Context()), binary, "--quiet", "--port", address, "--iam-dir", users, "posix", "--versioning-dir", versions, root)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+accessKey, "ROOT_SECRET_KEY="+secretKey)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return "", err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is killed
	}()
	endpoint := "http://" + address
	if err := answers(tb.Context(), endpoint, ended); err != nil {
		_ = cmd.Process.Kill()
		<-ended
		return "", fmt.Errorf("%w: %s", err, said.String())
	}
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	return endpoint, nil
}

// answers waits until a server answers.
func answers(ctx context.Context, endpoint string, ended <-chan struct{}) error {
	deadline := time.Now().Add(startTime)
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, http.NoBody)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			return resp.Body.Close()
		}
		select {
		case <-ended:
			return errors.New("it ended")
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

// NewBucket makes a bucket, one that keeps versions or one that does not, and returns its
// name.
func (s *Server) NewBucket(tb testing.TB, versioned bool) string {
	tb.Helper()
	name := fmt.Sprintf("%s-%d", s.prefix, s.buckets.Add(1))
	if _, err := s.client.CreateBucket(tb.Context(), &awss3.CreateBucketInput{Bucket: &name}); err != nil {
		tb.Fatal(err)
	}
	if !versioned {
		return name
	}
	_, err := s.client.PutBucketVersioning(tb.Context(), &awss3.PutBucketVersioningInput{
		Bucket:                  &name,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return name
}

// NewLockedBucket makes a bucket with Object Lock, in which nothing can be removed for a
// day, and returns its name.
func (s *Server) NewLockedBucket(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf("%s-%d", s.prefix, s.buckets.Add(1))
	_, err := s.client.CreateBucket(tb.Context(), &awss3.CreateBucketInput{Bucket: &name, ObjectLockEnabledForBucket: aws.Bool(true)})
	if err != nil {
		tb.Fatal(err)
	}
	_, err = s.client.PutObjectLockConfiguration(tb.Context(), &awss3.PutObjectLockConfigurationInput{
		Bucket: &name,
		ObjectLockConfiguration: &types.ObjectLockConfiguration{
			ObjectLockEnabled: types.ObjectLockEnabledEnabled,
			Rule: &types.ObjectLockRule{
				DefaultRetention: &types.DefaultRetention{Mode: types.ObjectLockRetentionModeGovernance, Days: aws.Int32(1)},
			},
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return name
}

// Publish lets everybody read a bucket.
func (s *Server) Publish(tb testing.TB, bucket string) {
	tb.Helper()
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":["s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::%[1]s","arn:aws:s3:::%[1]s/*"]}]}`, bucket)
	if _, err := s.client.PutBucketPolicy(tb.Context(), &awss3.PutBucketPolicyInput{Bucket: &bucket, Policy: &policy}); err != nil {
		tb.Fatal(err)
	}
}

// Restrict makes the account of the process, from now on, one of a user who may do nothing in a
// bucket but what actions name, such as s3:GetObject.
func (s *Server) Restrict(tb testing.TB, bucket string, actions ...string) {
	tb.Helper()
	if s.binary == "" {
		tb.Skip("only versitygw makes users")
	}
	user := fmt.Sprintf("user-%d", s.users.Add(1))
	cmd := exec.CommandContext(tb.Context(), s.binary, "admin", "--access", accessKey, "--secret", secretKey, "--region", region, "--endpoint-url", s.Endpoint,
		"create-user", "--access", user, "--secret", secretKey, "--role", "user")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("create user: %v: %s", err, out)
	}
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":[%q]},"Action":["%s"],"Resource":["arn:aws:s3:::%[3]s","arn:aws:s3:::%[3]s/*"]}]}`,
		user, strings.Join(actions, `","`), bucket)
	if _, err := s.client.PutBucketPolicy(tb.Context(), &awss3.PutBucketPolicyInput{Bucket: &bucket, Policy: &policy}); err != nil {
		tb.Fatal(err)
	}
	tb.Setenv("AWS_ACCESS_KEY_ID", user)
}

// Uploads returns how many uploads in parts are unfinished in a bucket.
func (s *Server) Uploads(tb testing.TB, bucket string) int {
	tb.Helper()
	out, err := s.client.ListMultipartUploads(tb.Context(), &awss3.ListMultipartUploadsInput{Bucket: &bucket})
	if err != nil {
		tb.Fatal(err)
	}
	return len(out.Uploads)
}

// AbortUploads removes all unfinished uploads of a bucket.
func (s *Server) AbortUploads(tb testing.TB, bucket string) {
	tb.Helper()
	out, err := s.client.ListMultipartUploads(tb.Context(), &awss3.ListMultipartUploadsInput{Bucket: &bucket})
	if err != nil {
		tb.Fatal(err)
	}
	for _, u := range out.Uploads {
		if _, err := s.client.AbortMultipartUpload(tb.Context(), &awss3.AbortMultipartUploadInput{Bucket: &bucket, Key: u.Key, UploadId: u.UploadId}); err != nil {
			tb.Fatal(err)
		}
	}
}

// Checksum returns the SHA-256 that the server keeps of an object, as it says it.
func (s *Server) Checksum(tb testing.TB, bucket, key string) string {
	tb.Helper()
	out, err := s.client.HeadObject(tb.Context(), &awss3.HeadObjectInput{Bucket: &bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		tb.Fatal(err)
	}
	return aws.ToString(out.ChecksumSHA256)
}

// drain reads what is left of a body, so that its connection can be used again.
func drain(body io.ReadCloser) {
	_, _ = io.Copy(io.Discard, body)
	_ = body.Close()
}

// Versions returns the keys of a bucket, each as often as it has versions.
func (s *Server) Versions(tb testing.TB, bucket string) []string {
	tb.Helper()
	var keys []string
	input := &awss3.ListObjectVersionsInput{Bucket: &bucket}
	for {
		out, err := s.client.ListObjectVersions(tb.Context(), input)
		if err != nil {
			tb.Fatal(err)
		}
		for _, v := range out.Versions {
			keys = append(keys, aws.ToString(v.Key))
		}
		if !aws.ToBool(out.IsTruncated) {
			return keys
		}
		input.KeyMarker, input.VersionIdMarker = out.NextKeyMarker, out.NextVersionIdMarker
	}
}
