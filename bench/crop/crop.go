//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/sandwich-build/sandwich/internal/photo"
	"github.com/sandwich-build/sandwich/internal/photo/jpeg"
)

// serveCrops is our side: what peers.py is for the others.
func serveCrops(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 2 {
		return errors.New("-serve wants a folder and a number of threads")
	}
	threads, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(threads)
	files, err := filepath.Glob(filepath.Join(args[0], "*.jpg"))
	if err != nil {
		return err
	}
	photos := make([][]byte, len(files))
	for i, file := range files {
		if photos[i], err = os.ReadFile(file); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(out, runtime.Version()); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var fraction float64
		var size, passes int
		if _, err := fmt.Sscan(lines.Text(), &fraction, &size, &passes); err != nil {
			return err
		}
		clock, processor := time.Now(), usage().processor
		g, ctx := errgroup.WithContext(context.Background())
		g.SetLimit(threads)
		for i := range passes * len(photos) {
			g.Go(func() error { return crop(ctx, photos[i%len(photos)], fraction, size) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
		now := usage()
		if _, err := fmt.Fprintln(out, time.Since(clock).Seconds(), now.processor-processor, now.peak); err != nil {
			return err
		}
	}
	return lines.Err()
}

// crop cuts the middle of a photo, a fraction of its sides.
func crop(ctx context.Context, data []byte, fraction float64, size int) error {
	f, err := photo.Open(data, photo.DefaultLimits())
	if err != nil {
		return err
	}
	width, height := int(float64(f.Width)*fraction), int(float64(f.Height)*fraction)
	x, y := (f.Width-width)/2, (f.Height-height)/2
	cut := photo.Cut{Region: image.Rect(x, y, x+width, y+height), Size: image.Pt(size, max(1, (height*size+width/2)/width))}
	return f.Cut(ctx, []photo.Cut{cut}, func(_ int, img *image.YCbCr, damage error) error {
		_, err := jpeg.Encode(nil, img, 90)
		return errors.Join(damage, err)
	})
}

// used is what the process has used so far.
type used struct {
	processor float64 // seconds
	peak      float64 // MiB
}

func usage() used {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return used{} // there is no such error
	}
	return used{time.Duration(r.Utime.Nano() + r.Stime.Nano()).Seconds(), float64(r.Maxrss) / 1024}
}
