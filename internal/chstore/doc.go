// Package chstore is the warehouse: it speaks to ClickHouse over the native protocol, embedded or cluster alike, keeps the schema
// up to date and inserts batches of commit records so that each row stands there once.
//
// Start with Open, then Check or Migrate, then Insert. Conn is there for queries.
//
// It refuses a server older than MinVersion, a schema newer than the program, and to insert anything without a deduplication token.
// Every error it returns has a Class that says whether to try again.
package chstore
