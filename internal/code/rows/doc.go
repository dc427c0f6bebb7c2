// Package rows reads a CSV of codes to mint: one code a row, below a head that names the columns. Gateways and the command line read
// with it, so that both take the same files and say the same of what is wrong.
//
// Start at [NewReader]. It takes what spreadsheets save: with or without a byte order mark, lines that end in LF, CRLF or CR, cells between
// commas, semicolons or tabs (which of them the head tells, or Excel's line "sep=;" before it), quoted cells, empty lines and rows of empty
// cells, which are passed over.
//
// It refuses, each as a [*Problem] with line and column, and goes on with the next row where it can: cells that are not UTF-8, NUL bytes, quotes
// out of place, rows with more or fewer cells than the head. It ends at what makes the rest unreadable: UTF-16, workbooks, compressed files,
// unknown or repeated columns, a quote that is never closed, a row above [MaxRecord]. It holds one row at a time, however long the file is.
package rows
