//go:build unix

// Command train measures training and inference of the article's network with package
// exact and with PyTorch, in turns, and prints medians and ratios. See README.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/sandwich-build/sandwich/bench/peer"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench/train:", err)
		os.Exit(1)
	}
}

// setting is what one comparison is about.
type setting struct{ threads, side, batch int }

func run() error {
	var peers peer.Programs
	flag.Var(&peers, "peer", "`name=command` that runs pytorch.py, in the way to compare with; may be repeated")
	rounds := flag.Int("rounds", 7, "how many `times` each is measured")
	seconds := flag.Float64("seconds", 1, "how `long` a measurement takes")
	growth := flag.Bool("growth", false, "measure ours alone, from 32 to 256 pixels and from 1 to 128 pictures")
	whole := flag.Bool("loop", false, "measure ours alone: the training stage beside its bare step")
	one := flag.Int("threads", 0, "measure with this `number` of threads only; 1 and 2 by default")
	serve := flag.Bool("serve", false, "be the measured process, with THREADS SIDE BATCH as arguments")
	flag.Parse()
	if *serve {
		var s setting
		if _, err := fmt.Sscan(strings.Join(flag.Args(), " "), &s.threads, &s.side, &s.batch); err != nil {
			return fmt.Errorf("-serve %s: %w", flag.Args(), err)
		}
		return s.serve(os.Stdin, os.Stdout)
	}
	threads := []int{1, 2}
	if *one != 0 {
		threads = []int{*one}
	}
	if *whole {
		return loop(os.Stdout, threads, *rounds)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ours := peer.Program{Name: "sandwich", Command: []string{self, "-serve"}}
	if *growth {
		return grow(ours, *rounds, *seconds)
	}
	for _, n := range threads {
		if err := compare(setting{n, 128, 16}, ours, peers, *rounds, *seconds); err != nil {
			return err
		}
	}
	return nil
}

// contestant is a program at work that is measured.
type contestant struct {
	*peer.Process
	steps   map[string]int // that take a measurement's time
	samples map[string][]sample
}

// sample is one measurement.
type sample struct{ clock, processor float64 } // images per second of either

func start(p peer.Program, s setting) (*contestant, error) {
	process, err := peer.Start(p, strconv.Itoa(s.threads), strconv.Itoa(s.side), strconv.Itoa(s.batch))
	if err != nil {
		return nil, err
	}
	return &contestant{Process: process, steps: make(map[string]int), samples: make(map[string][]sample)}, nil
}

// measure takes one sample, after finding out how many steps that is.
func (c *contestant) measure(what string, batch int, seconds float64) error {
	for c.steps[what] == 0 {
		const warm = 3
		if _, _, err := c.Measure(what, warm); err != nil {
			return err
		}
		clock, _, err := c.Measure(what, warm)
		if err != nil {
			return err
		}
		c.steps[what] = max(1, int(seconds/clock*warm))
	}
	clock, processor, err := c.Measure(what, c.steps[what])
	images := float64(c.steps[what] * batch)
	c.samples[what] = append(c.samples[what], sample{images / clock, images / processor})
	return err
}

// median returns the medians of all samples.
func (c *contestant) median(what string) sample {
	middle := func(of func(sample) float64) float64 {
		list := make([]float64, len(c.samples[what]))
		for i, s := range c.samples[what] {
			list[i] = of(s)
		}
		slices.Sort(list)
		return list[len(list)/2]
	}
	return sample{middle(func(s sample) float64 { return s.clock }), middle(func(s sample) float64 { return s.processor })}
}

var phases = []string{"train", "infer"}

// flops is how many operations on numbers an image of the article's network takes at
// 128 pixels.
var flops = map[string]float64{"train": 352.1e6, "infer": 126.5e6}

func compare(s setting, ours peer.Program, peers peer.Programs, rounds int, seconds float64) (err error) {
	var list []*contestant
	defer func() {
		for _, c := range list {
			err = errors.Join(err, c.Close())
		}
	}()
	for _, p := range append(peer.Programs{ours}, peers...) {
		c, err := start(p, s)
		if err != nil {
			return err
		}
		list = append(list, c)
	}
	for range rounds {
		for _, what := range phases {
			for _, c := range list {
				if err := c.measure(what, s.batch, seconds); err != nil {
					return err
				}
			}
		}
		if err := list[0].measure("peak", 1, seconds/4); err != nil {
			return err
		}
	}
	peak := list[0].median("peak") // in GFLOP
	fmt.Printf("\n%d threads, %d × %d pixels, batch %d; limit %.1f GFLOP/s a core\n\n", s.threads, s.side, s.side, s.batch, peak.processor)
	fmt.Println("| | version | train, images/s | a core | of the limit | infer, images/s | a core | of the limit | peak MiB |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|")
	for _, c := range list {
		fmt.Printf("| %s | %s |", c.Name, c.Version)
		for _, what := range phases {
			m := c.median(what)
			fmt.Printf(" %.1f | %.1f | %.2f |", m.clock, m.processor, m.processor*flops[what]/1e9/peak.processor)
		}
		fmt.Printf(" %.0f |\n", c.Peak)
	}
	for _, c := range list[1:] {
		fmt.Printf("\nsandwich to %s:", c.Name)
		for _, what := range phases {
			a, b := list[0].median(what), c.median(what)
			fmt.Printf(" %s %.2f× by the clock, %.2f× by processor time;", what, a.clock/b.clock, a.processor/b.processor)
		}
		fmt.Printf(" memory %.2f×\n", list[0].Peak/c.Peak)
	}
	return nil
}

// grow prints ours over sizes and batches.
func grow(ours peer.Program, rounds int, seconds float64) error {
	sides, batches := []int{32, 64, 128, 256}, []int{1, 4, 16, 64, 128}
	for _, what := range phases {
		fmt.Printf("\n%s, images/s on 2 threads, by side and batch\n\n|", what)
		for _, b := range batches {
			fmt.Printf(" | %d", b)
		}
		fmt.Print(" |\n|---|" + strings.Repeat("---|", len(batches)) + "\n")
		for _, side := range sides {
			fmt.Printf("| %d |", side)
			for _, batch := range batches {
				rate, err := alone(ours, setting{2, side, batch}, what, rounds, seconds)
				if err != nil {
					return err
				}
				fmt.Printf(" %.0f |", rate)
			}
			fmt.Println()
		}
	}
	return nil
}

func alone(p peer.Program, s setting, what string, rounds int, seconds float64) (rate float64, err error) {
	c, err := start(p, s)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for range rounds {
		if err := c.measure(what, s.batch, seconds); err != nil {
			return 0, err
		}
	}
	return c.median(what).clock, nil
}
