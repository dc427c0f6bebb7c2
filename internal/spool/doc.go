// Package spool keeps records on disk while the log cannot take them: a
// write-ahead file that is appended to, read in order and removed piece by
// piece. Open is where to start. A spool belongs to one process at a time.
//
// A folder holds segments, named by number (0000000000000001.spool), of a
// header and frames:
//
//	segment  "HUOMASPL"  version u32  number u64  CRC-32C of these u32  frames…
//	frame    "HSPf"  length u32  CRC-32C of the body u32  CRC-32C of these u32  body
//	body     partition u32  number u64  time i64 (Unix ms)  events u32  length u16, producer  record
//
// Numbers are little-endian. The header of a frame has a checksum of its own,
// so that a length is known to be right before it is followed: what is cut
// off at the end is told from what was altered.
//
// What cannot be read is never guessed: it is named in the log, kept aside in
// a file that ends in .bad, counted, and passed over; whole frames before and
// after it are used. A segment of a newer version is refused.
package spool
