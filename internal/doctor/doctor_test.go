package doctor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// want fails unless the findings have one of a name with a status, whose text and mending, if it is
// not OK, contain what is given.
func want(t *testing.T, findings []Finding, name string, status Status, found, mend string) {
	t.Helper()
	i := slices.IndexFunc(findings, func(f Finding) bool { return f.Name == name })
	if i < 0 {
		t.Fatalf("nothing was found of %s: %+v", name, findings)
	}
	f := findings[i]
	if f.Status != status || !strings.Contains(f.Found, found) {
		t.Errorf("%s is %s: %q, want %s: %q", name, f.Status, f.Found, status, found)
	}
	if all := strings.Join(f.Mend, "\n"); !strings.Contains(all, mend) || (status == OK) != (all == "") {
		t.Errorf("%s, which is %s, is mended by %q, want %q", name, f.Status, all, mend)
	}
	if strings.Contains(f.Found, "\n") {
		t.Errorf("%s is told in several lines: %q", name, f.Found)
	}
}

// ask asks one question.
func ask(t *testing.T, c Check) []Finding {
	t.Helper()
	findings, err := Examine(t.Context(), []Check{c}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return findings
}

func TestExamine(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	answers := func(name string, status Status) Check {
		return Check{name, func(context.Context) []Finding { return []Finding{{Name: name, Status: status}} }}
	}
	checks := []Check{
		answers("first", OK),
		{"deaf", func(context.Context) []Finding { <-release; return nil }},
		{"late", func(ctx context.Context) []Finding {
			<-ctx.Done()
			return []Finding{ill("late", Fault, context.Cause(ctx).Error())}
		}},
		answers("last", Warning),
	}
	findings, err := Examine(t.Context(), checks, 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range findings {
		names = append(names, f.Name)
	}
	if got := strings.Join(names, " "); got != "first deaf late last" {
		t.Errorf("the order is %s", got)
	}
	want(t, findings, "deaf", Warning, "no answer within 50ms", "see what it hangs on")
	if f := findings[2]; f.Status != Fault || f.Found != errLate.Error() {
		t.Errorf("what a question itself says of its end is %+v", f)
	}
	if Well(findings) {
		t.Error("all is well with a fault")
	}
	if !Well([]Finding{findings[0], findings[3]}) {
		t.Error("a warning is a fault")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	cancel(stopped)
	if _, err := Examine(ctx, checks[:1], time.Minute); !errors.Is(err, stopped) {
		t.Errorf("got %v", err)
	}
}
