//go:build race

package token

// raced says that the race detector watches, under which a computation takes ten times as long.
const raced = true
