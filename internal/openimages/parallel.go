package openimages

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"sync"

	"golang.org/x/sync/errgroup"
)

// chunkSize is how many bytes of a file a goroutine works on at a time. Below 256 KiB what
// each chunk costs shows in the scan's time; more takes memory and gains nothing.
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
type chunk struct {
	number   int    // of the chunk, in the order of the file
	text     []byte // the piece
	line     int    // where it starts
	unquoted bool   // it holds no quote
	err      error  // in place of a piece: what ended the file
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
	workers := max(s.workers, 1)
	c := &cutter{
		scanner: s, comma: head.comma, eol: head.eol, line: head.line, ended: head.eof,
		rest: head.buf[min(head.pos+head.taken, head.end):head.end],
	}
	results := newOrdered(2*workers, collect)
	group, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, results.stop)()
	for range workers {
		// Each reads, and then works on what it has read, so that nothing is handed over: waking up
		// another goroutine takes as long as some hundred rows.
		group.Go(func() error {
			var buf []byte
			for ctx.Err() == nil {
				piece, ok := c.next(&buf)
				if !ok {
					return nil
				}
				made, err := *new(T), piece.err
				if err == nil {
					t := &table{
						file: head.file, buf: piece.text, end: len(piece.text), eof: true, header: head.header,
						comma: head.comma, eol: head.eol, line: piece.line, unquoted: piece.unquoted,
					}
					made, err = work(each(t, view.on(t)))
				}
				if err := results.put(piece.number, made, err); err != nil {
					return err
				}
			}
			return context.Cause(ctx)
		})
	}
	return group.Wait()
}

// cutter cuts what follows the header of a file into chunks.
type cutter struct {
	scanner
	comma, eol byte

	mu     sync.Mutex // guards what follows
	rest   []byte     // read, and in no chunk yet
	line   int        // where rest starts
	ended  bool       // there is nothing more to read
	number int        // of the next chunk
}

// next returns the next chunk, in buf, which it makes larger if need be; false when there is
// none. What ends the file early is a chunk too, so that it comes after the faults before it.
func (c *cutter) next(buf *[]byte) (chunk, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.ended || len(c.rest) > 0 {
		if need := len(c.rest) + c.size; len(*buf) < need {
			*buf = make([]byte, need+maxPlain) // the next rest may be a longer piece of a row
		}
		text := (*buf)[:len(c.rest)+c.size]
		n := copy(text, c.rest)
		if !c.ended {
			read, err := io.ReadFull(c.src, text[n:])
			n += read
			switch err {
			case nil:
			case io.EOF, io.ErrUnexpectedEOF:
				c.ended = true
			default:
				c.rest, c.ended = nil, true
				return c.cut(chunk{err: fmt.Errorf("read %s: %w", c.file, err)}), true
			}
		}
		text = text[:n]
		piece := chunk{text: text, line: c.line, unquoted: bytes.IndexByte(text, '"') < 0}
		if !c.ended {
			piece.text = text[:wholeRows(text, c.comma, c.eol, piece.unquoted)]
		}
		c.rest = append(c.rest[:0], text[len(piece.text):]...)
		if len(piece.text) == 0 && len(c.rest) < maxRow {
			continue // a row is longer than a chunk
		}
		if len(piece.text) == 0 {
			piece.text, c.rest, c.ended = text, nil, true // the table says what is wrong
		}
		c.line += bytes.Count(piece.text, []byte{c.eol})
		return c.cut(piece), true
	}
	return chunk{}, false
}

// cut numbers a chunk; the caller holds mu.
func (c *cutter) cut(piece chunk) chunk {
	piece.number = c.number
	c.number++
	return piece
}

// ordered brings what became of chunks into the order of the file.
type ordered[T any] struct {
	collect func(T) error
	ahead   int // of the first that is not collected: how far a chunk may be

	mu      sync.Mutex // guards what follows
	moved   sync.Cond  // next has grown, or stopped is set
	done    map[int]outcome[T]
	next    int   // to be collected
	busy    bool  // somebody collects
	stopped bool  // nothing more is collected
	err     error // why
}

// outcome is what became of a chunk.
type outcome[T any] struct {
	made T
	err  error
}

func newOrdered[T any](ahead int, collect func(T) error) *ordered[T] {
	l := &ordered[T]{collect: collect, ahead: ahead, done: map[int]outcome[T]{}}
	l.moved.L = &l.mu
	return l
}

// put tells what became of a chunk. It waits if that is far ahead of the first that is not
// collected, so that memory is bounded. Who brings that one collects it and those that follow.
// It returns the first error in the order of the file.
func (l *ordered[T]) put(number int, made T, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done[number] = outcome[T]{made, err}
	for number >= l.next+l.ahead && !l.stopped {
		l.moved.Wait()
	}
	if l.busy {
		return l.err
	}
	l.busy = true
	for !l.stopped {
		o, ok := l.done[l.next]
		if !ok {
			break
		}
		delete(l.done, l.next)
		l.mu.Unlock()
		if o.err == nil {
			o.err = l.collect(o.made)
		}
		l.mu.Lock()
		l.next++
		l.err, l.stopped = o.err, l.stopped || o.err != nil
		l.moved.Broadcast()
	}
	l.busy = false
	return l.err
}

// stop lets nobody wait any more.
func (l *ordered[T]) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	l.moved.Broadcast()
}

// wholeRows returns how many bytes of text, which starts with a row, are whole rows. Rows are as
// table reads them.
func wholeRows(text []byte, comma, eol byte, unquoted bool) int {
	if unquoted {
		return bytes.LastIndexByte(text, eol) + 1
	}
	quote := -1 // the first one from n on
	for n := 0; ; {
		if quote < n {
			if quote = indexFrom(text, n, '"'); quote < 0 {
				return n + bytes.LastIndexByte(text[n:], eol) + 1
			}
		}
		end := indexFrom(text, n, eol) + 1
		if end > quote {
			end = quotedRow(text, n, quote, end, comma, eol)
		}
		if end <= 0 {
			return n
		}
		n = end
	}
}

// quotedRow returns the end of a row of text whose first quote and line end are known; 0 if text
// does not hold all of it.
func quotedRow(text []byte, from, quote, end int, comma, eol byte) int {
	for {
		at := quote + 1
		// Where a field starts with a quote, it goes on to one that is not followed by another. Within
		// a field, a quote is a character like others.
		if quote == from || text[quote-1] == comma {
			for {
				quote = indexFrom(text, at, '"')
				if at = quote + 1; quote < 0 || at == len(text) {
					return 0
				}
				if text[at] != '"' {
					break
				}
				at++
			}
			if at >= end {
				if end = indexFrom(text, at, eol) + 1; end == 0 {
					return 0
				}
			}
			if text[at] != comma { // the end of the row, or a fault in it
				return end
			}
		}
		if quote = indexFrom(text[:end], at, '"'); quote < 0 {
			return end
		}
	}
}

// indexFrom returns where the first c is in text[from:]; -1 if there is none.
func indexFrom(text []byte, from int, c byte) int {
	i := bytes.IndexByte(text[from:], c)
	if i < 0 {
		return -1
	}
	return from + i
}
