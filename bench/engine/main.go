// Command engine compares the content store with tools that people use for the same
// work: how long it takes to take a folder of small files in, to take it in again after
// one file has changed, and to write it out. README.md says what is measured and how.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

func main() {
	counts := flag.String("files", "1000,10000,100000", "numbers of files of 4 KiB, separated by commas")
	runs := flag.Int("runs", 3, "runs of which the median is shown")
	dir := flag.String("dir", "", "folder to work in (default a temporary one)")
	flag.Parse()
	if err := bench(context.Background(), *dir, *counts, *runs); err != nil {
		fmt.Fprintln(os.Stderr, "engine:", err)
		os.Exit(1)
	}
}

// tool takes a folder in and writes it out. Its work lies in a folder of its own.
type tool interface {
	name() string
	// ingest takes in what is below src, for the first time or again.
	ingest(ctx context.Context, work, src string) error
	// checkout writes what was taken in last to dest, which does not exist.
	checkout(ctx context.Context, work, src, dest string) error
}

// steps are what is measured of each tool, in this order.
var steps = []string{"ingest", "one file changed", "checkout"}

func bench(ctx context.Context, dir, counts string, runs int) (err error) {
	base, err := os.MkdirTemp(dir, "sandwich-bench-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(base)) }()
	tools := []tool{store{}}
	for _, t := range []tool{git{}, restic{}} {
		if _, err := exec.LookPath(t.name()); err != nil {
			fmt.Printf("%s is not installed\n", t.name())
			continue
		}
		tools = append(tools, t)
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "files\tstep")
	for _, t := range tools {
		fmt.Fprintf(table, "\t%s", t.name())
	}
	fmt.Fprintln(table)
	for field := range strings.SplitSeq(counts, ",") {
		n, err := strconv.Atoi(field)
		if err != nil {
			return err
		}
		if err := compare(ctx, table, tools, base, n, runs); err != nil {
			return err
		}
	}
	return nil
}

// compare measures every tool on the same n files, in turns, so that what else the
// machine does is shared fairly.
func compare(ctx context.Context, table *tabwriter.Writer, tools []tool, base string, n, runs int) error {
	took := make(map[string][]time.Duration)
	for run := range runs {
		for _, t := range tools {
			work := filepath.Join(base, fmt.Sprintf("%s-%d-%d", t.name(), n, run))
			times, err := measure(ctx, t, work, n)
			if err != nil {
				return fmt.Errorf("%s: %w", t.name(), err)
			}
			for i, step := range steps {
				took[t.name()+step] = append(took[t.name()+step], times[i])
			}
			if err := os.RemoveAll(work); err != nil {
				return err
			}
		}
	}
	for _, step := range steps {
		fmt.Fprintf(table, "%d\t%s", n, step)
		for _, t := range tools {
			times := took[t.name()+step]
			slices.Sort(times)
			fmt.Fprintf(table, "\t%.3f s", times[len(times)/2].Seconds())
		}
		fmt.Fprintln(table)
	}
	return table.Flush()
}

// measure returns how long each step took.
func measure(ctx context.Context, t tool, work string, n int) ([]time.Duration, error) {
	src := filepath.Join(work, "src")
	if err := writeFiles(src, n); err != nil {
		return nil, err
	}
	var times []time.Duration
	timed := func(f func() error) error {
		start := time.Now()
		err := f()
		times = append(times, time.Since(start))
		return err
	}
	if err := timed(func() error { return t.ingest(ctx, work, src) }); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(src, fileName(n/2)), []byte("changed"), 0o666); err != nil {
		return nil, err
	}
	if err := timed(func() error { return t.ingest(ctx, work, src) }); err != nil {
		return nil, err
	}
	dest := filepath.Join(work, "dest")
	if err := timed(func() error { return t.checkout(ctx, work, src, dest) }); err != nil {
		return nil, err
	}
	got, err := os.ReadFile(filepath.Join(dest, fileName(n/2)))
	if err == nil && string(got) != "changed" {
		err = fmt.Errorf("wrote %q out", got)
	}
	return times, err
}

// fileSize is that of a small crop.
const fileSize = 4 << 10

// fileName puts 1,000 files into each folder, as datasets by label do.
func fileName(i int) string { return fmt.Sprintf("%03d/%06d.jpg", i/1000, i) }

// writeFiles writes n files that do not compress, as pictures do not.
func writeFiles(dir string, n int) error {
	data := make([]byte, fileSize)
	state := uint64(1)
	for i := range n {
		for j := range data {
			state ^= state << 13
			state ^= state >> 7
			state ^= state << 17
			data[j] = byte(state)
		}
		name := filepath.Join(dir, fileName(i))
		if i%1000 == 0 {
			if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
				return err
			}
		}
		if err := os.WriteFile(name, data, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// store is the content store, used as a stage uses it.
type store struct{}

func (store) name() string { return "sandwich" }

// action is what the tree is recorded under.
var action = cas.Sum([]byte("bench"))

func (store) ingest(ctx context.Context, work, src string) error {
	s, err := disk.Open(filepath.Join(work, "store"))
	if err != nil {
		return err
	}
	out := cas.NewBuilder(s)
	group, ctx2 := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	err = filepath.WalkDir(src, func(name string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(src, name)
		if err != nil {
			return err
		}
		group.Go(func() error {
			f, err := os.Open(name)
			if err != nil {
				return err
			}
			return errors.Join(out.Put(ctx2, filepath.ToSlash(rel), f), f.Close())
		})
		return nil
	})
	if err := errors.Join(err, group.Wait()); err != nil {
		return err
	}
	tree, err := out.Commit(ctx)
	if err != nil {
		return err
	}
	return errors.Join(s.Record(ctx, action, cas.Result{Tree: tree.ID()}), s.Close())
}

func (store) checkout(ctx context.Context, work, _, dest string) error {
	s, err := disk.Open(filepath.Join(work, "store"))
	if err != nil {
		return err
	}
	r, err := s.Result(ctx, action)
	if err != nil {
		return err
	}
	group, ctx2 := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	made := ""
	for f, err := range cas.NewTree(s, r.Tree).Files(ctx) {
		if err != nil {
			return err
		}
		name := filepath.Join(dest, filepath.FromSlash(f.Path))
		if dir := filepath.Dir(name); dir != made { // files come sorted
			if err := os.MkdirAll(dir, 0o777); err != nil {
				return err
			}
			made = dir
		}
		group.Go(func() error { return writeOut(ctx2, s, f.Digest, name) })
	}
	return errors.Join(group.Wait(), s.Close())
}

func writeOut(ctx context.Context, s cas.Store, d cas.Digest, name string) error {
	r, err := s.Open(ctx, d)
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

type git struct{}

func (git) name() string { return "git" }

func (g git) ingest(ctx context.Context, work, src string) error {
	repo := "--git-dir=" + filepath.Join(work, "git")
	if _, err := os.Stat(filepath.Join(work, "git")); err != nil {
		if err := command(ctx, nil, "git", repo, "init", "-q"); err != nil {
			return err
		}
	}
	if err := command(ctx, nil, "git", repo, "--work-tree="+src, "add", "-A"); err != nil {
		return err
	}
	return command(ctx, nil, "git", repo, "--work-tree="+src, "-c", "user.name=b", "-c", "user.email=b@example.org",
		"-c", "gc.auto=0", "commit", "-q", "-m", "bench")
}

func (git) checkout(ctx context.Context, work, _, dest string) error {
	if err := os.Mkdir(dest, 0o777); err != nil {
		return err
	}
	return command(ctx, nil, "git", "--git-dir="+filepath.Join(work, "git"), "--work-tree="+dest, "checkout", "-q", "-f", "HEAD", "--", ".")
}

type restic struct{}

func (restic) name() string { return "restic" }

func (restic) env(work string) []string {
	return []string{"RESTIC_PASSWORD=bench", "RESTIC_REPOSITORY=" + filepath.Join(work, "restic"), "RESTIC_CACHE_DIR=" + filepath.Join(work, "cache")}
}

func (r restic) ingest(ctx context.Context, work, src string) error {
	if _, err := os.Stat(filepath.Join(work, "restic")); err != nil {
		if err := command(ctx, r.env(work), "restic", "init", "-q"); err != nil {
			return err
		}
	}
	return command(ctx, r.env(work), "restic", "backup", "-q", src)
}

func (r restic) checkout(ctx context.Context, work, src, dest string) error {
	tmp := dest + ".tmp"
	if err := command(ctx, r.env(work), "restic", "restore", "-q", "latest", "--target", tmp); err != nil {
		return err
	}
	return os.Rename(filepath.Join(tmp, src), dest)
}

func command(ctx context.Context, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}
