package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func askVersion(place) []command { return []command{run("--version")} }

func sandwich(program string) tool {
	add := func(p place) []command { return []command{run("cache", "add", p.src())} }
	return tool{
		name: "sandwich", program: program,
		env: func(p place) []string { return []string{"SANDWICH_CACHE=" + p.own("cache")} },
		steps: map[step]func(place) []command{
			version: func(place) []command { return []command{run("version")} },
			ingest:  add, again: add, change: add,
			key:      func(p place) []command { return []command{run("cache", "add", "--dry-run", p.src())} },
			checkout: func(p place) []command { return []command{run("cache", "checkout", p.src(), p.dest())} },
		},
	}
}

// gitConfig is the most speed that git's manual offers: the newest index, threads that
// read it and ask for times, what is untracked remembered, threads that check out, no
// compression of what does not compress, and no collection meanwhile. A file system
// monitor is left out: it is a process that works all the time.
var gitConfig = []string{
	"feature.manyFiles=true", "index.version=4", "index.threads=0", "index.skipHash=true",
	"core.preloadIndex=true", "core.untrackedCache=true", "core.fsmonitor=false",
	"core.compression=0", "core.looseCompression=0", "checkout.workers=0",
	"gc.auto=0", "maintenance.auto=false", "user.name=b", "user.email=b@example.org",
}

func git() tool {
	in := func(p place, tree string, args ...string) command {
		all := []string{"--git-dir=" + p.own("git"), "--work-tree=" + tree}
		for _, c := range gitConfig {
			all = append(all, "-c", c)
		}
		return run(append(all, args...)...)
	}
	commit := func(p place) []command {
		return []command{in(p, p.src(), "add", "-A"), in(p, p.src(), "commit", "-q", "-m", "bench")}
	}
	return tool{
		name: "git", program: "git", dir: place.src,
		steps: map[step]func(place) []command{
			version: func(place) []command { return []command{run("version")} },
			ingest:  func(p place) []command { return append([]command{in(p, p.src(), "init", "-q")}, commit(p)...) },
			again:   func(p place) []command { return []command{in(p, p.src(), "status", "--porcelain")} },
			change:  commit,
			key: func(p place) []command {
				var names strings.Builder
				for i := range p.n {
					fmt.Fprintln(&names, fileName(i))
				}
				hash := in(p, p.src(), "hash-object", "--stdin-paths", "--no-filters")
				hash.stdin = names.String()
				return []command{hash}
			},
			checkout: func(p place) []command {
				return []command{in(p, p.dest(), "checkout", "-q", "-f", "HEAD", "--", p.dest())}
			},
		},
		prepare: map[step]func(place) error{
			checkout: func(p place) error { return errors.Join(os.Mkdir(p.dest(), 0o777), os.Remove(p.own("git", "index"))) },
		},
	}
}

func restic() tool {
	backup := func(p place) []command { return []command{run("backup", "-q", p.src())} }
	return tool{
		name: "restic", program: "restic",
		env: func(p place) []string {
			return []string{
				"RESTIC_PASSWORD=bench", "RESTIC_REPOSITORY=" + p.own("restic"),
				"RESTIC_CACHE_DIR=" + p.own("cache"), "RESTIC_COMPRESSION=off",
			}
		},
		steps: map[step]func(place) []command{
			version: func(place) []command { return []command{run("version")} },
			ingest:  func(p place) []command { return append([]command{run("init", "-q")}, backup(p)...) },
			again:   backup, change: backup,
			key: func(p place) []command {
				return []command{run("backup", "-q", "--dry-run", "--force", p.src())}
			},
			checkout: func(p place) []command {
				return []command{run("restore", "-q", "latest", "--target", p.own("restored"))}
			},
		},
		prepare: map[step]func(place) error{
			// It writes out with the whole path, which the link shortens.
			checkout: func(p place) error { return os.Symlink(filepath.Join(p.own("restored"), p.src()), p.dest()) },
		},
	}
}

// makefile has a rule that copies each file: the least that a build can do for each.
func makefile() tool {
	build := func(p place) []command { return []command{run("-s", "-j2", "-f", p.own("Makefile"))} }
	return tool{
		name: "make", program: "make",
		steps: map[step]func(place) []command{version: askVersion, ingest: build, again: build, change: build},
		prepare: map[step]func(place) error{ingest: func(p place) error {
			var text bytes.Buffer
			text.WriteString("MAKEFLAGS += -rR\n.SUFFIXES:\nall:")
			for i := range p.n {
				text.WriteString(" \\\n out/" + fileName(i))
			}
			text.WriteString("\nout/%: src/%; @cp $< $@\n")
			return errors.Join(os.WriteFile(p.own("Makefile"), text.Bytes(), 0o666), outFolders(p))
		}},
	}
}

// outFolders makes the folders that the rules write to.
func outFolders(p place) error {
	return filepath.WalkDir(p.src(), func(name string, e os.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(p.src(), name)
		if err != nil {
			return err
		}
		return os.MkdirAll(p.own("out", rel), 0o777)
	})
}

// snakemake copies each file in a rule that runs in its own process, which is the fastest
// that it has.
func snakemake() tool {
	build := func(p place) []command {
		return []command{run("--snakefile", p.own("Snakefile"), "--cores", "2", "--quiet", "all", "--rerun-triggers", "mtime", "--nolock")}
	}
	return tool{
		name: "snakemake", program: "snakemake",
		env:   func(p place) []string { return []string{"HOME=" + p.work, "XDG_CACHE_HOME=" + p.own("xdg")} },
		steps: map[step]func(place) []command{version: askVersion, ingest: build, again: build, change: build},
		prepare: map[step]func(place) error{ingest: func(p place) error {
			var text bytes.Buffer
			text.WriteString("FILES = [\n")
			for i := range p.n {
				fmt.Fprintf(&text, "%q,\n", fileName(i))
			}
			text.WriteString(`]
rule all:
    input: expand("out/{name}", name=FILES)
rule copy:
    input: "src/{name}"
    output: "out/{name}"
    shell: "cp {input} {output}"
`)
			return os.WriteFile(p.own("Snakefile"), text.Bytes(), 0o666)
		}},
	}
}

func dvc() tool {
	add := func(place) []command { return []command{run("add", "-q", "src")} }
	return tool{
		name: "dvc", program: "dvc",
		env: func(p place) []string {
			return []string{"HOME=" + p.work, "XDG_CACHE_HOME=" + p.own("xdg"), "DVC_NO_ANALYTICS=1", "DVC_SITE_CACHE_DIR=" + p.own("site")}
		},
		steps: map[step]func(place) []command{
			version:  askVersion,
			ingest:   func(p place) []command { return append([]command{run("init", "-q", "--no-scm")}, add(p)...) },
			again:    func(place) []command { return []command{run("status", "-q")} },
			change:   add,
			checkout: func(place) []command { return []command{run("checkout", "-q", "-f")} },
		},
		prepare: map[step]func(place) error{
			// It writes out where it took in. The link is for who looks at what was written.
			checkout: func(p place) error { return errors.Join(os.RemoveAll(p.src()), os.Symlink(p.src(), p.dest())) },
		},
	}
}
