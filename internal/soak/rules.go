package main

const (
	kib = 1 << 10
	mib = 1 << 20
)

// rules say what each value may grow by over half a run. The first that fits has it. What grows with codes or with the log grows
// rightly: a gateway and a scan worker hold every code, a scan worker knows the ids of a day's events and each code's visitors, the log
// keeps what happened.
var rules = []namedRule{
	{"gateway-* goroutines", rule{slack: 48, why: "two a connection, and the generator opens more when there is more to do"}},
	{"gateway-* fds", rule{slack: 24, why: "one a connection, and the generator opens more when there is more to do"}},
	{"* goroutines", rule{slack: 12, why: "none is started for what stays"}},
	{"nats-* fds", rule{slack: 24, why: "files of streams are opened and closed as they are written"}},
	{"engine fds", rule{slack: 64, why: "files of parts are opened and closed as they are merged"}},
	{"* fds", rule{slack: 12, why: "connections are a fixed number"}},

	{"gateway-* heap", rule{slack: 12 * mib, perCode: 4 * kib, why: "the mirror holds every code"}},
	{"scan-worker-* heap", rule{slack: 24 * mib, perCode: 8 * kib, perEvent: 256, why: "codes, ids of a day, visitors of each code"}},
	{"analytics-worker-* heap", rule{slack: 16 * mib, why: "it keeps a batch, and nothing of the one before"}},

	{"gateway-* rss", rule{slack: 40 * mib, perCode: 8 * kib, why: "twice the heap, and what the runtime has not given back"}},
	{"scan-worker-* rss", rule{slack: 64 * mib, perCode: 16 * kib, perEvent: 512, why: "twice the heap, and what the runtime has not given back"}},
	{"analytics-worker-* rss", rule{slack: 64 * mib, why: "twice the heap, and what the runtime has not given back"}},
	{"nats-* rss", rule{slack: 96 * mib, perCode: 2 * kib, why: "blocks of streams that are cached for a while; subjects of codes"}},
	{"clickhouse rss", rule{slack: 24 * mib, why: "it watches over the engine"}},
	{"engine rss", rule{slack: 384 * mib, why: "caches, up to their limits"}},

	{"stream HUOMA_EVENTS messages", rule{slack: 2000, steady: true, why: "the log"}},
	{"stream HUOMA_DECISIONS messages", rule{slack: 2000, steady: true, why: "the log"}},
	{"stream HUOMA_ALERTS messages", rule{slack: 500, perCode: 8, perEvent: 0.05, why: "what there was to warn of"}},
	{"stream HUOMA_DLQ messages", rule{slack: 50, why: "all traffic makes sense"}},
	{"stream KV_HUOMA_CODES messages", rule{slack: 20, perCode: 1, why: "a definition a code"}},
	{"stream KV_HUOMA_TRACES messages", rule{slack: 64, perCode: 1, why: "one for each owner and device that asked for pictures"}},
	{"stream OBJ_HUOMA_STATE messages", rule{slack: 64, perCode: 0.01, perEvent: 0.0005, why: "the newest snapshots"}},
	{"stream KV_HUOMA_ANALYTICS messages", rule{slack: 64, why: "the newest manifests"}},
	{"stream HUOMA_EVENTS bytes", rule{slack: 2 * mib, steady: true, why: "the log"}},
	{"stream HUOMA_DECISIONS bytes", rule{slack: 2 * mib, steady: true, why: "the log"}},
	{"stream HUOMA_ALERTS bytes", rule{slack: 1 * mib, perCode: 16 * kib, perEvent: 100, why: "what there was to warn of"}},
	{"stream HUOMA_DLQ bytes", rule{slack: 64 * kib, why: "all traffic makes sense"}},
	{"stream KV_HUOMA_CODES bytes", rule{slack: 64 * kib, perCode: 4 * kib, why: "a definition a code"}},
	{"stream KV_HUOMA_TRACES bytes", rule{slack: 64 * kib, perCode: kib, why: "one for each owner and device that asked for pictures"}},
	{"stream OBJ_HUOMA_STATE bytes", rule{slack: 4 * mib, perCode: 4 * kib, perEvent: 64, why: "the newest snapshots, which hold what scan workers hold"}},
	{"stream KV_HUOMA_ANALYTICS bytes", rule{slack: 64 * kib, why: "the newest manifests"}},
	{"stream * consumers", rule{slack: 2, why: "one a partition and role, and one a reader"}},
	{"timers messages", rule{slack: 64, perCode: 1, why: "one a code that has not ended"}},

	{"table * parts", rule{slack: 24, why: "merged as they come"}},
}
