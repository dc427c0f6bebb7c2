package chembed

// engineArgs are the engine's options: server options by their path in the configuration, and default settings of every
// session. A client's own settings come after them.
func engineArgs() []string {
	return []string{
		// Of a server and not of a command-line tool: a bare expression is no query.
		"--implicit_select=0",
		// A row is in the table when its INSERT is answered; batching is the client's.
		"--async_insert=0",
		"--log_queries=0",
	}
}
