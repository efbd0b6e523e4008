// Command engine compares what sandwich does with a folder of many small files with what
// tools do that people use for the same work. README.md says what is measured and how.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	b := bench{slow: map[string]bool{}}
	counts := flag.String("files", "1000,10000,100000", "numbers of files of 4 KiB, separated by commas")
	tools := flag.String("tools", "", "only these, separated by commas (default every one that is installed)")
	dir := flag.String("dir", "", "folder to work in (default a temporary one)")
	flag.IntVar(&b.runs, "runs", 3, "runs of which the median is shown")
	flag.DurationVar(&b.most, "most", 5*time.Minute, "a tool of which a step took longer is left out from then on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := b.run(ctx, *dir, *counts, *tools)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "engine:", err)
		os.Exit(1)
	}
}

type bench struct {
	runs  int
	most  time.Duration
	tools []tool
	slow  map[string]bool // tools of which a step took longer than most
}

func (b *bench) run(ctx context.Context, dir, counts, only string) (err error) {
	base, err := os.MkdirTemp(dir, "sandwich-bench-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(base)) }()
	program := filepath.Join(base, "sandwich")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/sandwich").CombinedOutput(); err != nil {
		return fmt.Errorf("go build ./cmd/sandwich: %w\n%s", err, out)
	}
	for _, t := range []tool{sandwich(program), git(), restic(), makefile(), snakemake(), dvc()} {
		if only != "" && !slices.Contains(strings.Split(only, ","), t.name) {
			continue
		}
		if _, err := exec.LookPath(t.program); err != nil {
			fmt.Fprintf(os.Stderr, "%s is not installed\n", t.name)
			continue
		}
		b.tools = append(b.tools, t)
	}
	for field := range strings.SplitSeq(counts, ",") {
		n, err := strconv.Atoi(field)
		if err == nil {
			err = b.compare(ctx, base, n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// cost is what a step took.
type cost struct {
	time   time.Duration
	memory int64 // the most bytes that one of its processes had at a time
}

// compare measures every tool on the same n files, in turns, so that what else the
// machine does is shared fairly. Nothing is removed before the end: ext4 does not use
// inodes again that were freed in the last minutes, and looks at each of them whenever a
// file is made, which takes several times as long then, whoever makes it.
func (b *bench) compare(ctx context.Context, base string, n int) error {
	costs := map[string][]cost{}
	for run := range b.runs {
		for i := range b.tools {
			t := b.tools[(i+run)%len(b.tools)] // none is always first
			if b.slow[t.name] {
				continue
			}
			p := place{work: filepath.Join(base, fmt.Sprintf("%s-%d-%d", t.name, n, run)), n: n}
			if err := b.measure(ctx, t, p, costs); err != nil {
				return fmt.Errorf("%s, %d files: %w", t.name, n, err)
			}
		}
	}
	b.print(n, costs)
	return nil
}

// settle is waited after files were written: git and sandwich read a file once more that
// was written a moment before it was read.
const settle = 200 * time.Millisecond

func (b *bench) measure(ctx context.Context, t tool, p place, costs map[string][]cost) error {
	if err := writeFiles(p.src(), p.n); err != nil {
		return err
	}
	time.Sleep(settle)
	for _, s := range steps {
		if s == change {
			if err := os.WriteFile(filepath.Join(p.src(), fileName(p.n/2)), []byte("changed"), 0o666); err != nil {
				return err
			}
			time.Sleep(settle)
		}
		if t.steps[s] == nil {
			continue
		}
		if t.prepare[s] != nil {
			if err := t.prepare[s](p); err != nil {
				return err
			}
		}
		c, err := t.take(ctx, s, p)
		if err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
		costs[t.name+string(s)] = append(costs[t.name+string(s)], c)
		fmt.Fprintf(os.Stderr, "%d files  %-9s  %-16s  %8.3f s  %5d MiB\n", p.n, t.name, s, c.time.Seconds(), c.memory>>20)
		b.slow[t.name] = b.slow[t.name] || c.time > b.most
	}
	if t.steps[checkout] == nil {
		return nil
	}
	got, err := os.ReadFile(filepath.Join(p.dest(), fileName(p.n/2)))
	if err == nil && string(got) != "changed" {
		err = fmt.Errorf("checkout wrote %q", got)
	}
	return err
}

// print shows the medians, and how many times as long as the first tool each took.
func (b *bench) print(n int, costs map[string][]cost) {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "files\tstep")
	for _, t := range b.tools {
		fmt.Fprintf(table, "\t%s", t.name)
	}
	fmt.Fprintln(table)
	for _, s := range steps {
		fmt.Fprintf(table, "%d\t%s", n, s)
		first := median(costs[b.tools[0].name+string(s)])
		for i, t := range b.tools {
			c := median(costs[t.name+string(s)])
			switch {
			case c.time == 0:
				fmt.Fprint(table, "\t–")
			case i == 0 || first.time == 0:
				fmt.Fprintf(table, "\t%.3f s, %d MiB", c.time.Seconds(), c.memory>>20)
			default:
				fmt.Fprintf(table, "\t%.3f s (%.1f×), %d MiB", c.time.Seconds(), float64(c.time)/float64(first.time), c.memory>>20)
			}
		}
		fmt.Fprintln(table)
	}
	fmt.Fprintln(table)
	_ = table.Flush() // there is nobody to tell
}

// median takes time and memory apart.
func median(costs []cost) cost {
	if len(costs) == 0 {
		return cost{}
	}
	var c cost
	slices.SortFunc(costs, func(a, b cost) int { return int(a.time - b.time) })
	c.time = costs[len(costs)/2].time
	slices.SortFunc(costs, func(a, b cost) int { return int(a.memory - b.memory) })
	c.memory = costs[len(costs)/2].memory
	return c
}

// fileSize is that of a small crop.
const fileSize = 4 << 10

// fileName mixes folders as data sets do: most files lie a thousand to a folder, one in
// four a hundred to a folder, three deep.
func fileName(i int) string {
	if i%4 == 0 {
		return fmt.Sprintf("more/%02d/%03d/%06d.jpg", i/10000, i/400, i)
	}
	return fmt.Sprintf("%03d/%06d.jpg", i/1333, i)
}

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
		err := os.WriteFile(name, data, 0o666)
		if errors.Is(err, os.ErrNotExist) {
			if err = os.MkdirAll(filepath.Dir(name), 0o777); err == nil {
				err = os.WriteFile(name, data, 0o666)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
