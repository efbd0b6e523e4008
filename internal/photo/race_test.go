//go:build race

package photo_test

const raceEnabled = true
