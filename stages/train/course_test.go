package train

import (
	"slices"
	"testing"
)

func TestCourseOfATrainingRun(t *testing.T) {
	c := newCourse(7, 10, 4)
	if c.steps != 3 {
		t.Fatalf("%d steps, want 3", c.steps)
	}
	var first []int
	for epoch := 1; epoch <= 2; epoch++ {
		var all []int
		for step, want := range []int{4, 4, 2} {
			pass, pictures := c.at(epoch, step)
			if pass != epoch || len(pictures) != want {
				t.Errorf("epoch %d, step %d: pass %d, %d pictures, want %d", epoch, step, pass, len(pictures), want)
			}
			if got := c.during(epoch, step); got != len(all) {
				t.Errorf("epoch %d: %d pictures before step %d, want %d", epoch, got, step, len(all))
			}
			all = append(all, pictures...)
		}
		if slices.Equal(all, first) {
			t.Error("two epochs have one order")
		}
		first = slices.Clone(all)
		slices.Sort(all)
		if !slices.Equal(all, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}) {
			t.Errorf("epoch %d: pictures %v", epoch, all)
		}
	}
	if c.before(3, 0) != 20 {
		t.Errorf("%d pictures in two epochs", c.before(3, 0))
	}
}

// The article's numbers: 2,508 pictures, 157 steps, 31 batches to validate on, of which the
// small one comes in the epochs 6, 11 and 16.
func TestArticleCourses(t *testing.T) {
	training, validation := articleCourses(1, 2508, 16, 2)
	if training.steps != 157 || validation.steps != 31 {
		t.Fatalf("%d steps and %d for the validation, want 157 and 31", training.steps, validation.steps)
	}
	if got := training.during(3, 157); got != 2508 {
		t.Errorf("an epoch has %d pictures", got)
	}
	var small []int
	for epoch := 1; epoch <= 17; epoch++ {
		for step := range validation.steps {
			if _, pictures := validation.at(epoch, step); len(pictures) == 12 {
				small = append(small, epoch)
			}
		}
	}
	if !slices.Equal(small, []int{6, 11, 16}) {
		t.Errorf("the batch of 12 comes in the epochs %v", small)
	}
}

// An article of few pictures has more steps than a pass, which then go on in the next.
func TestCoursesGoOn(t *testing.T) {
	training, validation := articleCourses(1, 15, 16, 3)
	if training.steps != 1 || validation.steps != 1 {
		t.Errorf("%d and %d steps, want at least one", training.steps, validation.steps)
	}
	training, _ = articleCourses(1, 13, 4, 3)
	if training.steps != 4 || training.batches() != 4 {
		t.Errorf("%d steps, %d batches", training.steps, training.batches())
	}
	training, _ = articleCourses(1, 12, 4, 2)
	if training.steps != 4 || training.batches() != 3 {
		t.Fatalf("%d steps of passes of %d", training.steps, training.batches())
	}
	if pass, _ := training.at(1, 3); pass != 2 {
		t.Errorf("the fourth step is in pass %d, want 2", pass)
	}
	if got := training.during(1, 4); got != 16 {
		t.Errorf("an epoch has %d pictures, want 16", got)
	}
}
