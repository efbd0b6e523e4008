package s3_test

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/s3"
)

// recorder is a server that agrees to everything it is asked for, and remembers it.
type recorder struct {
	URL string
	// refuse answers a request instead, where it returns true.
	refuse func(http.ResponseWriter, *http.Request) bool

	mu       sync.Mutex // guards requests
	requests []*http.Request
}

func record(t *testing.T, refuse func(http.ResponseWriter, *http.Request) bool) *recorder {
	t.Helper()
	c := &recorder{refuse: refuse}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

func (c *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = io.Copy(io.Discard, r.Body)
	c.requests = append(c.requests, r.Clone(r.Context()))
	query := r.URL.Query()
	switch {
	case c.refuse != nil && c.refuse(w, r):
	case r.Method == http.MethodPost && query.Has("uploads"):
		fmt.Fprint(w, "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
	case r.Method == http.MethodPost:
		fmt.Fprint(w, "<CompleteMultipartUploadResult/>")
	case r.Method == http.MethodGet && query.Has("versions"):
		fmt.Fprint(w, "<ListVersionsResult/>")
	case r.Method == http.MethodGet && query.Has("uploads"):
		fmt.Fprint(w, "<ListMultipartUploadsResult/>")
	case r.Method == http.MethodGet && query.Has("list-type"):
		fmt.Fprint(w, "<ListBucketResult/>")
	case r.Method == http.MethodPut && r.Header.Get("X-Amz-Copy-Source") != "":
		fmt.Fprint(w, "<CopyObjectResult/>")
	default:
		w.Header().Set("ETag", `"e"`)
	}
}

// all returns the requests so far.
func (c *recorder) all() []*http.Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*http.Request(nil), c.requests...)
}

// noAWS takes away what configures AWS, but for a home of its own, which it returns.
func noAWS(t *testing.T) string {
	t.Helper()
	for _, setting := range os.Environ() {
		if name, value, _ := strings.Cut(setting, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, value) // which has it restored
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	home := t.TempDir()
	t.Setenv("HOME", home)
	// Where these are by default was decided when the process started.
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(home, ".aws", "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(home, ".aws", "credentials"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	return home
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// serve starts a server that answers by method and path, where a header is as it should be.
func serve(t *testing.T, header, value string, answers map[string]string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.Method+" "+r.URL.Path]
		if !ok || r.Method == http.MethodGet && r.Header.Get(header) != value {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// Credentials come from wherever AWS tools look for them.
func TestCredentialChain(t *testing.T) {
	later := time.Now().Add(time.Hour).UTC()
	role := fmt.Sprintf(`{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"AKID","SecretAccessKey":"s","Token":"token","Expiration":%q}`, later.Format(time.RFC3339))
	const sts = `<%[1]sResponse><%[1]sResult><Credentials><AccessKeyId>AKID</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></%[1]sResult></%[1]sResponse>`
	for label, set := range map[string]func(t *testing.T, home string){
		"environment": func(t *testing.T, _ string) {
			t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
			t.Setenv("AWS_SESSION_TOKEN", "token")
		},
		"default profile": func(t *testing.T, home string) {
			writeFile(t, filepath.Join(home, ".aws", "credentials"), "[default]\naws_access_key_id=AKID\naws_secret_access_key=s\naws_session_token=token\n")
		},
		"named profile": func(t *testing.T, home string) {
			writeFile(t, filepath.Join(home, "elsewhere"), "[default]\nregion=x\n[profile work]\naws_access_key_id=AKID\naws_secret_access_key=s\naws_session_token=token\n")
			t.Setenv("AWS_CONFIG_FILE", filepath.Join(home, "elsewhere"))
			t.Setenv("AWS_PROFILE", "work")
		},
		"process": func(t *testing.T, home string) {
			writeFile(t, filepath.Join(home, ".aws", "config"), `[default]
credential_process = echo '{"Version":1,"AccessKeyId":"AKID","SecretAccessKey":"s","SessionToken":"token"}'`)
		},
		"single sign-on": func(t *testing.T, home string) {
			const start = "https://example.awsapps.com/start"
			writeFile(t, filepath.Join(home, ".aws", "config"), "[default]\nsso_start_url="+start+"\nsso_region=us-east-1\nsso_account_id=123456789012\nsso_role_name=reader\n")
			writeFile(t, filepath.Join(home, ".aws", "sso", "cache", fmt.Sprintf("%x.json", sha1.Sum([]byte(start)))),
				fmt.Sprintf(`{"accessToken":"bearer","expiresAt":%q}`, later.Format(time.RFC3339)))
			t.Setenv("AWS_ENDPOINT_URL_SSO", serve(t, "X-Amz-Sso_bearer_token", "bearer", map[string]string{
				"GET /federation/credentials": fmt.Sprintf(`{"roleCredentials":{"accessKeyId":"AKID","secretAccessKey":"s","sessionToken":"token","expiration":%d}}`, later.UnixMilli()),
			}))
		},
		"container": func(t *testing.T, _ string) {
			t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "bearer")
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", serve(t, "Authorization", "bearer", map[string]string{"GET /creds": role})+"/creds")
		},
		"instance": func(t *testing.T, _ string) {
			t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
			const path = "/latest/meta-data/iam/security-credentials/"
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", serve(t, "X-Aws-Ec2-Metadata-Token", "v2", map[string]string{
				"PUT /latest/api/token": "v2", "GET " + path: "baker", "GET " + path + "baker": role,
			}))
		},
		"web identity": func(t *testing.T, home string) {
			writeFile(t, filepath.Join(home, "token"), "jwt")
			t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/baker")
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", filepath.Join(home, "token"))
			t.Setenv("AWS_ENDPOINT_URL_STS", serve(t, "", "", map[string]string{"POST /": fmt.Sprintf(sts, "AssumeRoleWithWebIdentity")}))
		},
		"assumed role": func(t *testing.T, home string) {
			writeFile(t, filepath.Join(home, ".aws", "config"), "[default]\nrole_arn=arn:aws:iam::123456789012:role/baker\nsource_profile=base\n[profile base]\naws_access_key_id=other\naws_secret_access_key=s\n")
			t.Setenv("AWS_ENDPOINT_URL_STS", serve(t, "", "", map[string]string{"POST /": fmt.Sprintf(sts, "AssumeRole")}))
		},
	} {
		t.Run(label, func(t *testing.T) {
			home := noAWS(t)
			server := record(t, nil)
			t.Setenv("AWS_ENDPOINT_URL_S3", server.URL)
			set(t, home)
			if err := open(t, "bucket", s3.Options{}).Put(t.Context(), "a/k", blob.Bytes(nil)); err != nil {
				t.Fatal(err)
			}
			for _, r := range server.all() {
				signed := r.Header.Get("Authorization")
				if !strings.Contains(signed, "Credential=AKID/") || r.Header.Get("X-Amz-Security-Token") != "token" || r.URL.Path != "/bucket/a/k" {
					t.Errorf("%s %s is signed %q", r.Method, r.URL.Path, signed)
				}
			}
		})
	}
}

// The endpoint and the region come from options, environment or profile, in this order.
func TestEndpoint(t *testing.T) {
	for label, set := range map[string]func(t *testing.T, home, url string) s3.Options{
		"option": func(t *testing.T, _, url string) s3.Options {
			t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
			t.Setenv("AWS_REGION", "eu-south-1")
			return s3.Options{Endpoint: url, Region: "eu-west-3"}
		},
		"environment": func(t *testing.T, _, url string) s3.Options {
			t.Setenv("AWS_ENDPOINT_URL", url)
			t.Setenv("AWS_REGION", "eu-west-3")
			return s3.Options{}
		},
		"environment of S3": func(t *testing.T, _, url string) s3.Options {
			t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
			t.Setenv("AWS_ENDPOINT_URL_S3", url)
			t.Setenv("AWS_DEFAULT_REGION", "eu-west-3")
			return s3.Options{}
		},
		"profile": func(t *testing.T, home, url string) s3.Options {
			writeFile(t, filepath.Join(home, ".aws", "config"), "[default]\nregion=eu-west-3\nendpoint_url="+url+"\n")
			return s3.Options{}
		},
	} {
		t.Run(label, func(t *testing.T) {
			home := noAWS(t)
			server := record(t, nil)
			t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
			store := open(t, "bucket", set(t, home, server.URL))
			if _, err := store.Stat(t.Context(), "k"); err != nil {
				t.Fatal(err)
			}
			r := server.all()[0]
			if r.URL.Path != "/bucket/k" || !strings.Contains(r.Header.Get("Authorization"), "/eu-west-3/s3/") {
				t.Errorf("asked for %s, signed %s", r.URL.Path, r.Header.Get("Authorization"))
			}
		})
	}
}

// everything does all that a store can do, once.
func everything(t *testing.T, store *s3.Store) {
	t.Helper()
	ctx := t.Context()
	data := noise(9 << 20)
	_, statErr := store.Stat(ctx, "k")
	_, openErr := store.Open(ctx, "k", 0, -1)
	_, _, tagErr := store.ReadTagged(ctx, "k")
	_, versionErr := store.StatVersion(ctx, "k")
	errs := []error{statErr, openErr, tagErr, versionErr,
		store.Put(ctx, "k", blob.Bytes([]byte("x"))), store.Put(ctx, "k", known(data)), store.PutIf(ctx, "k", nil, ""), store.Delete(ctx, "k")}
	for _, err := range store.List(ctx, "") {
		errs = append(errs, err)
	}
	for _, err := range store.ListVersions(ctx, "") {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

// What is asked for with options goes with every request that it is for.
func TestRequestOptions(t *testing.T) {
	noAWS(t)
	credentials(t)
	server := record(t, nil)
	everything(t, open(t, "bucket", s3.Options{Endpoint: server.URL, Encryption: "aws:kms", KMSKey: "key", RequesterPays: true}))
	var encrypted []string
	for _, r := range server.all() {
		if r.Header.Get("X-Amz-Request-Payer") != "requester" {
			t.Errorf("%s %s without the requester paying", r.Method, r.URL)
		}
		if r.Header.Get("X-Amz-Server-Side-Encryption") == "aws:kms" && r.Header.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id") == "key" {
			encrypted = append(encrypted, r.Method)
		}
	}
	// Two small objects, one of them twice to see whether conditions are heeded, and the
	// start of an upload. Its parts follow from that.
	if want := []string{"PUT", "POST", "PUT", "PUT"}; !cmp.Equal(want, encrypted) {
		t.Errorf("encrypted are %v, want %v", encrypted, want)
	}
}

// A bucket with Object Lock wants a checksum of everything that is written.
func TestEveryPutHasAChecksum(t *testing.T) {
	noAWS(t)
	credentials(t)
	locked := func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || r.Header.Get("Content-MD5")+r.Header.Get("X-Amz-Checksum-Sha256") != "" {
			return false
		}
		w.WriteHeader(http.StatusBadRequest)
		return true
	}
	everything(t, open(t, "bucket", s3.Options{Endpoint: record(t, locked).URL}))
	// A server that knows no SHA-256 gets the checksum that it knows.
	old := func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Amz-Checksum-Sha256")+r.Header.Get("X-Amz-Checksum-Algorithm") == "" {
			return locked(w, r)
		}
		w.WriteHeader(http.StatusNotImplemented)
		return true
	}
	var said []string
	everything(t, open(t, "bucket", s3.Options{Endpoint: record(t, old).URL, Warn: func(m string) { said = append(said, m) }}))
	if len(said) != 2 || !strings.Contains(said[0], "SHA-256") { // the recorder heeds no conditions
		t.Errorf("said %q", said)
	}
}

// A bucket that is in another region is found there, however the server says so, and the
// next store of it asks there at once.
func TestRegion(t *testing.T) {
	noAWS(t)
	credentials(t)
	const home = "eu-central-1"
	for label, tell := range map[string]func(w http.ResponseWriter, r *http.Request){
		"moved": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Amz-Bucket-Region", home)
			w.WriteHeader(http.StatusMovedPermanently)
			fmt.Fprint(w, "<Error><Code>PermanentRedirect</Code></Error>")
		},
		"malformed": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Amz-Bucket-Region", home)
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, "<Error><Code>AuthorizationHeaderMalformed</Code></Error>")
		},
		"asked for": func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead && strings.Trim(r.URL.Path, "/") == "bucket" {
				w.Header().Set("X-Amz-Bucket-Region", home)
				return
			}
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, "<Error><Code>AuthorizationHeaderMalformed</Code></Error>")
		},
	} {
		t.Run(label, func(t *testing.T) {
			server := record(t, func(w http.ResponseWriter, r *http.Request) bool {
				if strings.Contains(r.Header.Get("Authorization"), "/"+home+"/") {
					return false
				}
				tell(w, r)
				return true
			})
			store := open(t, "bucket", s3.Options{Endpoint: server.URL, Region: "us-west-2"})
			if err := store.Put(t.Context(), "k", blob.Bytes([]byte("x"))); err != nil {
				t.Fatal(err)
			}
			before := len(server.all())
			if before > 3 {
				t.Errorf("%d requests for one object", before)
			}
			everything(t, store)
			everything(t, open(t, "bucket", s3.Options{Endpoint: server.URL, Region: "us-west-2"}))
			for _, r := range server.all()[before:] {
				if !strings.Contains(r.Header.Get("Authorization"), "/"+home+"/") {
					t.Errorf("%s %s was asked elsewhere", r.Method, r.URL)
				}
			}
		})
	}
	// Without an answer, the error says what the server said.
	server := record(t, func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusMovedPermanently)
		return true
	})
	var answer *s3.Error
	if _, err := open(t, "bucket", s3.Options{Endpoint: server.URL}).Stat(t.Context(), "k"); !errors.As(err, &answer) || answer.Status != http.StatusMovedPermanently || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat = %v", err)
	}
}
