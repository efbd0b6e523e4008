package openimages

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"

	"golang.org/x/sync/errgroup"
)

// chunkSize is how many bytes of a file a goroutine works on at a time. Below 256 KiB handing
// them over shows in the scan's time; more takes memory and gains nothing.
const chunkSize = 512 << 10

// ScanBoxes reads a box file as Boxes does, with several goroutines. Each gets pieces of the
// file, rows that follow each other, and makes something of each with work; what it made goes
// to collect, in the order of the file and one at a time. Rows end with their first error,
// which work must return. The first error in the order of the file ends the scan and is
// returned; so is the end of the context.
func ScanBoxes[T any](ctx context.Context, src io.Reader, file string, workers int,
	work func(rows iter.Seq2[*BoxRow, error]) (T, error), collect func(T) error,
) error {
	return scan(ctx, scanner{src, file, workers, chunkSize}, openBoxes, work, collect)
}

// ScanImages is ScanBoxes for an image file.
func ScanImages[T any](ctx context.Context, src io.Reader, file string, workers int,
	work func(rows iter.Seq2[*ImageRow, error]) (T, error), collect func(T) error,
) error {
	return scan(ctx, scanner{src, file, workers, chunkSize}, openImages, work, collect)
}

// scanner says what is read in parallel, and how.
type scanner struct {
	src     io.Reader
	file    string
	workers int
	size    int // of a chunk, bytes
}

// chunk is a piece of a file that starts and ends with a row.
type chunk[T any] struct {
	buf      []byte // the piece and room behind it
	n        int    // bytes of the piece
	line     int    // where it starts
	unquoted bool   // it holds no quote
	done     chan outcome[T]
}

// outcome is what became of a chunk.
type outcome[T any] struct {
	made T
	err  error
}

func scan[R row[R], T any](ctx context.Context, s scanner, open func(*table) (R, error),
	work func(iter.Seq2[R, error]) (T, error), collect func(T) error,
) error {
	head, err := openTable(s.src, s.file)
	if err != nil {
		return err
	}
	view, err := open(head)
	if err != nil {
		return err
	}
	// As many chunks wait to be worked on as are worked on, and none is let far ahead of the
	// slowest: so memory is bounded.
	todo := make(chan *chunk[T], max(s.workers, 1))
	order := make(chan *chunk[T], 2*cap(todo))
	free := make(chan []byte, cap(todo)+cap(order)+2)
	group, ctx := errgroup.WithContext(ctx)
	give := func(c *chunk[T]) error {
		for _, to := range []chan *chunk[T]{order, todo} {
			select {
			case to <- c:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	}
	group.Go(func() error {
		defer close(order)
		defer close(todo)
		return cut(head, s, free, give)
	})
	for range cap(todo) {
		group.Go(func() error {
			for c := range todo {
				t := &table{
					file: head.file, buf: c.buf[:c.n], end: c.n, eof: true, header: head.header,
					comma: head.comma, eol: head.eol, line: c.line, unquoted: c.unquoted,
				}
				made, err := work(each(t, view.on(t)))
				c.done <- outcome[T]{made, err}
				free <- c.buf // has room for all that there are
			}
			return nil
		})
	}
	group.Go(func() error {
		for c := range order {
			select {
			case o := <-c.done:
				if o.err == nil {
					o.err = collect(o.made)
				}
				if o.err != nil {
					return o.err
				}
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	return group.Wait()
}

// cut cuts what follows the header into chunks and gives them away. What ends the file
// early is given as the outcome of a last chunk, so that it comes after the faults before it.
func cut[T any](head *table, s scanner, free <-chan []byte, give func(*chunk[T]) error) error {
	rest := head.buf[min(head.pos+head.taken, head.end):head.end]
	line, ended := head.line, head.eof
	for !ended || len(rest) > 0 {
		var buf []byte
		select {
		case buf = <-free:
		default:
		}
		if cap(buf) < len(rest)+s.size {
			buf = make([]byte, len(rest)+s.size)
		}
		buf = buf[:cap(buf)]
		n := copy(buf, rest)
		if !ended {
			read, err := io.ReadFull(s.src, buf[n:n+s.size])
			n += read
			switch err {
			case nil:
			case io.EOF, io.ErrUnexpectedEOF:
				ended = true
			default:
				c := &chunk[T]{done: make(chan outcome[T], 1)}
				c.done <- outcome[T]{err: fmt.Errorf("read %s: %w", s.file, err)}
				return give(c)
			}
		}
		c := &chunk[T]{buf: buf, n: n, line: line, unquoted: bytes.IndexByte(buf[:n], '"') < 0, done: make(chan outcome[T], 1)}
		if !ended {
			c.n = wholeRows(buf[:n], head.comma, head.eol, c.unquoted)
		}
		rest = bytes.Clone(buf[c.n:n])
		if c.n == 0 && len(rest) < maxRow {
			continue // a row is longer than a chunk
		}
		if c.n == 0 {
			c.n, rest, ended = n, nil, true // the table says what is wrong
		}
		line += bytes.Count(buf[:c.n], []byte{head.eol})
		if err := give(c); err != nil {
			return err
		}
	}
	return nil
}

// wholeRows returns how many bytes of text, which starts with a row, are whole rows.
func wholeRows(text []byte, comma, eol byte, unquoted bool) int {
	if unquoted {
		return bytes.LastIndexByte(text, eol) + 1
	}
	n := 0
	for {
		row, ok := rowLength(text[n:], comma, eol)
		if !ok {
			return n
		}
		n += row
	}
}

// rowLength returns how many bytes the first row of text takes with its line end, and whether
// text holds all of it. Rows are as table reads them.
func rowLength(text []byte, comma, eol byte) (int, bool) {
	lineEnd := func(from int) (int, bool) {
		i := bytes.IndexByte(text[from:], eol)
		return from + i + 1, i >= 0
	}
	end, ok := lineEnd(0)
	if !ok || bytes.IndexByte(text[:end], '"') < 0 {
		return end, ok
	}
	for from := 0; ; {
		if text[from] != '"' {
			i := bytes.IndexByte(text[from:end], comma)
			if i < 0 {
				return end, true
			}
			from += i + 1
			continue
		}
		from++
		for {
			i := bytes.IndexByte(text[from:], '"')
			if i < 0 || from+i+1 == len(text) {
				return 0, false
			}
			if from += i + 1; text[from] != '"' {
				break
			}
			from++
		}
		if end, ok = lineEnd(from); !ok {
			return 0, false
		}
		if text[from] != comma { // the end of the row, or a fault in it
			return end, true
		}
		from++
	}
}
