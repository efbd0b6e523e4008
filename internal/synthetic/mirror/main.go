// Command mirror writes a synthetic data set into a folder, or serves one over HTTP as if it
// were the hosts of Open Images and Flickr:
//
//	go run ./internal/synthetic/mirror write examples/quickstart/mirror
//	go run ./internal/synthetic/mirror write -photos 1743042 -metadata /tmp/full
//	go run ./internal/synthetic/mirror serve -photos 20000 -dead 0.02 -unavailable 0.01 /tmp/small
//
// Without -photos it is the data set of examples/quickstart; with it, one with the statistics of
// Open Images V4. Write replaces the folder. Serve writes the metadata into the folder first,
// draws photos as they are asked for, and prints the lines for a manifest that make a build
// read from it.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/sandwich-build/sandwich/internal/mirrortest"
	"github.com/sandwich-build/sandwich/internal/synthetic"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "mirror:", err)
		os.Exit(1)
	}
}

// options are the flags of both commands.
type options struct {
	data     synthetic.Dataset
	metadata bool // write no photos

	address     string
	unavailable float64 // share of photos
	cut         float64
	slow        float64
}

func run(ctx context.Context, args []string) error {
	var command string
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	if command != "write" && command != "serve" {
		return fmt.Errorf("want write or serve, got %q", command)
	}
	var o options
	flags := flag.NewFlagSet("mirror "+command, flag.ContinueOnError)
	flags.IntVar(&o.data.Photos, "photos", 0, "how many photos; 0 is the quickstart's data set")
	flags.Uint64Var(&o.data.Seed, "seed", 1, "another seed is another data set")
	flags.StringVar(&o.data.Subset, "subset", "train", "which subset the photos are")
	var dead, thumbnail, broken, turned float64
	flags.Float64Var(&dead, "dead", 0, "share of photos that are gone")
	flags.Float64Var(&thumbnail, "thumbnail", 0, "share of which only the thumbnail is left")
	flags.Float64Var(&broken, "broken", 0, "share that end in the middle")
	flags.Float64Var(&turned, "turned", 0, "share that lie on their side")
	if command == "write" {
		flags.BoolVar(&o.metadata, "metadata", false, "write no photos")
	} else {
		flags.StringVar(&o.address, "addr", "127.0.0.1:8080", "where to listen")
		flags.Float64Var(&o.unavailable, "unavailable", 0, "share of photos whose first request is answered with 503")
		flags.Float64Var(&o.cut, "cut", 0, "share whose first answer ends in the middle")
		flags.Float64Var(&o.slow, "slow", 0, "share that arrive at 100 kB/s")
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return fmt.Errorf("want one folder, got %d arguments", flags.NArg())
	}
	if o.data.Photos == 0 {
		o.data = synthetic.Quickstart()
	} else {
		o.data.Shape = synthetic.Official
		o.data.Fault = synthetic.Shares(o.data.Seed, map[synthetic.Fault]float64{
			synthetic.Dead: dead, synthetic.ThumbnailOnly: thumbnail, synthetic.Broken: broken, synthetic.TurnedLeft: turned,
		})
		o.metadata = o.metadata || command == "serve"
	}
	if err := write(ctx, flags.Arg(0), o); err != nil || command == "write" {
		return err
	}
	return serve(ctx, flags.Arg(0), o)
}

// write writes the data set beside its final place, so that what is there is complete or the
// old one.
func write(ctx context.Context, name string, o options) error {
	folder := filepath.Clean(name)
	fresh, err := os.MkdirTemp(filepath.Dir(folder), ".mirror-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	writeFiles := o.data.Write
	if o.metadata {
		writeFiles = o.data.WriteMetadata
	}
	if err := writeFiles(ctx, inFolder(fresh)); err != nil {
		return err
	}
	if err := os.Chmod(fresh, 0o755); err != nil {
		return err
	}
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	return os.Rename(fresh, folder)
}

// inFolder creates files below a folder.
func inFolder(folder string) synthetic.Create {
	return func(name string) (io.WriteCloser, error) {
		file := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return nil, err
		}
		return os.Create(file)
	}
}

// serve serves the folder, and photos that are not in it, until the context ends.
func serve(ctx context.Context, folder string, o options) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.address)
	if err != nil {
		return err
	}
	root := "http://" + listener.Addr().String()
	world := mirrortest.New(root)
	world.Stand(synthetic.Hosts()...)
	world.Behind(func(place string) (io.ReadSeekCloser, bool) {
		if photo, ok := o.data.Find(place); ok {
			return mirrortest.Bytes(photo), true
		}
		if !filepath.IsLocal(place) {
			return nil, false
		}
		// What package synthetic writes for a host lies below it, and metadata lie below openimages.
		for _, name := range []string{place, cmp.Or(within(place, "storage.googleapis.com"), place)} {
			f, err := os.Open(filepath.Join(folder, filepath.FromSlash(name)))
			if err != nil {
				continue
			}
			if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
				return f, true
			}
			_ = f.Close() // it was only looked at
		}
		return nil, false
	})
	world.Sprinkle(o.unavailable, 1, mirrortest.RetryAfter(http.StatusServiceUnavailable, "1"))
	world.Sprinkle(o.cut, 1, mirrortest.Cut(1000))
	world.Sprinkle(o.slow, 0, mirrortest.Slow(1000, 10*time.Millisecond))
	printManifest(root, o.data)
	server := &http.Server{Handler: world, ReadHeaderTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() {
		world.Close()
		_ = server.Close() // the process ends
	})
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// printManifest prints the parts of a manifest that make a build read what is served. The metadata
// have URLs of their own: at the official ones, only the official files are taken.
func printManifest(root string, d synthetic.Dataset) {
	folder := root + "/storage.googleapis.com/openimages/2018_04/"
	images := "{subset}/{subset}-images-with-rotation.csv"
	if cmp.Or(d.Subset, "train") == "train" {
		images = "{subset}/{subset}-images-boxable-with-rotation.csv"
	}
	fmt.Printf("# dataset.source\n  source:\n    classes: %sclass-descriptions-boxable.csv\n    hierarchy: %[1]sbbox_labels_600_hierarchy.json\n", folder)
	fmt.Printf("    boxes: %s{subset}/{subset}-annotations-bbox.csv\n    images: %[1]s%s\n", folder, images)
	fmt.Println("mirrors:")
	for _, host := range synthetic.Hosts()[1:] {
		fmt.Printf("  https://%s: %s/%s\n", host, root, host)
	}
}

// within returns the path of a place below a host, or "".
func within(place, host string) string {
	below, err := filepath.Rel(host, place)
	if err != nil || !filepath.IsLocal(below) {
		return ""
	}
	return below
}
