// Package importing makes history of what other systems have recorded: web servers' logs, CSV and JSON Lines files. Start at [Run].
//
// A [Mapping] says how a record becomes an event; [ParseMapping] reads one, [DefaultMapping] is what there is without. [Identities] draws an
// event's id from what its record says, so that the same record is the same event in whatever file it stands, and the [Ledger] remembers the
// ids that are stored, for ever and for all imports of an installation. Where the ledger is kept, where events go and who knows what was
// stored are small ports: [Log], [Gateway] and [Warehouse].
//
// It refuses to guess: a line that makes no sense is handed back with the reason, a file in an encoding that it does not read is named, and
// an event of which it is not known whether it is stored is neither sent again nor left out before somebody has said which. What identifies
// people stays in the events it sends, whose gateway hashes it; no reason for a bad line quotes it.
package importing
