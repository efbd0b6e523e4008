package cli

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// answers are the answers whose fields a Go type tells.
var answers = map[string]any{
	"build": struct {
		buildAnswer
		Variants matrixAnswer `json:"variants"`
	}{},
	"check": checkAnswer{}, "init": initAnswer{}, "install": installAnswer{}, "lock": lockAnswer{}, "retry": retryAnswer{},
	"explain": explainAnswer{}, "history": historyAnswer{}, "diff": struct {
		diffAnswer
		packagesAnswer
	}{},
	"ls": listAnswer{}, "push": pushAnswer{}, "rm": removeAnswer{}, "rollback": rollbackAnswer{}, "tag": tagAnswer{},
	"log": logAnswer{}, "plan": planAnswer{}, "predict": predictAnswer{}, "schema": schemaAnswer{}, "show": showAnswer{},
	"verify": verifyAnswer{}, "version": versionAnswer{}, "outdated": outdatedAnswer{},
	"doctor": doctorAnswer{}, "reproduce": reproduceAnswer{}, "sign": signAnswer{}, "challenge": challengeAnswer{},
	"cache stats": cacheStatsAnswer{}, "cache gc": cacheGCAnswer{}, "cache verify": cacheVerifyAnswer{},
	"cache add": addAnswer{}, "cache checkout": checkoutAnswer{},
	"cache export": archiveAnswer{}, "cache import": archiveAnswer{},
}

// TestJSONTopicIsComplete holds the help text and the types together: each verb's
// paragraph names exactly the fields of its answer.
func TestJSONTopicIsComplete(t *testing.T) {
	paragraphs := regexp.MustCompile(`(?m)^  ((?:cache )?[a-z]+) +(.*(?:\n {11}.*)*)`).FindAllStringSubmatch(jsonTopic, -1)
	documented := map[string]string{}
	for _, p := range paragraphs {
		documented[p[1]] = p[2]
	}
	for verb, answer := range answers {
		want := slices.Sorted(maps.Keys(fields(reflect.TypeOf(answer))))
		got := regexp.MustCompile(`[a-z_0-9]+`).FindAllString(documented[verb], -1)
		slices.Sort(got)
		if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
			t.Errorf("%s (-type +help):\n%s", verb, diff)
		}
	}
}

// fields are the JSON names of a type's fields, and of those below it.
func fields(t reflect.Type) map[string]bool {
	names := map[string]bool{}
	switch t.Kind() {
	case reflect.Slice, reflect.Pointer:
		return fields(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			if t.Field(i).Anonymous {
				maps.Copy(names, fields(t.Field(i).Type))
			}
			if name == "" {
				continue // of a type that is not ours
			}
			names[name] = true
			maps.Copy(names, fields(t.Field(i).Type))
		}
	}
	return names
}

// TestEveryVerbTeaches holds what every verb's help has: a sentence, a paragraph and an
// example.
func TestEveryVerbTeaches(t *testing.T) {
	a := &app{}
	root := a.root()
	cache, _, err := root.Find([]string{"cache"})
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range append(root.Commands(), cache.Commands()...) {
		if cmd.IsAdditionalHelpTopicCommand() || cmd.Hidden { // what no person uses
			continue
		}
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") || len(cmd.Short) > 60 {
			t.Errorf("%s: the sentence %q", cmd.Name(), cmd.Short)
		}
		if len(cmd.Long) <= len(cmd.Short) || !strings.Contains(cmd.Example, cmd.CommandPath()) {
			t.Errorf("%s: no paragraph, or no example of itself", cmd.Name())
		}
		checkWidth(t, cmd)
	}
}

// checkWidth holds texts below the width of a small terminal.
func checkWidth(t *testing.T, cmd *cobra.Command) {
	t.Helper()
	for line := range strings.Lines(cmd.Long + "\n" + cmd.Example) {
		if len([]rune(line)) > 90 {
			t.Errorf("%s: a line of %d characters: %q", cmd.Name(), len([]rune(line)), line)
		}
	}
}
