package train

import "time"

// SetCheckpoints makes a kind keep a checkpoint as often as given.
func (k *Kind) SetCheckpoints(every time.Duration) { k.every = every }
