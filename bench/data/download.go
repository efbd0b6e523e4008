package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pin"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// img2dataset is what img2dataset is told.
//
//go:embed img2dataset.py
var img2dataset string

// aria2 prints how many photos it fetched. It compares no sums, reserves no space and writes no
// files about its progress, which takes it half of the time.
const aria2 = `aria2c --quiet --no-conf --input-file="$1" --dir="$2" --max-concurrent-downloads="$3" ${4:+--ca-certificate="$4"} --split=1 --file-allocation=none ` +
	`--auto-save-interval=0 && find "$2" -type f | wc -l`

// downloads fetches so many photos from a mirror on this machine with each tool.
func (b *bench) downloads(ctx context.Context, photos int) (err error) {
	t := task{name: "download", what: fmt.Sprintf("%d photos", photos), photos: true, tools: []tool{
		ours("download", "$TABLE", "$OUT"),
		{"sandwich, HTTP/2", ours("download", "$TABLE2", "$OUT").args},
		{"aria2 -j 16", []string{"sh", "-c", aria2, "sh", "$LIST", "$OUT", "16"}},
		{"aria2 -j 64", []string{"sh", "-c", aria2, "sh", "$LIST", "$OUT", "64"}},
		{"aria2 -j 16, TLS", []string{"sh", "-c", aria2, "sh", "$LIST2", "$OUT", "16", "$CERTIFICATE"}},
		{"aria2 -j 64, TLS", []string{"sh", "-c", aria2, "sh", "$LIST2", "$OUT", "64", "$CERTIFICATE"}},
		{"img2dataset", []string{b.img2dataset, "-c", img2dataset, "$URLS", "$OUT", "64"}},
		{"nothing but reading", ours("load", "$TABLE", "64").args},
		{"the same, HTTP/2", ours("load", "$TABLE2", "64").args},
	}}
	if !b.wants(t) {
		return nil
	}
	dir := filepath.Join(b.dir, "photos-"+strconv.Itoa(photos))
	files := map[string]string{
		"$OUT": filepath.Join(dir, "out"), "$CERTIFICATE": filepath.Join(dir, "mirror.pem"),
		"$TABLE": filepath.Join(dir, tableFile), "$TABLE2": filepath.Join(dir, "2", tableFile),
		"$LIST": filepath.Join(dir, listFile), "$LIST2": filepath.Join(dir, "2", listFile), "$URLS": filepath.Join(dir, urlsFile),
	}
	if err := os.MkdirAll(filepath.Dir(files["$TABLE2"]), 0o755); err != nil {
		return err
	}
	plain, secure, stop, err := startMirror(ctx, files["$CERTIFICATE"])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := errors.Join(writeLists(dir, plain, photos), writeLists(filepath.Join(dir, "2"), secure, photos)); err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout)
	return b.measure(ctx, t, files)
}

// download does what the first build of a data set does with its photos: it fetches each,
// compares it with the size and MD5 of the table, stores it by its SHA-256 and notes its pin.
func download(ctx context.Context, table, folder string) (photos int64, err error) {
	file, err := os.Open(table)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }() // it was only read
	store, err := disk.Open(folder)
	if err != nil {
		return 0, err
	}
	journal, err := pin.OpenJournal(filepath.Join(folder, "journal"))
	if err != nil {
		return 0, err
	}
	client, err := fetch.New(fetch.Options{})
	if err != nil {
		return 0, err
	}
	defer client.Close()
	resolver := pin.Resolver{Blobs: pin.Blobs{Client: client, Store: store}, Journal: journal}
	for p, err := range resolver.Photos(ctx, openimages.SelectedImages(file, table), []string{string(pinfile.Original)}, nil, nil) {
		if err != nil {
			return 0, err
		}
		if p.Dead == "" {
			photos++
		}
	}
	// What the others do not write to the disk, or write file by file, is on it now.
	return photos, errors.Join(journal.Close(), store.Close())
}
