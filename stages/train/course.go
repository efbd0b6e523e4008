package train

import (
	"math"

	"github.com/sandwich-build/sandwich/internal/random"
)

// course says which pictures each batch is made of. It goes through all pictures pass by
// pass, in an order that is drawn anew for each; the last batch of a pass may be smaller.
type course struct {
	seed     uint64
	name     string // of the draws
	pictures int
	batch    int
	steps    int // batches of an epoch. An epoch is a pass, unless the article is repeated.

	order []int // of the pass that was last asked for
	pass  int
}

// newCourse returns the course of a training run: an epoch is a pass.
func newCourse(seed uint64, pictures, batch int) *course {
	c := &course{seed: seed, name: "shuffle", pictures: pictures, batch: batch}
	c.steps = c.batches()
	return c
}

// articleCourses return those of the article, for its training and for its validation, which
// draws from the same pictures. Its steps are reckoned from the files and the folders below
// images_cropped: the pictures, a folder for each label, and two above them. Where an epoch
// ends within a pass, the next one goes on there, as Keras' generators do.
func articleCourses(seed uint64, pictures, batch, labels int) (training, validation *course) {
	training, validation = newCourse(seed, pictures, batch), newCourse(seed, pictures, batch)
	sample := pictures + labels + 2
	training.steps = max(1, sample/batch)
	validation.name = "validation"
	validation.steps = max(1, int(math.RoundToEven(0.2*float64(sample)))/batch)
	return training, validation
}

// batches is the number of batches of a pass.
func (c *course) batches() int { return (c.pictures + c.batch - 1) / c.batch }

// at returns the pictures of a step, from 0, of an epoch, from 1, and the pass that they are
// drawn in, from 1.
func (c *course) at(epoch, step int) (pass int, pictures []int) {
	number := (epoch-1)*c.steps + step
	pass, number = number/c.batches()+1, number%c.batches()
	if pass != c.pass {
		c.pass = pass
		c.order = random.New(random.Key{Seed: c.seed, Stage: c.name, Epoch: pass}).Permutation(c.pictures)
	}
	return pass, c.order[number*c.batch : min((number+1)*c.batch, c.pictures)]
}

// before is the number of pictures in all steps before one.
func (c *course) before(epoch, step int) int {
	number := (epoch-1)*c.steps + step
	return number/c.batches()*c.pictures + min(number%c.batches()*c.batch, c.pictures)
}

// during is the number of pictures in the first steps of an epoch.
func (c *course) during(epoch, steps int) int { return c.before(epoch, steps) - c.before(epoch, 0) }
