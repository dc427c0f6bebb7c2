// Package tour holds the documents to the truth: its tests run the commands of README.md against a freshly started
// installation and compare what they print, and look for every file, stream, make target and flag the documents name.
//
// Start with run_test.go for the tour and documents_test.go for the rest. A fenced block takes part when the line before it is
// a comment:
//
//	<!-- tour -->        the sh block is run; a text block right after it is what it prints
//	<!-- tour: until --> the same, again and again until it prints that, for what takes effect a moment later
//
// In a text block, … stands for anything within a line, and a line of … alone for any lines.
package tour
