package manifest

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"
	"gopkg.in/yaml.v3"

	"github.com/sandwich-build/sandwich/internal/lazyregexp"
)

// Command is a stage of the user's own: a program that reads declared inputs and leaves
// files. One with the name of a stage that a build has anyway takes its place.
type Command struct {
	Name      string            // of the stage
	Run       []string          // the program and its arguments
	Inputs    []string          // stages whose outputs it reads, and files or folders beside the manifest
	Outputs   []string          // files and folders that it leaves in its output folder; empty for whatever it leaves
	Env       map[string]string // besides what every program gets
	Network   bool              // whether it may use the network
	Resources Resources         // what it may take of the machine
}

// Resources bound what a program takes of the machine.
type Resources struct {
	CPU    int   // cores; 0 for all that the build may use
	Memory int64 // bytes; 0 for no bound
}

// OutputFolder is the folder in which a program leaves its output, in the folder that it
// starts in.
const OutputFolder = "out"

// ImageStage is the name of the stage that fetches the image of the environment, of builds that
// have one.
const ImageStage = "image"

// WheelsStage is the name of the stage that unpacks the wheels of the environment, of builds that
// have some.
const WheelsStage = "wheels"

// VenvFolder is the folder with the wheels and their interpreter, in the folder that a program
// starts in.
const VenvFolder = ".venv"

// CondaStage is the name of the stage that unpacks the packages of conda's, of builds that have some.
const CondaStage = "conda"

// CondaFolder is the folder with the packages of conda's, in the folder that a program starts in.
const CondaFolder = ".conda"

// Replaceable returns the stages that one of the user's own may take the place of, in the
// order in which they run. The others decide what the lock pins, or what a package is.
func Replaceable() []string { return []string{"crop", "split", "train", "evaluate"} }

// stageReads are the stages that a stage of a build reads from. The stage before it in
// StageNames need not be among them.
var stageReads = map[string][]string{
	"select":   {"metadata"},
	"download": {"select"},
	"crop":     {"select", "download"},
	"quality":  {"select", "download", "crop"},
	"split":    {"quality"},
	"train":    {"crop", "split"},
	"evaluate": {"crop", "split", "train"},
	"report":   {"select", "download", "crop", "quality", "split", "evaluate"},
	"pack":     {"metadata", "select", "download", "crop", "quality", "split", "train", "evaluate", "report"},
}

// Reads returns the stages that a stage of a build reads from.
func Reads(stage string) []string { return stageReads[stage] }

// Command returns the user's own stage of a name, or nil.
func (m *Manifest) Command(name string) *Command {
	i := slices.IndexFunc(m.Stages, func(c Command) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &m.Stages[i]
}

// IsStage says whether a build of the manifest has a stage of a name.
func (m *Manifest) IsStage(name string) bool {
	return slices.Contains(StageNames(), name) || m.Command(name) != nil
}

// Stages returns the stages among the inputs of one of the user's own.
func (c Command) Stages(m *Manifest) []string {
	return slices.DeleteFunc(slices.Clone(c.Inputs), func(in string) bool { return !m.IsStage(in) })
}

// Files returns the files and folders among the inputs, as slash-separated paths.
func (c Command) Files(m *Manifest) []string {
	var files []string
	for _, in := range c.Inputs {
		if !m.IsStage(in) {
			files = append(files, path.Clean(in))
		}
	}
	return files
}

var (
	stageName    = lazyregexp.New(`^[a-z][a-z0-9_-]{0,31}$`)
	variableName = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]*$`)
	// A local path does not climb out of its folder; checkCommands judges its segments.
	localPath = lazyregexp.New(`^[^\x00-\x1F\x7F/\\][^\x00-\x1F\x7F\\]*$`)
)

// Bounds of a command, far above what a person writes.
const (
	maxCommands  = 64
	maxArguments = 1024
	maxInputs    = 256
)

// notStages are names that a stage of the user's own cannot have, each with the reason.
var notStages = map[string]string{
	"metadata":   "what it reads decides what the lock pins",
	"select":     "what it selects decides what the lock pins",
	"download":   "it brings what the lock pins",
	"quality":    "what it leaves out is what `quality` says",
	"report":     "it shows what the others have come to",
	"pack":       "what a package is made of is the same for all",
	"push":       "events of the push have that name",
	"lock":       "events of the lock have that name",
	"matrix":     "events of the matrix have that name",
	OutputFolder: "the folder of its output has that name",
}

func commandGrammar(c *Command) mapping {
	return mapping{fields: []field{
		{key: "run", required: true, value: list[string]{to: &c.Run, of: "arguments", min: 1, max: maxArguments,
			item: func(s *string) value {
				return text{to: s, want: "an argument", form: anyLines, max: 64 << 10}
			}},
			doc: "The program and its arguments. No shell reads them."},
		{key: "inputs", value: list[string]{to: &c.Inputs, of: "inputs", max: maxInputs, same: equal,
			item: func(s *string) value {
				return text{to: s, want: "a stage, or a file or folder beside the manifest", form: localPath, max: maxText}
			}},
			doc: "Stages whose output it reads, and files or folders beside the manifest. Each is there under its name, read-only."},
		{key: "outputs", value: list[string]{to: &c.Outputs, of: "files and folders", max: maxInputs, same: equal,
			item: func(s *string) value {
				return text{to: s, want: "a file or folder that it leaves", form: localPath, max: maxText}
			}},
			doc: "What it must leave in the folder " + OutputFolder + ", and nothing else. Without it, whatever is left is the output."},
		{key: "env", value: textMap{to: &c.Env, max: 256,
			key:   text{want: "the name of a variable", form: variableName, max: 128},
			value: text{want: "its value", form: anyLines, max: 64 << 10}},
			doc: "Variables of its environment, besides those that every program gets."},
		{key: "network", value: boolean{&c.Network},
			doc: "Let it use the network. What comes from there is not pinned."},
		{key: "resources", value: limitGrammar(&c.Resources.CPU, &c.Resources.Memory),
			doc: "What it may take of the machine. It decides how a build runs, and nothing of what it makes."},
	}}
}

// commands is a mapping from the names of stages to what they run.
type commands struct{ to *[]Command }

func (v commands) decode(d *decoder, n *yaml.Node, path string) {
	if !d.isMappingOf(n, path, "a mapping from names of stages to what they run", "", maxCommands, "stages") {
		return
	}
	var all []Command // stays nil when empty, so that there is one form of none
	d.pairs(n, path, func(key, value *yaml.Node, at string) {
		c := Command{Name: key.Value}
		switch reason := notStages[key.Value]; {
		case reason != "":
			d.fault(key, at, "no stage of your own can have this name: "+reason, "")
		case !stageName.MatchString(key.Value):
			d.fault(key, at, "want the name of a stage, of lower-case letters, digits, _ and -", "")
		}
		commandGrammar(&c).decode(d, value, at)
		all = append(all, c)
	})
	*v.to = all
}

func (v commands) encode() *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for i := range *v.to {
		c := &(*v.to)[i]
		n.Content = append(n.Content, textNode(c.Name), commandGrammar(c).encode())
	}
	return n
}

func (v commands) schema() *jsonschema.Schema {
	return &jsonschema.Schema{
		Type: "object", MaxProperties: length(maxCommands),
		PropertyNames:        &jsonschema.Schema{Type: "string", Pattern: stageName.String()},
		AdditionalProperties: commandGrammar(new(Command)).schema(),
	}
}

// checkCommands reports what no single key of the user's own stages can know.
func (d *decoder) checkCommands(m *Manifest) {
	for i := range m.Stages {
		c := &m.Stages[i]
		at := join("stages", c.Name)
		if !d.sound(at) {
			return // paths and dependencies would be guesses
		}
		if c.Run[0] == "" {
			d.faultAt(at+".run[0]", at+".run[0]", "want a program, got nothing", "")
		}
		d.checkInputs(m, c, at)
		for k, out := range c.Outputs {
			if !isLocal(out) {
				place := fmt.Sprintf("%s.outputs[%d]", at, k)
				d.faultAt(place, place, "want a path within the folder "+OutputFolder, "")
			}
		}
		for name := range c.Env {
			if strings.HasPrefix(name, "SANDWICH_") {
				place := at + ".env." + name
				d.faultAt(place, place, "variables that begin with SANDWICH_ are set by sandwich", "")
			}
		}
	}
	if d.sound("stages") {
		d.checkCircles(m)
	}
}

func (d *decoder) checkInputs(m *Manifest, c *Command, at string) {
	for k, in := range c.Inputs {
		place := fmt.Sprintf("%s.inputs[%d]", at, k)
		first, _, nested := strings.Cut(path.Clean(in), "/")
		switch {
		case in == c.Name:
			d.faultAt(place, place, "the stage cannot read its own output", fmt.Sprintf("write `./%s` if a file of this name is meant", in))
		case in == "pack":
			d.faultAt(place, place, "pack comes last", "")
		case m.IsStage(in):
		case !isLocal(in):
			d.faultAt(place, place, "want a stage, or a path within the folder of the manifest", "")
		case first == OutputFolder:
			d.faultAt(place, place, "the folder of the output has that name", "")
		case first == VenvFolder && m.Environment.Pip != "":
			d.faultAt(place, place, "the folder of what environment.pip installs has that name", "")
		case first == CondaFolder && m.Environment.Conda != "":
			d.faultAt(place, place, "the folder of what environment.conda installs has that name", "")
		case nested && slices.Contains(c.Inputs, first) && m.IsStage(first):
			d.faultAt(place, place, first+" is where the output of that stage is", "")
		}
	}
}

// isLocal says whether a path stays within its folder.
func isLocal(name string) bool {
	clean := path.Clean(name)
	return clean != "." && clean != ".." && !strings.HasPrefix(clean, "../") && !path.IsAbs(clean)
}

// checkCircles reports stages that would have to run before themselves.
func (d *decoder) checkCircles(m *Manifest) {
	reads := func(stage string) []string {
		if c := m.Command(stage); c != nil {
			return c.Stages(m)
		}
		return Reads(stage)
	}
	done := make(map[string]bool)
	var way []string
	var visit func(stage string) bool
	visit = func(stage string) bool {
		if at := slices.Index(way, stage); at >= 0 {
			circle := append(slices.Clone(way[at:]), stage)
			i := slices.IndexFunc(circle, func(s string) bool { return m.Command(s) != nil })
			place := join("stages", circle[i]) + ".inputs"
			d.faultAt(place, place, "stages that wait for each other: "+strings.Join(circle, " reads "), "")
			return false
		}
		if done[stage] {
			return true
		}
		way = append(way, stage)
		for _, from := range reads(stage) {
			if !visit(from) {
				return false
			}
		}
		way = way[:len(way)-1]
		done[stage] = true
		return true
	}
	for _, c := range m.Stages {
		if !visit(c.Name) {
			return
		}
	}
}
