package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sandwich-build/sandwich/internal/conda"
	"github.com/sandwich-build/sandwich/internal/environment"
	"github.com/sandwich-build/sandwich/internal/image/build"
	"github.com/sandwich-build/sandwich/internal/pip"
	"github.com/sandwich-build/sandwich/internal/sandbox"
	"github.com/sandwich-build/sandwich/manifest"
)

// Sandboxes asks what keeps the user's own stages to what they declare: each way is tried with a
// program that does nothing. wanted is the one that is asked for; empty for the best. Without a
// manifest, nothing is needed.
func Sandboxes(m *manifest.Manifest, wanted string) Check {
	const name = "sandbox"
	return Check{name, func(ctx context.Context) []Finding {
		found := sandbox.Survey(ctx)
		need, some := needs(m)
		findings := []Finding{chosen(name, wanted, need, some, found)}
		works := anyWorks(found, need)
		for _, f := range found {
			findings = append(findings, ofRunner(f, works || f.Engine() && !need.Image))
		}
		return append(findings, limits(ctx, found, need), namespaces(os.Geteuid() == 0, sandbox.Refusals()))
	}}
}

// needs tells what a manifest needs of a sandbox, and whether it has stages for one: those of the user's own, and
// all in an image.
func needs(m *manifest.Manifest) (need sandbox.Need, some bool) {
	if m == nil {
		return need, false
	}
	need.Image = m.Environment.InImage()
	for _, c := range m.Stages {
		need.Limits = need.Limits || c.Resources != (manifest.Resources{})
	}
	return need, need.Image || len(m.Stages) > 0
}

// anyWorks tells whether something works that is of use for what is needed.
func anyWorks(found []sandbox.Found, need sandbox.Need) bool {
	return slices.ContainsFunc(found, func(f sandbox.Found) bool { return f.Err == nil && (need.Image || !f.Engine()) })
}

// chosen is what would run stages, which a manifest has some of or not.
func chosen(name, wanted string, need sandbox.Need, some bool, found []sandbox.Found) Finding {
	_, why, err := sandbox.Among(found, wanted, need)
	switch {
	case err != nil:
		return ill(name, faultIf(some), oneLine(err.Error()), "# leave --runner and SANDWICH_RUNNER out, for the first that works here")
	case why == "":
		return ok(name, "%s", purposes(wanted, need, found))
	case wanted != "":
		return ill(name, faultIf(need.Image), why+": stages of your own may read and write whatever you may", "unset SANDWICH_RUNNER")
	}
	text := "none works: stages of your own could read and write whatever you may"
	if need.Image {
		text = "none works, and without one nothing can run an image"
	} else if r, why, _ := sandbox.Among(found, wanted, sandbox.Need{Image: true}); why == "" {
		text = fmt.Sprintf("none works but %s, and that for stages in an image: others could read and write whatever you may", r.Name())
	}
	var mend []string
	for _, f := range found {
		if f.Absent() {
			mend = append(mend, install("bubblewrap"))
			break
		}
	}
	return ill(name, faultIf(need.Image), text, append(mend, "# or see below what keeps those from working that are installed")...)
}

// purposes says what runs what, where something works.
func purposes(wanted string, need sandbox.Need, found []sandbox.Found) string {
	runner := func(need sandbox.Need) string {
		r, _, _ := sandbox.Among(found, wanted, need) // what runs the one runs all, if not as well
		return r.Name()
	}
	usual := runner(sandbox.Need{Image: need.Image})
	text := usual + " runs stages of your own"
	if need.Image {
		text = usual + " runs the stages in the image"
	}
	if name := runner(sandbox.Need{Image: need.Image, Limits: true}); name != usual {
		text += ", " + name + " those with resources"
	}
	if name := runner(sandbox.Need{Image: true}); name != usual {
		text += ", " + name + " stages in an image"
	}
	return text
}

// ofRunner is what one way came to. needless says that another one works, or that it is of no use here.
func ofRunner(f sandbox.Found, needless bool) Finding {
	switch {
	case f.Err == nil:
		return ok(f.Name, "works: %s", enforced(f.Runner.Enforced()))
	case f.Absent() && needless:
		return ok(f.Name, "not installed, and not needed")
	case f.Absent():
		return ill(f.Name, Warning, "not installed", install(f.Name))
	case f.Engine() && needless:
		return ok(f.Name, "does not work, and is not needed: %s", oneLine(f.Err.Error()))
	case f.Engine():
		return ill(f.Name, Warning, "installed, and does not work: "+oneLine(f.Err.Error()), "# start its daemon, such as: sudo systemctl start "+f.Name)
	}
	return ill(f.Name, Warning, "installed, and does not work: "+oneLine(f.Err.Error()), "# as root, or where the kernel gives users namespaces (see below), it works; in a container, that needs --privileged")
}

func enforced(e sandbox.Enforced) string {
	var kept []string
	for _, k := range []struct {
		has  bool
		what string
	}{
		{e.Reads, "reads"}, {e.Writes, "writes"}, {e.Network, "network"}, {e.CPU, "cores"}, {e.Memory, "memory"},
	} {
		if k.has {
			kept = append(kept, k.what)
		}
	}
	return "keeps a program to its " + strings.Join(kept, ", ")
}

// limits is whether cores and memory of a stage can be bounded.
func limits(ctx context.Context, found []sandbox.Found, need sandbox.Need) Finding {
	const name = "limits"
	status, text, mend := OK, "", "# run it as root, with runc or crun: control groups are root's"
	if need.Image {
		mend += "; or install docker or podman"
	}
	if need.Limits {
		status = Warning
	}
	for _, f := range found {
		if f.Err != nil || !f.Runner.Enforced().Memory || f.Engine() && !need.Image {
			continue
		}
		err := sandbox.TryLimits(ctx, f.Runner)
		if err == nil {
			return ok(name, "%s bounds cores and memory", f.Name)
		}
		status, text, mend = Warning, fmt.Sprintf("%s bounds nothing: %s", f.Name, oneLine(err.Error())), "# mount the control groups cpu and memory: mount | grep cgroup"
	}
	if text == "" {
		text = "nothing that works here bounds cores and memory of a stage"
	}
	if status == OK {
		return ok(name, "%s, and none asks for it", text)
	}
	return ill(name, status, text, mend)
}

// namespaces is whether the kernel gives them to users.
func namespaces(root bool, refusals []sandbox.Refusal) Finding {
	const name = "namespaces"
	switch {
	case len(refusals) == 0:
		return ok(name, "the kernel gives them to users")
	case root:
		return ok(name, "the kernel gives them to root only, which you are")
	}
	var settings, mend []string
	for _, r := range refusals {
		settings, mend = append(settings, r.Setting), append(mend, "sudo "+r.Allow)
	}
	return ill(name, Warning, "the kernel gives them to root only: "+strings.Join(settings, ", "), mend...)
}

// Programs asks for the programs of this machine that the user's own stages run. path and home are
// those of the environment.
func Programs(m *manifest.Manifest, path, home string) Check {
	const name = "programs"
	return Check{name, func(context.Context) []Finding {
		var findings []Finding
		seen := map[string]bool{}
		for _, c := range m.Stages {
			program := c.Run[0]
			if seen[program] || strings.Contains(program, "/") && !filepath.IsAbs(program) {
				continue // the second is a file beside the manifest, which is its input
			}
			seen[program] = true
			found, _, err := sandbox.Program(program, path, home)
			if from := fromLibraries(m.Environment); err != nil && from != "" {
				findings = append(findings, ill(program, Warning, fmt.Sprintf("the stage %s runs it: %v, but it may be a %s", c.Name, err, from), install(program)))
				continue
			}
			if err != nil {
				findings = append(findings, ill(program, Fault, fmt.Sprintf("the stage %s runs it: %v", c.Name, err), install(program), "# or write its path, or run the stage in an image"))
				continue
			}
			findings = append(findings, ok(program, "%s, which the stage %s runs", found, c.Name))
		}
		return findings
	}}
}

// Python asks for the interpreter that the wheels of requirements are for, and for its pip, without which
// they are not resolved. pinned says that the lock has them.
func Python(find func(context.Context) (pip.Interpreter, error), pinned bool) Check {
	return Check{python, func(ctx context.Context) []Finding {
		in, err := find(ctx)
		if err != nil {
			return []Finding{ill(python, Fault, oneLine(err.Error()), install("python3"))}
		}
		return []Finding{ofPython(in, pinned, in.Executable+" -m pip install --upgrade pip", install("python3-pip"))}
	}}
}

// fromLibraries is what a program may be that a machine does not have; empty where it may not.
func fromLibraries(e manifest.Environment) string {
	switch {
	case e.Pip != "":
		return "script of a wheel"
	case e.Conda != "":
		return "program of a package"
	}
	return ""
}

// Conda asks for the tools that resolve an environment.yml. pinned says that the lock has what it came to.
func Conda(path, home string, pinned bool) Check {
	const name = "conda"
	return Check{name, func(ctx context.Context) []Finding {
		tool, err := conda.Find(ctx, path, home)
		if err != nil {
			return []Finding{ill(name, faultIf(!pinned), oneLine(err.Error()), "python3 -m pip install py-rattler")}
		}
		return []Finding{ok(name, "%s %s answers, %s", tool.Name, tool.Version, tool.Path)}
	}}
}

// ImagePython asks for the interpreter of an image, where that is known: in an image that lies unpacked here.
func ImagePython(find func(context.Context) (in pip.Interpreter, known bool, err error), pinned bool) Check {
	return Check{python, func(ctx context.Context) []Finding {
		const mend = "# take an image that has python3 with pip"
		in, known, err := find(ctx)
		switch {
		case err != nil:
			return []Finding{ill(python, Fault, oneLine(err.Error()), mend)}
		case !known:
			return []Finding{ok(python, "that of the image, which is asked when a build pins wheels for it")}
		}
		return []Finding{ofPython(in, pinned, mend)}
	}}
}

const python = "python"

// ofPython is what is to be said of an interpreter. mend is what helps one without pip.
func ofPython(in pip.Interpreter, pinned bool, mend ...string) Finding {
	text := fmt.Sprintf("%s, %s", in.Executable, in.Version)
	if err := in.CheckPip(); err != nil {
		return ill(python, faultIf(!pinned), text+": "+err.Error(), mend...)
	}
	return ok(python, "%s, with pip %s", text, in.Pip)
}

// Builders asks what builds images of Dockerfiles: Docker, Podman and Buildah. needed says that a build
// would need one.
func Builders(needed bool) Check {
	const name = "image builder"
	return Check{name, func(ctx context.Context) []Finding {
		var findings []Finding
		found := build.Survey(ctx)
		works := slices.ContainsFunc(found, func(f build.Found) bool { return f.Err == nil })
		if needed && !works {
			findings = append(findings, ill(name, Fault, "nothing here builds the image of the Dockerfile", install("podman")))
		}
		for _, f := range found {
			name := f.Name + " build"
			switch {
			case f.Err == nil:
				findings = append(findings, ok(name, "answers, version %s", f.Version))
			case f.Path == "":
				findings = append(findings, ok(name, "not installed"))
			default:
				findings = append(findings, ill(name, Warning, f.Err.Error(), "# start its daemon, such as: sudo systemctl start "+f.Name))
			}
		}
		return findings
	}}
}

// oneLine is a message of a program in one line.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// install is the command that installs a program, by the distribution of this machine.
func install(program string) string {
	distribution, _, _ := strings.Cut(environment.CurrentHost().System, " ")
	switch distribution {
	case "debian", "ubuntu", "linuxmint", "raspbian":
		return "sudo apt-get install " + program
	case "fedora", "rhel", "centos", "rocky", "almalinux", "amzn":
		return "sudo dnf install " + program
	case "arch", "manjaro":
		return "sudo pacman -S " + program
	case "alpine":
		return "sudo apk add " + program
	}
	return "# install " + program
}
