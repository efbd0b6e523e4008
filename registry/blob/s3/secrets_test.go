package s3_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/s3"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

// secrets are what no error and no warning may hold: credentials, and what is signed with
// them.
var secrets = []string{"AKIASECRETID", "verysecretkey", "verysecrettoken", "Signature=", "StringToSign", "http://", "https://"}

// tells returns the secrets that a text holds.
func tells(text string) []string {
	var told []string
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			told = append(told, secret)
		}
	}
	return told
}

// failures does all that a store can do, and returns the errors.
func failures(ctx context.Context, store *s3.Store) []error {
	_, statErr := store.Stat(ctx, "k")
	_, versionErr := store.StatVersion(ctx, "k")
	_, _, tagErr := store.ReadTagged(ctx, "k")
	_, _, hugeErr := store.ReadTagged(ctx, "\x00bad")
	_, versionedErr := store.Versioned(ctx)
	_, copyErr := store.CopyFrom(ctx, "k", quilt.PhysicalKey{Bucket: "other", Path: "k", Version: "v"}, 9, [32]byte{})
	errs := []error{statErr, versionErr, tagErr, hugeErr, versionedErr, copyErr,
		store.Put(ctx, "k", blob.Bytes([]byte("x"))), store.Put(ctx, "k", known(noise(9<<20))), store.PutIf(ctx, "k", nil, ""),
		store.PutIf(ctx, "k", nil, "tag"), store.Delete(ctx, "k")}
	if r, err := store.Open(ctx, "k", 0, -1); err != nil {
		errs = append(errs, err)
	} else {
		_, err = r.Read(make([]byte, 1<<10))
		errs = append(errs, err, r.Close())
	}
	for _, err := range store.List(ctx, "") {
		errs = append(errs, err)
	}
	for _, err := range store.ListVersions(ctx, "") {
		errs = append(errs, err)
	}
	return errs
}

// TestAccess tells where credentials come from, and not what they are.
func TestAccess(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIASECRETID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "verysecretkey")
	t.Setenv("AWS_SESSION_TOKEN", "verysecrettoken")
	access := open(t, "bucket", s3.Options{Region: "eu-west-1"}).Access(t.Context())
	if want := (s3.Access{Region: "eu-west-1", Credentials: "EnvConfigCredentials"}); access != want {
		t.Errorf("got %+v, want %+v", access, want)
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	if access := open(t, "bucket", s3.Options{}).Access(t.Context()); access.Credentials != "" {
		t.Errorf("without credentials there are some of %s", access.Credentials)
	}
}

// Whatever goes wrong, and whatever a server says of it, no error and no warning tells a
// secret, what was signed, or the URL of a request.
func TestErrorsTellNoSecrets(t *testing.T) {
	noAWS(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIASECRETID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "verysecretkey")
	t.Setenv("AWS_SESSION_TOKEN", "verysecrettoken")
	echo := func(w http.ResponseWriter, r *http.Request, code string, status int) {
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message><AWSAccessKeyId>AKIASECRETID</AWSAccessKeyId><StringToSign>%s %s</StringToSign></Error>",
			code, r.Header.Get("Authorization"), r.Header.Get("X-Amz-Security-Token"))
	}
	servers := map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:1/?X-Amz-Signature=verysecretkey")
			w.WriteHeader(http.StatusTemporaryRedirect)
		},
		"bad redirect": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://[::1?X-Amz-Signature=verysecretkey")
			w.WriteHeader(http.StatusTemporaryRedirect)
		},
		"no XML":  func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<", r.Header.Get("Authorization")) },
		"cut off": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"cut short": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(http.StatusOK)
			panic(http.ErrAbortHandler)
		},
		"moved": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Amz-Bucket-Region", "eu-west-1")
			echo(w, r, "PermanentRedirect", http.StatusMovedPermanently)
		},
	}
	for code, status := range map[string]int{
		"SignatureDoesNotMatch": 403, "AccessDenied": 403, "InvalidAccessKeyId": 403, "ExpiredToken": 400, "RequestTimeTooSkewed": 403, "BadDigest": 400,
		"NotImplemented": 501, "PreconditionFailed": 412, "NoSuchKey": 404, "NoSuchBucket": 404, "InternalError": 500, "SlowDown": 503,
	} {
		servers[code] = func(w http.ResponseWriter, r *http.Request) { echo(w, r, code, status) }
	}
	urls := map[string]string{"nobody there": "http://127.0.0.1:1", "no such host": "http://verysecrettoken.invalid"}
	for label, handler := range servers {
		server := httptest.NewServer(handler)
		defer server.Close()
		urls[label] = server.URL
	}
	for label, url := range urls {
		t.Run(label, func(t *testing.T) {
			store := open(t, "bucket", s3.Options{Endpoint: url, Attempts: 1, Warn: func(m string) {
				if told := tells(m); told != nil {
					t.Errorf("a warning tells %q: %s", told, m)
				}
			}})
			failed := 0
			for _, err := range failures(t.Context(), store) {
				if err == nil {
					continue
				}
				failed++
				// A name that the user gave is not secret.
				if told := tells(strings.ReplaceAll(err.Error(), "verysecrettoken.invalid", "")); told != nil {
					t.Errorf("an error tells %q: %v", told, err)
				}
			}
			if failed < 4 {
				t.Errorf("%d errors only", failed)
			}
		})
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("stopped"))
	for _, err := range failures(ctx, open(t, "bucket", s3.Options{Endpoint: urls["cut off"]})) {
		if err != nil && tells(err.Error()) != nil {
			t.Error(err)
		}
	}
	for _, endpoint := range []string{"http://user:verysecretkey@host", "https://user:verysecretkey@host:port", "https://host/?X-Amz-Signature=verysecretkey", "verysecretkey"} {
		if _, err := s3.New(t.Context(), "bucket", s3.Options{Endpoint: endpoint}); err == nil || strings.Contains(err.Error(), "verysecretkey") {
			t.Errorf("an endpoint with a secret: %v", err)
		}
	}
}

// Where credentials can not be had, the error says so without those that there are.
func TestChainTellsNoSecrets(t *testing.T) {
	for label, text := range map[string]string{
		"process":  "[default]\ncredential_process = echo verysecretkey; exit 1\n",
		"answer":   "[default]\ncredential_process = echo '{\"Version\":1,\"SecretAccessKey\":\"verysecretkey\"}'\n",
		"no role":  "[default]\nrole_arn=arn:aws:iam::123456789012:role/x\nsource_profile=base\n[profile base]\naws_access_key_id=AKIASECRETID\naws_secret_access_key=verysecretkey\n",
		"expired":  "[default]\nsso_start_url=https://x.awsapps.com/start\nsso_region=us-east-1\nsso_account_id=1\nsso_role_name=r\n",
		"half set": "[default]\naws_access_key_id=AKIASECRETID\n",
	} {
		t.Run(label, func(t *testing.T) {
			home := noAWS(t)
			writeFile(t, home+"/.aws/config", text)
			t.Setenv("AWS_ENDPOINT_URL_STS", serve(t, "", "", nil))
			t.Setenv("AWS_ENDPOINT_URL_S3", record(t, nil).URL)
			store, err := s3.New(t.Context(), "bucket", s3.Options{})
			if err == nil {
				err = store.Put(t.Context(), "k", blob.Bytes(nil))
			}
			if err == nil || strings.Contains(err.Error(), "verysecretkey") {
				t.Errorf("Put = %v", err)
			}
		})
	}
}
