//go:build unix

// Command crop measures how long a crop of a photo takes, from JPEG to JPEG, with this
// project and with others, in turns, and prints medians and ratios. See README.md.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench/crop:", err)
		os.Exit(1)
	}
}

// peer is a program to measure; the folder of photos and a number of threads are appended
// to its command.
type peer struct {
	name    string
	command []string
}

func run() error {
	var peers []peer
	flag.Func("peer", "`name=command` that runs peers.py; may be repeated", func(s string) error {
		name, command, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("want name=command")
		}
		peers = append(peers, peer{name, strings.Fields(command)})
		return nil
	})
	photos := flag.String("photos", "", "`folder` with the photos, in folders by their width")
	rounds := flag.Int("rounds", 5, "how many `times` each is measured")
	seconds := flag.Float64("seconds", 0.2, "how `long` a measurement takes")
	widths := numbers("widths", "320,1024,4000", "of photos")
	sizes := numbers("sizes", "64,128,256,512", "of crops")
	threads := numbers("threads", "1,2", "of threads")
	serve := flag.Bool("serve", false, "be the measured process")
	flag.Parse()
	if *serve {
		return serveCrops(flag.Args(), os.Stdin, os.Stdout)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	peers = append([]peer{{"sandwich", []string{self, "-serve"}}}, peers...)
	for _, n := range *threads {
		for _, width := range *widths {
			b := bench{peers: peers, folder: filepath.Join(*photos, strconv.Itoa(width)), threads: n, rounds: *rounds, seconds: *seconds}
			if err := b.compare(width, *sizes); err != nil {
				return err
			}
		}
	}
	return nil
}

// numbers defines a flag that is a list of numbers.
func numbers(name, value, of string) *[]int {
	list := new([]int)
	parse := func(s string) error {
		*list = nil
		for field := range strings.SplitSeq(s, ",") {
			n, err := strconv.Atoi(field)
			if err != nil {
				return err
			}
			*list = append(*list, n)
		}
		return nil
	}
	_ = parse(value) // a constant
	flag.Func(name, "`numbers` "+of+" to measure; "+value+" by default", parse)
	return list
}

// fractions are the sides of the boxes as fractions of the photo's.
var fractions = []float64{1, 0.5, 0.25}

type bench struct {
	peers   []peer
	folder  string
	threads int
	rounds  int
	seconds float64
}

// contestant is a running process that is measured.
type contestant struct {
	name, version string
	in            io.WriteCloser
	out           *bufio.Scanner
	cmd           *exec.Cmd
	peak          float64   // MiB
	passes        int       // through the photos in a measurement
	samples       []float64 // milliseconds of processor, or of the clock, for a crop
}

// compare prints a row for each size of crops and each box.
func (b *bench) compare(width int, sizes []int) (err error) {
	photos, err := filepath.Glob(filepath.Join(b.folder, "*.jpg"))
	if err != nil || len(photos) == 0 {
		return fmt.Errorf("no photos in %s: %w", b.folder, err)
	}
	var all []*contestant
	defer func() {
		for _, c := range all {
			err = errors.Join(err, c.in.Close(), c.cmd.Wait())
		}
	}()
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	fmt.Printf("\nphotos of %d pixels, %d threads: ms a crop, median of %d\n\n", width, b.threads, b.rounds)
	fmt.Fprint(table, "| crop\t| box")
	for _, p := range b.peers {
		c, err := b.start(p)
		if err != nil {
			return err
		}
		all = append(all, c)
		fmt.Fprintf(table, "\t| %s %s", c.name, c.version)
	}
	fmt.Fprintln(table, "\t| ahead of the best\t|")
	fmt.Fprintln(table, "|---"+strings.Repeat("\t|---", len(all)+2)+"\t|")
	for _, size := range sizes {
		for _, fraction := range fractions {
			if err := b.measure(all, len(photos), fraction, size); err != nil {
				return err
			}
			row(table, all, fraction, size)
		}
	}
	fmt.Fprint(table, "| peak MiB\t| ")
	for _, c := range all {
		fmt.Fprintf(table, "\t| %.0f", c.peak)
	}
	fmt.Fprintln(table, "\t| \t|")
	return table.Flush()
}

func row(w io.Writer, all []*contestant, fraction float64, size int) {
	fmt.Fprintf(w, "| %d\t| %g", size, fraction)
	best := 0.0
	for i, c := range all {
		slices.Sort(c.samples)
		median := c.samples[len(c.samples)/2]
		fmt.Fprintf(w, "\t| %.2f", median)
		if i > 0 && (best == 0 || median < best) {
			best = median
		}
	}
	fmt.Fprintf(w, "\t| %.2f×\t|\n", best/all[0].samples[len(all[0].samples)/2])
}

func (b *bench) start(p peer) (*contestant, error) {
	command := append(slices.Clone(p.command), b.folder, strconv.Itoa(b.threads))
	c := &contestant{name: p.name, cmd: exec.Command(command[0], command[1:]...)} //nolint:noctx // it ends when its input does
	c.cmd.Stderr = os.Stderr
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.in, c.out = in, bufio.NewScanner(out)
	c.version, err = c.line()
	return c, err
}

func (c *contestant) line() (string, error) {
	if !c.out.Scan() {
		return "", errors.Join(fmt.Errorf("%s ended", c.name), c.out.Err())
	}
	return c.out.Text(), nil
}

// measure lets all take turns. The first turn says how many passes take the time of a
// measurement, and warms up.
func (b *bench) measure(all []*contestant, photos int, fraction float64, size int) error {
	for _, c := range all {
		c.passes, c.samples = 1, nil
	}
	for round := range b.rounds + 1 {
		for i := range all {
			c := all[(i+round)%len(all)]
			if _, err := fmt.Fprintln(c.in, fraction, size, c.passes); err != nil {
				return err
			}
			line, err := c.line()
			if err != nil {
				return err
			}
			var clock, processor float64
			if _, err := fmt.Sscan(line, &clock, &processor, &c.peak); err != nil {
				return fmt.Errorf("%s says %q: %w", c.name, line, err)
			}
			if round == 0 {
				c.passes = max(1, int(b.seconds/clock))
				continue
			}
			if b.threads == 1 {
				clock = processor
			}
			c.samples = append(c.samples, clock*1000/float64(photos*c.passes))
		}
	}
	return nil
}
