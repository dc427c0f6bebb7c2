// Command lint holds the source to the rules of the house: which package may import which, and what no file may do.
//
// Start with rules.go: the rules are data, and each carries the reason that is printed with a violation. check.go reads
// the imports, source.go the syntax; nothing is built or type-checked, so it takes a second.
//
// It refuses a package that has no place in the table of layers: whoever adds one decides where it stands.
package main
