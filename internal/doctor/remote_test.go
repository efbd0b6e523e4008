package doctor

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sandwich-build/sandwich/internal/image"
	"github.com/sandwich-build/sandwich/internal/image/imagetest"
	"github.com/sandwich-build/sandwich/internal/s3test"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/registry/blob"
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

func openBucket(endpoint string) func(context.Context) (Target, error) {
	return func(ctx context.Context) (Target, error) {
		s, err := s3.New(ctx, "bucket", s3.Options{Endpoint: endpoint, Attempts: 1})
		return bucket{s}, err
	}
}

// placeOf opens what may only be read.
func placeOf(open func(context.Context) (Target, error)) func(context.Context) (Place, error) {
	return func(ctx context.Context) (Place, error) { return open(ctx) }
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
			findings := ask(t, Registry("s3://bucket", openBucket(test.endpoint), test.status == Fault)) // else it would be written to
			want(t, findings, RegistryName, test.status, test.found, test.mend)
			status := test.status
			if status == Fault {
				status = Warning
			}
			want(t, ask(t, Registry("s3://bucket", openBucket(test.endpoint), false)), RegistryName, status, test.found, test.mend)
			want(t, ask(t, SharedCache("s3://bucket/x", placeOf(openBucket(test.endpoint)))), "shared cache", status, test.found, test.mend)
			for _, f := range findings {
				if text := f.Found + strings.Join(f.Mend, ""); strings.Contains(text, secretKey) || strings.Contains(text, secretToken) || strings.Contains(text, "AKIAUSER") {
					t.Errorf("it tells a secret: %s", text)
				}
			}
		})
	}
}

// TestWriting tries to write to real buckets, as whoever may do more or less in them.
func TestWriting(t *testing.T) {
	server := s3test.Start(t)
	open := func(name string) func(context.Context) (Target, error) {
		return func(ctx context.Context) (Target, error) {
			s, err := s3.New(ctx, name, s3.Options{Attempts: 1})
			return bucket{s}, err
		}
	}
	reading, writing := []string{"s3:GetObject", "s3:ListBucket"}, []string{"s3:GetObject", "s3:ListBucket", "s3:PutObject"}
	for name, test := range map[string]struct {
		versioned bool
		may       []string // nil for everything
		status    Status
		found     string
		mend      string
	}{
		"its owner":                {false, nil, OK, "can be read, and written to", ""},
		"its owner, with versions": {true, nil, OK, "can be read, and written to", ""},
		"a reader":                 {false, reading, Fault, "try to write: put", "s3:PutObject"},
		"who cannot remove":        {false, writing, Warning, "try to write: remove", "s3:DeleteObject"},
		"who can remove":           {false, append(writing, "s3:DeleteObject"), OK, "and written to", ""},
		"who cannot read":          {false, []string{"s3:ListBucket", "s3:PutObject"}, Fault, "403", "let these credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			bucket := server.NewBucket(t, test.versioned)
			if test.may != nil {
				server.Restrict(t, bucket, test.may...)
			}
			want(t, ask(t, Registry("s3://"+bucket, open(bucket), true)), RegistryName, test.status, test.found, test.mend)
			left := len(server.Versions(t, bucket))
			if (left > 0) != (test.status == Warning) {
				t.Errorf("%d objects are left", left)
			}
			read := ask(t, Registry("s3://"+bucket, open(bucket), false))
			if strings.Contains(read[0].Found, "write") || len(server.Versions(t, bucket)) != left {
				t.Errorf("one that nothing is pushed to was written to: %s", read[0].Found)
			}
		})
	}
}

// TestWritingWithout tries to write to a bucket of which anybody may read.
func TestWritingWithout(t *testing.T) {
	server := s3test.Start(t)
	name := server.NewBucket(t, false)
	server.Publish(t, name)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	open := func(ctx context.Context) (Target, error) {
		s, err := s3.New(ctx, name, s3.Options{Attempts: 1})
		return bucket{s}, err
	}
	want(t, ask(t, Registry("s3://"+name, open, true)), RegistryName, Fault, "without credentials can be read, and not written to", "aws configure")
}

// folderPlace is a folder as a place, which fails as it is told.
type folderPlace struct {
	*dir.Store
	err error
}

func (f folderPlace) Reach(context.Context) error                        { return f.err }
func (f folderPlace) Access(context.Context) (access s3.Access, ok bool) { return s3.Access{}, false }

func TestFolder(t *testing.T) {
	open := func(root string, err error) func(context.Context) (Target, error) {
		return func(context.Context) (Target, error) { return folderPlace{dir.New(root), err}, nil }
	}
	root := t.TempDir()
	want(t, ask(t, Registry("./registry", open(root, nil), true)), RegistryName, OK, "./registry can be read, and written to", "")
	want(t, ask(t, Registry("./registry", open(root, nil), false)), RegistryName, OK, "./registry can be read", "")
	want(t, ask(t, Registry("./registry", open(root, fs.ErrPermission), true)), RegistryName, Fault, "permission denied", "is the folder mounted")
	want(t, ask(t, Registry("./new", open(filepath.Join(root, "not", "there"), nil), true)), RegistryName, OK, "and written to", "")
	if left, err := os.ReadDir(root); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	if err := dir.New(root).Put(t.Context(), "blob", blob.Bytes(nil)); err != nil {
		t.Fatal(err)
	}
	want(t, ask(t, Registry("./used", open(root, nil), true)), RegistryName, OK, "and written to", "")
	if left, err := os.ReadDir(filepath.Join(root, ".sandwich", "tmp")); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	if runtime.GOOS == "linux" { // also the superuser makes no folder there
		want(t, ask(t, Registry("/sys/none", open("/sys/none", nil), true)), RegistryName, Fault, "/sys/none can be read, and not written to", "may you write to the folder")
	}
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
