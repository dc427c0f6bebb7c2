// Package verify holds an installation against package oracle: what its log must have led to, with everything that exists.
//
// Start with Run. It fixes the end of the log, waits until workers and warehouse have come that far, then reads the events and the commit
// records of each partition side by side, and the warehouse's rows in runs of some ten thousand next to those the oracle says there
// must be. Then follow the alerts, the dead letters, the states of codes, the rollups, reconcile, and what a gateway tells of each code.
//
// What has come in after the end is left out, so an installation may go on working meanwhile. Memory is bounded by the number of codes,
// visitors and alerts, not of events.
//
// It refuses to say anything about a log whose beginning is gone.
package verify
