package registry_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandwich-build/sandwich/internal/s3test"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/blob/https"
	"github.com/sandwich-build/sandwich/registry/blob/s3"
	"github.com/sandwich-build/sandwich/registry/folder"
)

// A folder that a web server serves, and a bucket that everybody may read, are registries
// to install from: every revision, with what can be asked for without a listing.
func TestWeb(t *testing.T) {
	for label, make := range map[string]func(*testing.T) (w, r *registry.Registry, lists bool){"folder": servedFolder, "bucket": publicBucket} {
		t.Run(label, func(t *testing.T) {
			ctx := t.Context()
			w, r, lists := make(t)
			one := push(t, w, "one", first)
			if err := w.Tag(ctx, name, "v1", one, false); err != nil {
				t.Fatal(err)
			}
			two := push(t, w, "two", next)
			dest := filepath.Join(t.TempDir(), "dest")
			for _, step := range []struct {
				ref  registry.Ref
				want map[string]string
			}{
				{registry.Ref{Name: name}, next}, {registry.Ref{Name: name, Hash: one.String()}, first},
				{registry.Ref{Name: name, Tag: "latest"}, next}, {registry.Ref{Name: name, Tag: "v1"}, first},
			} {
				p := load(t, r, step.ref)
				install(t, r, p, filepath.Join(dest, step.ref.String()))
				wantTree(t, filepath.Join(dest, step.ref.String()), step.want)
				if done := install(t, r, p, filepath.Join(dest, step.ref.String())); done.Fetched != 0 {
					t.Errorf("installing again = %+v", done)
				}
				if report, err := r.VerifyObjects(ctx, p, nil); err != nil || !report.OK(false) {
					t.Errorf("VerifyObjects = %+v, %v", report, err)
				}
			}
			_, err := r.Resolve(ctx, registry.Ref{Name: name, Hash: two.String()[:8]})
			_, logErr := r.Log(ctx, name)
			for _, err := range []error{err, logErr} {
				if lists && err != nil || !lists && (!errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "whole hash")) {
					t.Error(err)
				}
			}
			_, _, pushErr := r.Push(ctx, name, revision("three", first), registry.PushOptions{})
			_, removeErr := r.Remove(ctx, registry.Ref{Name: name})
			_, rollbackErr := r.Rollback(ctx, name, one)
			for _, err := range []error{pushErr, removeErr, rollbackErr, r.Tag(ctx, name, "x", one, false)} {
				if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "read") {
					t.Errorf("writing to %s: %v", r, err)
				}
			}
			// Without a listing nothing vouches for the files of another revision.
			p := load(t, r, registry.Ref{Name: name})
			_, err = r.Install(ctx, p, filepath.Join(dest, registry.Ref{Name: name, Tag: "v1"}.String()), registry.InstallOptions{})
			if foreign := errors.As(err, new(*folder.ForeignError)); lists == foreign || lists && err != nil {
				t.Errorf("installing over another revision: %v", err)
			}
		})
	}
}

func servedFolder(t *testing.T) (w, r *registry.Registry, lists bool) {
	root := t.TempDir()
	server := httptest.NewTLSServer(http.StripPrefix("/sub/folder", http.FileServer(http.Dir(root))))
	t.Cleanup(server.Close)
	r, err := registry.Open(t.Context(), server.URL+"/sub/folder", registry.Options{HTTPS: https.Options{Transport: server.Client().Transport}})
	if err != nil {
		t.Fatal(err)
	}
	return openFolder(t, root), r, false
}

func publicBucket(t *testing.T) (w, r *registry.Registry, lists bool) {
	server := s3test.Start(t)
	bucket := server.NewBucket(t, true)
	server.Publish(t, bucket)
	r, err := registry.Open(t.Context(), server.Endpoint+"/"+bucket+"/", registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return openBucket(t, bucket, s3.Options{}), r, true
}

func TestOpenWebRefuses(t *testing.T) {
	for _, location := range []string{
		"https://user:verysecret@host/x", "https://host/x?sig=verysecret", "https://host/x#verysecret", "http://", "ftp://user:verysecret@host/x", "s3://bucket/x?sig=verysecret",
	} {
		if r, err := registry.Open(t.Context(), location, registry.Options{}); err == nil || strings.Contains(err.Error(), "verysecret") {
			t.Errorf("Open = %v, %v", r, err)
		}
	}
}
