//go:build unix

// Command crop measures how long a crop of a photo takes, from JPEG to JPEG, with this
// project and with others, in turns, and prints medians and ratios. See README.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/sandwich-build/sandwich/bench/peer"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench/crop:", err)
		os.Exit(1)
	}
}

func run() error {
	var peers peer.Programs
	flag.Var(&peers, "peer", "`name=command` that runs peers.py; may be repeated")
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
	peers = append(peer.Programs{{Name: "sandwich", Command: []string{self, "-serve"}}}, peers...)
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
	peers   peer.Programs
	folder  string
	threads int
	rounds  int
	seconds float64
}

// contestant is a program at work that is measured.
type contestant struct {
	*peer.Process
	passes  int       // through the photos in a measurement
	samples []float64 // milliseconds of processor, or of the clock, for a crop
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
			err = errors.Join(err, c.Close())
		}
	}()
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	fmt.Printf("\nphotos of %d pixels, %d threads: ms a crop, median of %d\n\n", width, b.threads, b.rounds)
	fmt.Fprint(table, "| crop\t| box")
	for _, p := range b.peers {
		process, err := peer.Start(p, b.folder, strconv.Itoa(b.threads))
		if err != nil {
			return err
		}
		all = append(all, &contestant{Process: process})
		fmt.Fprintf(table, "\t| %s %s", process.Name, process.Version)
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
		fmt.Fprintf(table, "\t| %.0f", c.Peak)
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

// measure lets all take turns. The first turn says how many passes take the time of a
// measurement, and warms up.
func (b *bench) measure(all []*contestant, photos int, fraction float64, size int) error {
	for _, c := range all {
		c.passes, c.samples = 1, nil
	}
	for round := range b.rounds + 1 {
		for i := range all {
			c := all[(i+round)%len(all)]
			clock, processor, err := c.Measure(fraction, size, c.passes)
			if err != nil {
				return err
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
