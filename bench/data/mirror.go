package main

import (
	"bufio"
	"context"
	"crypto/md5" // as the tables of Open Images have it
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/synthetic"
)

// Photos of the mirror are of 9 to 60 kB, each of another size and with other bytes.
const (
	smallestPhoto = 9 << 10
	largestPhoto  = 60 << 10
)

// album makes the photos of the mirror by their numbers: a picture and comments, so that
// making one is copying it. Its buffer holds one at a time.
type album struct {
	pictures [][]byte // without their ends
	buf      []byte
}

// newAlbum makes an album of some pictures.
func newAlbum() (*album, error) {
	const pictures = 16
	a := &album{buf: make([]byte, 0, largestPhoto+1<<10)}
	for i := range pictures {
		p, err := synthetic.Dataset{Seed: 1, Photos: pictures, Shape: synthetic.Official}.Photo(i)
		if err != nil {
			return nil, err
		}
		a.pictures = append(a.pictures, p.Original[:len(p.Original)-2])
	}
	return a, nil
}

// photo returns a photo, which is valid until the next.
func (a *album) photo(number int) []byte {
	picture := a.pictures[number%len(a.pictures)]
	size := max(smallestPhoto+number*7919%(largestPhoto-smallestPhoto), len(picture)+64)
	b := append(a.buf[:0], picture...)
	comment := size - len(b) - 2 // and the end of the image
	b = append(b, 0xff, 0xfe, byte((comment-2)>>8), byte(comment-2))
	b = fmt.Appendf(b, "%016x", number)
	from := len(b)
	b = b[:size-2]
	clear(b[from:])
	return append(b, 0xff, 0xd9)
}

func photoPath(number int) string { return fmt.Sprintf("/photos/%016x.jpg", number) }

// serve is the mirror: it serves photos by HTTP/1.1 and, with a certificate that it writes to a
// file, by HTTP/2. It prints the two addresses, and ends with its input.
func serve(certificate string) error {
	first, err := newAlbum()
	if err != nil {
		return err
	}
	albums := make(chan *album, 64) // no album makes two photos at once
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		digits := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/photos/"), ".jpg")
		number, err := strconv.ParseUint(digits, 16, 32)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		var a *album
		select {
		case a = <-albums:
		default:
			a = &album{pictures: first.pictures, buf: make([]byte, 0, cap(first.buf))}
		}
		photo := a.photo(int(number))
		w.Header()["Content-Type"] = []string{"image/jpeg"}
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(photo))}
		_, _ = w.Write(photo) // a client that is gone is no matter
		select {
		case albums <- a:
		default:
		}
	})
	plain := httptest.NewServer(handler)
	defer plain.Close()
	secure := httptest.NewUnstartedServer(handler)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	defer secure.Close()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(certificate, text, 0o644); err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, plain.URL, secure.URL)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// startMirror starts the mirror as a process of its own and returns its addresses. stop ends it.
func startMirror(ctx context.Context, certificate string) (plain, secure string, stop func() error, err error) {
	command := exec.CommandContext(ctx, os.Args[0], "do", "serve", certificate)
	command.Stderr = os.Stderr
	end, err := command.StdinPipe()
	if err != nil {
		return "", "", nil, err
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return "", "", nil, err
	}
	if err := command.Start(); err != nil {
		return "", "", nil, err
	}
	stop = func() error { return errors.Join(end.Close(), command.Wait()) }
	if _, err := fmt.Fscan(bufio.NewReader(out), &plain, &secure); err != nil {
		return "", "", nil, errors.Join(err, stop())
	}
	return plain, secure, stop, nil
}

// The files of writeLists.
const (
	tableFile = "images.csv" // for sandwich
	listFile  = "aria2.txt"
	urlsFile  = "urls.txt" // for img2dataset
)

// writeLists writes what each tool is told of the photos that a mirror has: a table of photos,
// as a selection has it, a list for aria2 and one for img2dataset.
func writeLists(dir, mirror string, photos int) error {
	a, err := newAlbum()
	if err != nil {
		return err
	}
	var lists, urls strings.Builder
	images := func(yield func(openimages.Image) bool) {
		for i := range photos {
			photo, address := a.photo(i), mirror+photoPath(i)
			sum := md5.Sum(photo)
			fmt.Fprintf(&lists, "%s\n out=%016x.jpg\n", address, i)
			fmt.Fprintln(&urls, address)
			if !yield(openimages.Image{
				ImageID: openimages.ImageID(fmt.Sprintf("%016x", i)), Subset: "train", OriginalURL: address,
				OriginalSize: int64(len(photo)), OriginalMD5: base64.StdEncoding.EncodeToString(sum[:]),
			}) {
				return
			}
		}
	}
	table, err := os.Create(filepath.Join(dir, tableFile))
	if err != nil {
		return err
	}
	return errors.Join(
		openimages.WriteSelectedImages(table, images), table.Close(),
		os.WriteFile(filepath.Join(dir, listFile), []byte(lists.String()), 0o644),
		os.WriteFile(filepath.Join(dir, urlsFile), []byte(urls.String()), 0o644),
	)
}

// load asks a mirror for all photos, so many at a time, and throws them away: no client can be
// much faster.
func load(ctx context.Context, table, connections string) (int64, error) {
	n, err := strconv.Atoi(connections)
	if err != nil {
		return 0, err
	}
	images, err := readImages(table)
	if err != nil {
		return 0, err
	}
	read := drain
	if strings.HasPrefix(images[0].OriginalURL, "https:") {
		read = drainSecure
	}
	group, ctx := errgroup.WithContext(ctx)
	for part := range slices.Chunk(images, (len(images)+n-1)/n) {
		group.Go(func() error { return read(ctx, part) })
	}
	return int64(len(images)), group.Wait()
}

// drainSecure asks for photos by HTTP/2.
func drainSecure(ctx context.Context, images []openimages.Image) error {
	buf := make([]byte, 64<<10)
	for _, image := range images {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, image.OriginalURL, nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, answer.Body, buf)
		if err = errors.Join(err, answer.Body.Close()); err != nil {
			return err
		}
		if n != image.OriginalSize || answer.ProtoMajor != 2 {
			return fmt.Errorf("%s: %d bytes by %s, want %d by HTTP/2", image.OriginalURL, n, answer.Proto, image.OriginalSize)
		}
	}
	return nil
}

// drain asks for photos of one host by HTTP/1.1 over one connection.
func drain(ctx context.Context, images []openimages.Image) (err error) {
	at, err := url.Parse(images[0].OriginalURL)
	if err != nil {
		return err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", at.Host)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	in := bufio.NewReaderSize(conn, 64<<10)
	for _, image := range images {
		_, path, _ := strings.Cut(image.OriginalURL, at.Host)
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, at.Host); err != nil {
			return err
		}
		size := -1
		for {
			line, err := in.ReadSlice('\n')
			if err != nil {
				return err
			}
			if len(line) == len("\r\n") {
				break
			}
			if value, ok := strings.CutPrefix(string(line), "Content-Length: "); ok {
				if size, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
					return err
				}
			}
		}
		if size != int(image.OriginalSize) {
			return fmt.Errorf("%s: %d bytes, want %d", image.OriginalURL, size, image.OriginalSize)
		}
		if _, err := in.Discard(size); err != nil {
			return err
		}
	}
	return nil
}

// readImages reads a table of photos.
func readImages(name string) ([]openimages.Image, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	var images []openimages.Image
	for image, err := range openimages.SelectedImages(file, name) {
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
		images = append(images, image)
	}
	return images, file.Close()
}
