// Package sheet writes codes as a PDF to print: a grid of pictures with words under each, and marks to cut along. Start at [New].
//
// It writes while it is given pictures and holds a page at most, so that ten thousand codes need no more memory than twenty. The same codes and
// options give the same bytes: there is no date in it unless one is given. Pictures are put in as they are, PNG data and all; words are set with the
// outlines of package typeface, each letter once in the file, and can be selected and searched.
//
// The format is PDF 1.7 (ISO 32000-1): images of 7.5 and 8.9, Type 3 fonts of 9.6.5, ToUnicode of 9.10.3.
package sheet
