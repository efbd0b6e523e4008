package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"

	"github.com/sandwich-build/sandwich/internal/image"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/s3"
)

// Place is a registry or a shared cache.
type Place interface {
	// Reach returns an error unless it can be read.
	Reach(ctx context.Context) error
	// Access returns with what a bucket is reached; ok is false of what is none.
	Access(ctx context.Context) (access s3.Access, ok bool)
}

// RegistryName is the name of the finding about the registry.
const RegistryName = "registry"

// Target is a registry that may be pushed to.
type Target interface {
	Place
	// TryWrite returns an error unless it can be written to, a *blob.TrialError if somebody
	// refuses, and leaves nothing behind.
	TryWrite(ctx context.Context) error
}

// Registry asks whether the registry at a location can be read and, when the manifest pushes to it,
// whether it can be written to.
func Registry(location string, open func(context.Context) (Target, error), pushes bool) Check {
	return Check{RegistryName, func(ctx context.Context) []Finding {
		place, err := open(ctx)
		f := reach(ctx, RegistryName, location, place, err, faultIf(pushes))
		if pushes && f.Status == OK {
			f = write(ctx, f, place)
		}
		return []Finding{f}
	}}
}

// write tries to write to a place of which it was found that it can be read.
func write(ctx context.Context, f Finding, place Target) Finding {
	err := place.TryWrite(ctx)
	if err == nil {
		f.Found += ", and written to"
		return f
	}
	status := Fault
	if trial, ok := errors.AsType[*blob.TrialError](err); ok && trial.Works {
		status = Warning
	}
	access, bucket := place.Access(context.WithoutCancel(ctx))
	return ill(f.Name, status, fmt.Sprintf("%s, and not written to as it should: %s", f.Found, oneLine(err.Error())), mendWriting(err, access, bucket, status))
}

// mendWriting says what to do about a place that can only be read, or of which something cannot be
// removed.
func mendWriting(err error, access s3.Access, bucket bool, status Status) string {
	var answer *s3.Error
	refused := errors.As(err, &answer) && answer.Status == http.StatusForbidden
	switch {
	case bucket && access.Credentials == "":
		return "aws configure   # or: export AWS_PROFILE=…"
	case refused && status == Warning:
		return "# let these credentials remove objects (s3:DeleteObject): `sandwich rm` and `rollback` do, and what was tried is still there"
	case refused:
		return "# let these credentials write to the bucket (s3:PutObject, s3:GetObject, s3:AbortMultipartUpload), or take others: export AWS_PROFILE=…"
	case bucket && status == Warning:
		return "# let one push at a time, or take a server with conditional writes (If-Match, If-None-Match)"
	case bucket:
		return "# is the bucket one that only can be read? its owner and its server's log know why"
	case errors.Is(err, errors.ErrUnsupported):
		return "# let `registry` in the manifest name the bucket or the folder itself"
	}
	return "# may you write to the folder (ls -ld), is it mounted read-only, and is there space? or let `registry` name another one"
}

// SharedCache asks whether the cache of a team can be read. A build works without it.
func SharedCache(location string, open func(context.Context) (Place, error)) Check {
	const name = "shared cache"
	return Check{name, func(ctx context.Context) []Finding {
		place, err := open(ctx)
		return []Finding{reach(ctx, name, location, place, err, Warning)}
	}}
}

// reach tries to read a place, unless there was an error when it was opened.
func reach(ctx context.Context, name, location string, place Place, err error, status Status) Finding {
	if err != nil {
		return ill(name, status, oneLine(err.Error()), "# is it the right place? `help environment` says what names it")
	}
	err = place.Reach(ctx)
	access, bucket := place.Access(context.WithoutCancel(ctx))
	text := location
	if bucket {
		text += ": region " + access.Region + ", "
		if access.Credentials == "" {
			text += "without credentials"
		} else {
			text += "credentials of " + access.Credentials
		}
	}
	if err != nil {
		return ill(name, status, fmt.Sprintf("%s: %s", text, oneLine(err.Error())), mendPlace(err, access, bucket)...)
	}
	return ok(name, "%s can be read", text)
}

// mendPlace says what to do about a place that does not answer as it should.
func mendPlace(err error, access s3.Access, bucket bool) []string {
	var answer *s3.Error
	switch {
	case !bucket:
		return []string{"# is the folder mounted, and may you read it? or is the URL right, and is there a network?"}
	case errors.As(err, &answer) && answer.Code == "RequestTimeTooSkewed":
		return []string{fixClock}
	case errors.As(err, &answer) && answer.Status == http.StatusForbidden && access.Credentials == "":
		return []string{"aws configure   # or: export AWS_PROFILE=…"}
	case errors.As(err, &answer) && answer.Status == http.StatusForbidden:
		return []string{"# let these credentials list and read the bucket, or take others: export AWS_PROFILE=…"}
	case errors.As(err, &answer) && answer.Status == http.StatusNotFound, errors.Is(err, fs.ErrNotExist):
		return []string{"# is its name right? make it, or write another `registry` into the manifest"}
	}
	return []string{"# is there a network, and is the server right? --endpoint, AWS_ENDPOINT_URL and `endpoint` in the config file name it"}
}

// Image asks whether the image of a manifest can be had. pinned is what the lock has of it, or nil:
// a build then goes on with what is in the cache.
func Image(name string, open func() (image.Source, error), pinned *lock.Image) Check {
	const title = "image"
	return Check{title, func(ctx context.Context) []Finding { return []Finding{ofImage(ctx, title, name, open, pinned)} }}
}

func ofImage(ctx context.Context, title, name string, open func() (image.Source, error), pinned *lock.Image) (f Finding) {
	known := pinned != nil && pinned.Name == name
	source, err := open()
	if err == nil {
		defer func() { _ = source.Close() }() // of which only a digest was read
		root, rootErr := source.Root(ctx)
		switch {
		case rootErr != nil:
			err = rootErr
		case known && pinned.Digest != root.Digest:
			return ok(title, "%s is another now than the lock pins, %s; `sandwich outdated` says more", name, pinned.Digest)
		default:
			return ok(title, "%s can be had: %s", name, root.Digest)
		}
	}
	const mend = "# is its name right, and is there a network? docker login and podman login keep credentials for it"
	if known {
		return ill(title, Warning, fmt.Sprintf("%s: only machines that have it in their cache can build: %s", name, oneLine(err.Error())), mend)
	}
	return ill(title, Fault, fmt.Sprintf("%s: %s", name, oneLine(err.Error())), mend)
}
