// Package natsjs is everything Huoma asks of NATS JetStream: the streams and
// buckets, the gateway's records, the partitions' inputs, the commit records,
// snapshots, timers, dead letters and code definitions. Start at Connect, then
// Ensure (once an installation) or Installation (every role); Claim is how a
// worker owns a partition.
//
// Promises. What a call has stored is stored when it returns: on disk of the
// one server under sync-always, or by a majority of the replicas. A call whose
// outcome got lost with the connection finds out and tries again until its
// context ends; message ids and fences make that safe. Nothing here buffers
// while disconnected.
//
// Sync policy. Whether a server syncs its files before it acknowledges is a
// setting of the server (jetstream { sync_interval: always }), which a client
// can neither see nor change. The embedded server has it on. With 3 or 5
// replicas an acknowledgement means that a majority has the message in memory
// or on disk, and only losing power at a majority at once can lose it; with
// one replica, set it to always.
//
// It refuses servers older than MinServerVersion, streams whose configuration
// is not ours to change (see IncompatibleError), and messages larger than the
// server takes.
package natsjs
