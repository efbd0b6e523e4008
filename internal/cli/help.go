package cli

import (
	"cmp"
	"strings"

	"github.com/spf13/cobra"
)

// help is the verb that shows the help of others. Cobra's own ends well for a topic that
// there is not.
func help(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND... | TOPIC]",
		Short: "Explain a command or a topic",
		Long: `Help explains a command, as --help does, or one of the topics environment,
exit-codes and json.`,
		Example: `  sandwich help build
  sandwich help exit-codes`,
		Args: between(0, 2),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var names []cobra.Completion
			for _, c := range root.Commands() {
				names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			topic, _, err := root.Find(args)
			if err != nil {
				return err
			}
			if len(args) > 0 && verbName(topic) != strings.Join(args, " ") {
				hint := cmp.Or(didYouMean(root, args[0], ""), "`sandwich help` lists commands and topics")
				return usagef(hint, "no help for %q", strings.Join(args, " "))
			}
			topic.InitDefaultHelpFlag() // so that the text is that of --help
			return topic.Help()
		},
	}
}

// topics are the texts of `sandwich help` that belong to no command.
func topics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "environment", Short: "Environment variables", Long: environmentTopic},
		{Use: "exit-codes", Short: "Exit codes", Long: exitTopic},
		{Use: "json", Short: "The answers of --json", Long: jsonTopic},
	}
}

const environmentTopic = `Environment variables:

  SANDWICH_CACHE     the folder for what builds produce and download; --cache goes
                     before it. The default is "sandwich" in the user's cache folder
                     ($XDG_CACHE_HOME or ~/.cache on Linux). It can be deleted at any
                     time, which costs time only.
  SANDWICH_CACHE_REMOTE  a cache that a team shares: s3://bucket/prefix, a folder, or
                     none. --cache-remote goes before it, "cache" in the manifest and in
                     the config file behind it. What this machine does not have is looked
                     for there. Whoever can write there decides what your builds come to.
  SANDWICH_CACHE_MODE  read-write also puts there what is built here, read-only does not;
                     --cache-mode goes before it. Without both, a read-only in manifest
                     or config file counts.
  SANDWICH_REGISTRY  the registry of push, install, ls, log, show, verify, reproduce,
                     sign, challenge, tag, rollback, rm and predict: s3://bucket, file:///path or a folder. --registry
                     goes before it, the config file behind it; verbs that only read
                     find the public s3://quilt-example where none of them is there.
                     A build pushes to the manifest's, and looks here if that has none.
  SANDWICH_INDEX     a folder with an index of box files, which labels --export wrote,
                     maybe installed as a package; "index" in the config file too. Box
                     files that it is of are neither fetched nor read. Whoever made it
                     decides what your builds select.
  SANDWICH_RUNNER    what runs your own stages and keeps them to what they declare:
                     docker, podman, bubblewrap, runc, crun, or none for no sandbox;
                     --runner goes before it. Without it, the first of them that works
                     here is taken, for a stage in an image; for other stages, which
                     Docker and Podman do not run, the first of the rest.
  SANDWICH_CONFIG    the config file; by default sandwich/config.yaml in the user's
                     folder for those (~/.config on Linux). It is YAML and may have:
                       registry: s3://bucket             where packages are
                       cache: {remote: s3://bucket/cache, mode: read-only}
                       endpoint: https://s3.example.com  of a server not Amazon's
                       region: eu-central-1
                       index: /data/open-images-index    # as SANDWICH_INDEX
                     Endpoint and region are for what manifest and config file name; what
                     a flag or the environment names is reached as flags say.
  AWS_…              what every AWS tool takes: AWS_PROFILE, AWS_REGION,
                     AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, … and the files in ~/.aws.
                     Public buckets need none of it.
  COSIGN_…, SIGSTORE_…  what cosign takes when it signs or checks without a key:
                     SIGSTORE_ID_TOKEN, COSIGN_SIGNING_CONFIG, COSIGN_TRUSTED_ROOT, …
  NO_COLOR           when not empty, output has no colours.
  TERM, CI           progress is drawn only where TERM is set and not "dumb", and CI
                     is empty; --progress goes before them.`

const exitTopic = `Exit codes:

    0  all is well
    1  a stage of a build, or another step, failed
    2  the command line cannot be understood
    3  the manifest has faults, or asks for labels that do not exist
    4  the lock is out of date (build --locked), or not a lock
    5  the registry: no such package, damaged objects, a lost race, no access
    6  a package could not be reproduced: it differs, or its environment does
    7  the build is finished but incomplete: photos are missing and --strict was
       given, or a label has lost all of them
  130  interrupted (Ctrl-C, SIGTERM); the same command goes on from there

The codes do not change; others may be added.`

const jsonTopic = `With --json a command writes JSON lines to standard output and nothing anywhere else.
The last line is the result:

  {"event":"result","command":"check","exit":0,"answer":{...},"error":{...}}

exit is the exit code. error is there unless exit is 0: message, hint, items, and faults
of a manifest (file, line, column, path, message, hint). The lines before it are the
events of a build: started, progress, message, waiting and finished, of which
internal/ui/README.md in the sources documents every field.

answer depends on the command. Fields are added, never renamed or removed. A field with
a question mark is left out when it does not apply.

  build    package created ran stages dead quarantined lock_changed
           metrics?[pictures accuracy[correct value low high] confusion[[]]
           classes[label precision recall f1 support] macro weighted repeat_article?]
           validation?[epoch loss accuracy] stage_metrics?
           latest? variants?[set[] error?]
           cache?[remote results blobs downloaded shared uploaded requests]
  challenge statements[] differences[a b what[]]
  check    manifest name variants?[[]]
  diff     old, new[build time package? accuracy?] stages[stage only?
           differences[field old? new? files?[added removed changed first[]]]
           output?[added removed changed first[]] lost counters[name old new]
           metrics?[name old? new?]]
           | a b added[key from to] removed[] changed[] equal message?[path from to]
           metadata[] manifest[] code[] environment[] labels[added removed] dead[]
           boxes[label added removed changed] crops[label added removed changed moved]
           metrics[name from? to? change?]
  doctor   well checks[name status found mend?[]]
  explain  stages[stage action? cached from? build? time? why[] log?[warning? text]
           differences[field old? new? files?[added removed changed first[]]]
           work?[unit verb done reused] printed?[]]
  history  name builds[build time seconds manifest set[] package? accuracy? error?
           stages[stage action tree cached why?[] counters?
           work?[unit verb done reused] seconds]]
  init     manifest
  install  package dest fetched bytes copied kept removed
  labels   source subsets[subset boxes] root? labels[id name match? parents[] kinds[]
           parts[] part_of[] descendants boxes images boxes_below
           subsets[subset boxes images yes{} unknown{}]] file? folder?
  lock     lock changed photos dead reasons?[reason photos]
           upgraded?[lock changed sources[url old[digest bytes] new[digest bytes]]
           unknown? boxes[id label subset added removed changed]
           image?[name old[digest bytes] new[digest bytes]] wheels?[name old? new?]
           conda?[name old? new?]]
  ls       registry packages[name revisions pushed? tags[]]
  log      name revisions[hash time? latest message files bytes error?]
  outdated lock changed sources[url old[digest bytes] new[digest bytes]] unknown?
           boxes[id label subset added removed changed]
           image?[name old[digest bytes] new[digest bytes]] wheels?[name old? new?]
           conda?[name old? new?]
  plan     stages[stage action? cached from? why?] boxes images moved unpinned bytes drift[]
           moves[from to boxes] rules[rule boxes images dropped_boxes dropped_images]
  predict  labels[] predictions[image label? probability? probabilities[]? error?]
  push     package registry created
  render   manifest, as an object
  reproduce package identical rebuilt? stages[stage verdict why?[] was is?
           files?[path was? is?]] files[path was? is?] kept?
  retry    lock changed photos dead reasons?[reason photos] failures[photo reason
           places?[place url reason attempts]]
  rm       removed pointers
  rollback package was
  schema   schema
  show     name hash message meta? count bytes folders[name count bytes]
           files[key bytes hash]? card?
  sign     package key? identity? issuer?
  tag      package tag
  verify   package files bytes missing[] changed[] extra[]
  version  version revision? modified? go platform

  cache stats   folder blobs bytes packed packs results damaged files disk
                remote?[location mode results packs bytes error?]
  cache gc      dry results blobs bytes kept_results kept_bytes unpacked
                kept[reason name? results blobs bytes] images image_bytes
                libraries library_bytes
  cache verify  blobs bytes results found forgotten damaged[]
  cache add     folder tree files bytes read
  cache checkout folder tree files bytes cloned
  cache export  file results blobs bytes
  cache import  file results blobs bytes

Of a manifest with a matrix, build answers with latest and variants only, and each of
these has the other fields too if it was built. Explain and plan answer with
variants[set[] answer], where answer is as above.
With --dry-run, build answers as plan does. With --until, its package is empty.
Digests are sha256:<hex>; the hashes of packages are 64 digits. Sizes are bytes.`
