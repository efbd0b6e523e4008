package stages

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// action is everything that decides the output of a stage, and nothing else. Its
// digest is the cache key. It is kept in the store field by field, so that a later
// build can say which field differs.
type action struct {
	kind        string
	version     int
	params      []byte // canonical JSON
	inputs      map[string]cas.TreeID
	environment string // digest of what the stage runs in
}

func newAction(k Kind, inputs map[string]cas.Tree, environment string) (action, error) {
	params, err := canonicalJSON(k.Params())
	if err != nil {
		return action{}, fmt.Errorf("parameters of %s: %w", k.Name(), err)
	}
	ids := make(map[string]cas.TreeID, len(inputs))
	for name, tree := range inputs {
		ids[name] = tree.ID()
	}
	return action{kind: k.Name(), version: k.Version(), params: params, inputs: ids, environment: environment}, nil
}

// commandArgs is the number of fixed fields in the arguments of an action's Command.
const commandArgs = 4

// put stores the action in the form of the Remote Execution API (an Action, its Command
// and its input root) and returns its digest.
func (a action) put(ctx context.Context, store cas.Store) (cas.Digest, error) {
	root := cas.NewBuilder(store)
	for name, id := range a.inputs {
		if err := root.AddTree(ctx, name, cas.NewTree(store, id)); err != nil {
			return cas.Digest{}, err
		}
	}
	inputs, err := root.Commit(ctx)
	if err != nil {
		return cas.Digest{}, err
	}
	command, err := putMessage(ctx, store, &repb.Command{
		Arguments: []string{"sandwich", a.kind, strconv.Itoa(a.version), string(a.params)},
	})
	if err != nil {
		return cas.Digest{}, err
	}
	return putMessage(ctx, store, &repb.Action{
		CommandDigest:   protoDigest(command),
		InputRootDigest: protoDigest(inputs.ID().Digest()),
		Platform: &repb.Platform{Properties: []*repb.Platform_Property{
			{Name: "environment", Value: a.environment},
		}},
	})
}

// loadAction reads back what put stored.
func loadAction(ctx context.Context, store cas.Store, id cas.Digest) (action, error) {
	var act repb.Action
	var cmd repb.Command
	if err := loadMessage(ctx, store, id, &act); err != nil {
		return action{}, err
	}
	command, err := cas.NewDigest(act.GetCommandDigest().GetHash(), act.GetCommandDigest().GetSizeBytes())
	if err != nil {
		return action{}, err
	}
	if err := loadMessage(ctx, store, command, &cmd); err != nil {
		return action{}, err
	}
	args := cmd.GetArguments()
	if len(args) != commandArgs || len(act.GetPlatform().GetProperties()) != 1 {
		return action{}, fmt.Errorf("action %s: written by another version of sandwich", id)
	}
	version, err := strconv.Atoi(args[2])
	if err != nil {
		return action{}, fmt.Errorf("action %s: version: %w", id, err)
	}
	root, err := cas.NewDigest(act.GetInputRootDigest().GetHash(), act.GetInputRootDigest().GetSizeBytes())
	if err != nil {
		return action{}, err
	}
	inputs, err := cas.NewTree(store, cas.NewTreeID(root)).Directories(ctx)
	if err != nil {
		return action{}, err
	}
	return action{
		kind:        args[1],
		version:     version,
		params:      []byte(args[3]),
		inputs:      inputs,
		environment: act.GetPlatform().GetProperties()[0].GetValue(),
	}, nil
}

// canonicalJSON marshals v with sorted keys and no insignificant space, so that the
// order of a struct's fields is not part of a key.
func canonicalJSON(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber() // keeps every digit of large integers
	var generic any
	if err := dec.Decode(&generic); err != nil {
		return nil, err
	}
	return json.Marshal(generic)
}

func putMessage(ctx context.Context, store cas.Store, m proto.Message) (cas.Digest, error) {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return cas.Digest{}, err
	}
	return cas.PutBytes(ctx, store, data)
}

func loadMessage(ctx context.Context, store cas.Store, d cas.Digest, m proto.Message) error {
	data, err := cas.ReadBlob(ctx, store, d)
	if err != nil {
		return err
	}
	return proto.Unmarshal(data, m)
}

func protoDigest(d cas.Digest) *repb.Digest {
	return &repb.Digest{Hash: d.Hex(), SizeBytes: d.Size()}
}
