// Package examples keeps the manifests that the documentation starts from; its tests
// build them. It has no code of its own.
//
// The mirror of the quickstart and the photos of folders are generated:
//
//	go generate ./examples/...
package examples

//go:generate go run ../internal/synthetic/mirror write quickstart/mirror
//go:generate go run ../internal/synthetic/writefolders folders/photos
