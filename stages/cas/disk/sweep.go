package disk

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/pack"
)

// Swept says what Sweep has removed, or would remove.
type Swept struct {
	Blobs int   // places of blobs
	Bytes int64 // on the disk
	Left  int64 // bytes of packs that nobody needs, and that are not worth a copy yet
}

// wasteShare is the part of a pack (one in so many bytes) that nobody must need before
// Sweep copies what is needed to another pack.
const wasteShare = 10

// Sweep removes the blobs that keep does not want kept, and what killed processes have
// left behind. With dry it only says what it would remove. Without, the caller must have
// the store to itself: see Alone.
//
// It can be killed at any moment: what is to be kept is durable in its new place before
// it leaves the old one.
func (s *Store) Sweep(ctx context.Context, keep func(cas.Digest) bool, dry bool) (Swept, error) {
	var total Swept
	if !dry {
		// Nobody else has the store, so nobody can look for a blob between this and its removal.
		if err := s.gone.note(func() error { return nil }); err != nil {
			return total, fmt.Errorf("sweep: %w", err)
		}
	}
	if err := s.sweepPacks(ctx, keep, dry, &total); err != nil {
		return total, fmt.Errorf("sweep packs: %w", err)
	}
	if err := s.sweepFiles(ctx, keep, dry, &total); err != nil {
		return total, fmt.Errorf("sweep blobs: %w", err)
	}
	for _, dir := range []string{tmpDir, damagedDir, locksDir} {
		if err := s.sweepDir(dir, dry, &total); err != nil {
			return total, fmt.Errorf("sweep %s: %w", dir, err)
		}
	}
	return total, nil
}

func (s *Store) sweepFiles(ctx context.Context, keep func(cas.Digest) bool, dry bool, total *Swept) error {
	var fault error
	s.files(ctx, blobsDir, func(name string, sum [sha256.Size]byte, info fs.FileInfo, err error) bool {
		if err != nil || keep(cas.DigestOf(sum, info.Size())) {
			fault = err
			return err == nil
		}
		total.Blobs++
		total.Bytes += info.Size()
		if !dry {
			fault = os.Remove(name)
		}
		return fault == nil
	})
	return fault
}

// sweepDir removes the files in a folder that hold nothing anybody needs while nobody
// is at work.
func (s *Store) sweepDir(dir string, dry bool, total *Swept) error {
	return filepath.WalkDir(filepath.Join(s.root, dir), func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		total.Bytes += info.Size()
		if dry {
			return nil
		}
		return os.Remove(name)
	})
}

func (s *Store) sweepPacks(ctx context.Context, keep func(cas.Digest) bool, dry bool, total *Swept) error {
	if err := s.packs.close(); err != nil { // also ends appending to one that will go
		return err
	}
	if err := s.packs.refresh(); err != nil {
		return err
	}
	list := s.packs.known()
	w := sweeper{packs: &s.packs, keep: keep, next: 1}
	if len(list) > 0 {
		w.next = list[len(list)-1].id + 1
	}
	for _, p := range list {
		plan, err := w.weigh(ctx, p)
		if err != nil {
			return err
		}
		if len(plan.live) > 0 && plan.waste*wasteShare < plan.size {
			total.Left += plan.waste
			continue
		}
		total.Blobs += plan.dead
		total.Bytes += plan.waste
		if dry {
			continue
		}
		if err := errors.Join(w.move(ctx, plan), w.finish()); err != nil {
			return err
		}
		if err := pack.Remove(s.packs.base(p.id)); err != nil {
			return err
		}
	}
	return errors.Join(s.packs.close(), s.packs.refresh())
}

// sweeper moves what is kept of packs to new ones, whose numbers begin at next.
type sweeper struct {
	packs *packs
	keep  func(cas.Digest) bool
	next  int
	id    int          // of out
	out   *pack.Writer // nil before the first blob and after finish
}

// weighed says what of a pack is needed.
type weighed struct {
	numbered
	live  []pack.Place
	dead  int
	size  int64 // of the file
	waste int64 // bytes that no kept blob needs
}

func (w *sweeper) weigh(ctx context.Context, p numbered) (weighed, error) {
	size, err := p.Size()
	if err != nil {
		return weighed{}, err
	}
	plan := weighed{numbered: p, size: size, waste: size}
	err = p.Places(func(at pack.Place) bool {
		if !w.keep(at.Digest) {
			plan.dead++
			return ctx.Err() == nil
		}
		plan.live = append(plan.live, at)
		plan.waste -= min(plan.waste, at.Length())
		return ctx.Err() == nil
	})
	return plan, errors.Join(err, context.Cause(ctx))
}

// move copies what is kept of a pack. What is damaged stays behind and goes with it.
func (w *sweeper) move(ctx context.Context, plan weighed) error {
	for _, at := range plan.live {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		data, whole, err := plan.Read(at)
		if err != nil {
			return err
		}
		if !whole {
			continue
		}
		record := append(make([]byte, pack.HeaderSize, pack.HeaderSize+len(data)), data...)
		if err := w.append(at.Digest, record); err != nil {
			return err
		}
	}
	return nil
}

func (w *sweeper) append(d cas.Digest, record []byte) error {
	for w.out == nil || w.out.Full() {
		if err := w.finish(); err != nil {
			return err
		}
		out, err := pack.Append(w.packs.base(w.next), w.packs.limit)
		if err != nil && !errors.Is(err, pack.ErrFull) {
			return err
		}
		w.out, w.id = out, w.next
		w.next++
	}
	return w.out.Append(d, record)
}

// finish makes what was moved durable. The next pack to sweep fills the same new one.
func (w *sweeper) finish() error {
	if w.out == nil {
		return nil
	}
	out := w.out
	w.out = nil
	if !out.Full() {
		w.next = w.id
	}
	return errors.Join(out.Close(), syncDir(w.packs.dir))
}
