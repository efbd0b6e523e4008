// Package quilt is the Quilt package format, byte for byte: the records of a
// package file, the two JSON forms, the top hash, the hash types, logical and
// physical keys.
//
// A package file is JSON lines: one header, then the metadata of directories, then
// one record for each entry. Its top hash covers the header and, for each entry,
// everything but its physical keys; so a package keeps its name when its bytes
// move. Whatever Python's json module does to a value on its way into the hash is
// done here as well, because quilt3 recomputes the hash and refuses what differs.
//
// The package is pure: it reads from an io.Reader that it is given and does no other
// input or output.
package quilt
