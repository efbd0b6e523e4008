package doctor

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sandwich-build/sandwich/internal/image"
	"github.com/sandwich-build/sandwich/internal/image/imagetest"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/registry/blob/dir"
	"github.com/sandwich-build/sandwich/registry/blob/s3"
)

const secretKey, secretToken = "verysecretkey", "verysecrettoken"

// account points the AWS configuration to a user, or to nobody.
func account(t *testing.T, user string) {
	t.Helper()
	key, token := secretKey, secretToken
	if user == "" {
		key, token = "", ""
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": user, "AWS_SECRET_ACCESS_KEY": key, "AWS_SESSION_TOKEN": token, "AWS_REGION": "eu-central-1",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true", "AWS_PROFILE": "",
	} {
		t.Setenv(name, value)
	}
	t.Setenv("AWS_ENDPOINT_URL", "") // which has it restored
	if err := os.Unsetenv("AWS_ENDPOINT_URL"); err != nil {
		t.Fatal(err)
	}
}

// bucket is a bucket as a place.
type bucket struct{ *s3.Store }

func (b bucket) Reach(ctx context.Context) error {
	_, err := b.Stat(ctx, "key")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (b bucket) Access(ctx context.Context) (s3.Access, bool) { return b.Store.Access(ctx), true }

// server answers every request with a status and, in XML, a word for it.
func server(t *testing.T, status int, code string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "<Error><Code>"+code+"</Code></Error>")
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func openBucket(endpoint string) func(context.Context) (Place, error) {
	return func(ctx context.Context) (Place, error) {
		s, err := s3.New(ctx, "bucket", s3.Options{Endpoint: endpoint, Attempts: 1})
		return bucket{s}, err
	}
}

func TestPlaces(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	for name, test := range map[string]struct {
		user     string
		endpoint string
		status   Status // of a registry that a manifest needs
		found    string
		mend     string
	}{
		"answers":          {"AKIAUSER", server(t, http.StatusNotFound, "NoSuchKey"), OK, "region eu-central-1, credentials of EnvConfigCredentials can be read", ""},
		"without":          {"", server(t, http.StatusNotFound, "NoSuchKey"), OK, "without credentials can be read", ""},
		"refuses somebody": {"AKIAUSER", server(t, http.StatusForbidden, "AccessDenied"), Fault, "403", "let these credentials"},
		"refuses nobody":   {"", server(t, http.StatusForbidden, "AccessDenied"), Fault, "403", "aws configure"},
		"another bucket":   {"AKIAUSER", server(t, http.StatusBadRequest, "InvalidBucketName"), Fault, "400", "is the server right"},
		"is not there":     {"AKIAUSER", closed.URL, Fault, "", "is there a network"},
		"is no URL":        {"AKIAUSER", "nonsense", Fault, "want a URL", "right place"},
	} {
		t.Run(name, func(t *testing.T) {
			account(t, test.user)
			findings := ask(t, Registry("s3://bucket", openBucket(test.endpoint), true))
			want(t, findings, RegistryName, test.status, test.found, test.mend)
			status := test.status
			if status == Fault {
				status = Warning
			}
			want(t, ask(t, Registry("s3://bucket", openBucket(test.endpoint), false)), RegistryName, status, test.found, test.mend)
			want(t, ask(t, SharedCache("s3://bucket/x", openBucket(test.endpoint))), "shared cache", status, test.found, test.mend)
			for _, f := range findings {
				if text := f.Found + strings.Join(f.Mend, ""); strings.Contains(text, secretKey) || strings.Contains(text, secretToken) || strings.Contains(text, "AKIAUSER") {
					t.Errorf("it tells a secret: %s", text)
				}
			}
		})
	}
}

// folderPlace is a folder as a place, which fails as it is told.
type folderPlace struct {
	*dir.Store
	err error
}

func (f folderPlace) Reach(context.Context) error                        { return f.err }
func (f folderPlace) Access(context.Context) (access s3.Access, ok bool) { return s3.Access{}, false }

func TestFolder(t *testing.T) {
	open := func(err error) func(context.Context) (Place, error) {
		return func(context.Context) (Place, error) { return folderPlace{dir.New(t.TempDir()), err}, nil }
	}
	want(t, ask(t, Registry("./registry", open(nil), true)), RegistryName, OK, "./registry can be read", "")
	want(t, ask(t, Registry("./registry", open(fs.ErrPermission), true)), RegistryName, Fault, "permission denied", "is the folder mounted")
}

func TestSkew(t *testing.T) {
	skewed := &s3.Error{Op: "get", Status: http.StatusForbidden, Code: "RequestTimeTooSkewed"}
	if got := mendPlace(skewed, s3.Access{Credentials: "x"}, true); got[0] != fixClock {
		t.Errorf("got %q", got)
	}
	if got := mendPlace(&s3.Error{Status: http.StatusNotFound, Code: "NoSuchBucket"}, s3.Access{}, true); !strings.Contains(got[0], "name right") {
		t.Errorf("got %q", got)
	}
}

func TestImage(t *testing.T) {
	folder := t.TempDir()
	imagetest.Layout(t, folder, imagetest.New(t, runtime.GOARCH, nil, imagetest.Layer(t)))
	there := func() (image.Source, error) { return image.OpenLocal(folder) }
	gone := func() (image.Source, error) { return image.OpenLocal(folder + "-gone") }
	source, err := there()
	if err != nil {
		t.Fatal(err)
	}
	var root specs.Descriptor
	if root, err = source.Root(t.Context()); err != nil {
		t.Fatal(err)
	}
	pin := func(d digest.Digest) *lock.Image { return &lock.Image{Name: "./image", Digest: d} }
	want(t, ask(t, Image("./image", there, nil)), "image", OK, root.Digest.String(), "")
	want(t, ask(t, Image("./image", there, pin(root.Digest))), "image", OK, "can be had", "")
	want(t, ask(t, Image("./image", there, pin(digest.FromString("other")))), "image", OK, "is another now", "")
	want(t, ask(t, Image("./image", gone, nil)), "image", Fault, "no such file", "is its name right")
	want(t, ask(t, Image("./image", gone, pin(root.Digest))), "image", Warning, "only machines that have it", "is its name right")
	want(t, ask(t, Image("./other", gone, pin(root.Digest))), "image", Fault, "no such file", "is its name right")
}
