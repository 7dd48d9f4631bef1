// Package adopt shows how existing applications come under the guard. Each folder
// is one: before is how it was written, with its tests, by somebody who has never
// heard of a guard; after is the same application adopted. Its tests, app_test.go,
// are the same, byte by byte. docs/adopting.md shows the difference between the two.
package adopt
