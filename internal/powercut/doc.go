// Package powercut is a disk for tests whose power can be cut. It is a file system in memory that programs use like any other, and that
// tells what they wrote from what they made sure of: after a cut, only the latter is there.
//
// Start at New, or at Mount for the short form. A cut takes effect at one instant. Whatever a program asks of the disk after it is not
// answered before the test has killed the program, so that nothing it says afterwards can count.
//
// What a cut leaves is what POSIX and the file systems that Linux servers run on promise, and not more:
//
//   - written bytes and truncations stand once the file was synced: fsync, fdatasync, or a file opened with O_SYNC or O_DSYNC;
//   - names (of what was created, linked, renamed and removed) stand by Model: with Journaled, as on ext4, xfs and btrfs, once anything
//     was synced after them; with Strict, as POSIX has it, once their own directory was;
//   - permissions and times stand at once.
//
// A torn cut (CutTorn) also keeps a seeded choice of what was not made sure of, in pages of 4 KiB, as a disk does that was amid writing.
//
// It needs Linux with /dev/fuse, as root or with fusermount3, and fails the test loudly where it cannot mount. It refuses locks between
// machines, devices and extended attributes. The system calls sync and syncfs do not reach a FUSE file system; programs must sync files.
package powercut
