package main

// A Layer is a set of packages that may import the same things.
type Layer struct {
	Name     string
	Packages []string // below the module; a trailing /... takes everything under it too
	Imports  []string // layers it may import; packages of one tree may import each other anyway
	Third    Third    // what of other modules it may import
	NoStd    []string // packages of the standard library it may not import; a trailing /... as above
	Pure     bool     // no clock: see clockFuncs
	Why      string   // the reason of these limits
}

// Third says which other modules a layer may import.
type Third struct {
	Only []string // if not nil, only these, by path prefix
	Not  []string // never these, by path prefix
}

var none = Third{Only: []string{}}

// technology is what only adapters and embedded servers speak to directly.
var technology = []string{
	"github.com/nats-io/", "github.com/ClickHouse/", "github.com/ebitengine/purego", "github.com/pressly/goose/",
}

// servers are what only the embedded servers are made of.
var servers = []string{"github.com/nats-io/nats-server/", "github.com/ebitengine/purego"}

// layers is the house, from the inside out. The first layer that names a package has it.
var layers = []Layer{
	{
		Name:     "key file",
		Packages: []string{"internal/token/keyfile"},
		Imports:  []string{"domain"},
		Third:    none,
		Why:      "it keeps the keyring on disk and nothing else",
	},
	{
		Name:     "domain",
		Packages: []string{"internal/code/...", "internal/risk/...", "internal/token", "internal/qr/...", "internal/visit/..."},
		Imports:  []string{"domain"},
		Third:    none,
		NoStd:    []string{"context", "database/...", "log", "net", "net/http/...", "net/rpc/...", "os/...", "syscall", "testing/..."},
		Pure:     true,
		Why:      "the domain knows no technology, no context and no clock, so that a replay of the log decides the same",
	},
	{
		Name:     "events",
		Packages: []string{"internal/events"},
		Imports:  []string{"domain"},
		Third:    Third{Only: []string{"github.com/go-json-experiment/json", "github.com/klauspost/compress/zstd"}},
		NoStd:    []string{"context", "database/...", "log", "net/http/...", "net/rpc/...", "os/...", "syscall", "testing/..."},
		Pure:     true,
		Why:      "the wire contract is shared by every role, so it drags in no technology and reads no clock",
	},
	{
		Name:     "schemas",
		Packages: []string{"schemas/..."},
		Third:    none,
		Why:      "schemas are files with an embed.go; what reads them depends on them, not they on it",
	},
	{
		Name:     "listeners",
		Packages: []string{"internal/listen"},
		Third:    none,
		Why:      "it bounds what any HTTP listener takes on and knows nothing of what is served, so that every listener can use it",
	},
	{
		Name:     "test servers",
		Packages: []string{"internal/natsdev/natstest", "internal/chembed/chtest", "internal/importing/importtest", "internal/powercut"},
		Imports:  []string{"embedded servers", "events"},
		Why:      "they start an embedded server for tests, or stand in for something, such as a disk whose power is cut, and are imported by tests alone",
	},
	{
		Name: "services",
		Packages: []string{
			"internal/gateway/...", "internal/scanning/...", "internal/analytics/...", "internal/alerting/...", "internal/console/...",
		},
		Imports: []string{"domain", "events", "schemas", "listeners"},
		Third:   Third{Not: technology},
		Why:     "a service names the small ports it needs; adapters satisfy them, so NATS, ClickHouse and other services stay exchangeable",
	},
	{
		Name:     "adapters",
		Packages: []string{"internal/natsjs/...", "internal/chstore/...", "internal/spool"},
		Imports:  []string{"domain", "events", "schemas"},
		Third:    Third{Not: servers},
		Why:      "an adapter speaks one technology for everybody: it knows the wire contract, no service, no other adapter and no server",
	},
	{
		Name:     "embedded servers",
		Packages: []string{"internal/natsdev/...", "internal/chembed/..."},
		Imports:  []string{"listeners"},
		Why:      "an embedded server stands for an external one: nothing of ours shapes it, an address is all that leads to it",
	},
	{
		Name:     "oracle",
		Packages: []string{"internal/oracle"},
		Imports:  []string{"events"},
		Third:    Third{Only: []string{"github.com/go-json-experiment/json"}},
		NoStd:    []string{"context", "database/...", "log", "net/...", "os/...", "syscall", "testing/..."},
		Pure:     true,
		Why:      "it is the second opinion on what the log means: sharing the worker's code, its state machine or its windows, it would repeat their mistakes",
	},
	{
		Name:     "verifier",
		Packages: []string{"internal/verify"},
		Imports:  []string{"events", "oracle"},
		Third:    Third{Only: []string{"github.com/go-json-experiment/json"}},
		Why:      "it compares what exists with what the oracle says, through small ports; who decides the same from anything else has no say in it",
	},
	{
		Name:     "roles",
		Packages: []string{"internal/role/..."},
		Imports:  []string{"key file", "domain", "events", "schemas", "services", "adapters", "listeners", "oracle"},
		Third:    Third{Not: servers},
		Why:      "one wiring of each production role, shared by its binary and the all-in-one; an embedded server is only an address to it",
	},
	{
		Name:     "simulator",
		Packages: []string{"internal/simulate/..."},
		Imports:  []string{"domain", "events"},
		Third:    Third{Not: servers},
		Why:      "it is a producer like any other: it reaches an installation by its public addresses alone",
	},
	{
		Name:     "importer",
		Packages: []string{"internal/importing/..."},
		Imports:  []string{"domain", "events"},
		Third:    Third{Not: technology},
		NoStd:    []string{"net/http/...", "os/..."},
		Why:      "it reads records and keeps its ledger through small ports, so that it is tested without files, NATS and ClickHouse",
	},
	{
		Name:     "all in one",
		Packages: []string{"internal/allinone/..."},
		Imports:  []string{"key file", "domain", "events", "schemas", "services", "adapters", "roles", "embedded servers"},
		Why:      "it wires everything for one machine and is used by the command line, not the reverse",
	},
	{
		Name:     "command line",
		Packages: []string{"internal/cli/...", "cmd/..."},
		Imports:  []string{"key file", "domain", "events", "schemas", "services", "adapters", "roles", "simulator", "importer", "oracle", "verifier", "all in one", "command line"},
		Third:    Third{Not: servers},
		Why:      "only allinone knows the embedded servers, so that production roles carry none",
	},
	{
		Name:     "soak",
		Packages: []string{"internal/soak"},
		Imports:  []string{"events", "simulator", "command line"},
		Third:    Third{Not: servers},
		Why:      "it watches processes from outside, and publishes to them like anybody else",
	},
	{
		Name:     "chaos",
		Packages: []string{"internal/chaos/..."},
		Third:    Third{Not: servers},
		Why:      "it pulls the plugs from outside: it starts the programs as anybody does, reaches them by their addresses, and shares no code with what it checks",
	},
	{
		Name:     "benchmark",
		Packages: []string{"internal/bench"},
		Imports:  []string{"key file", "domain", "events", "schemas", "services", "adapters", "roles", "embedded servers", "all in one"},
		Why:      "it starts the roles, the embedded servers and the bare parts beside them as processes of its own, and nothing imports it",
	},
	{
		Name:     "tools",
		Packages: []string{"internal/lint", "internal/tour", "internal/deploy"},
		Third:    none,
		Why:      "tools look at the source and the programs from outside",
	},
}

// A Grant lets one package import what its layer may not.
type Grant struct {
	Package string // below the module
	Import  string // prefix of an import path, or a package below the module
	Why     string
}

var grants = []Grant{
	{"internal/token", "github.com/emmansun/gmsm/sm3", "the standard library has no SM3, which seals of wecom-group pictures are made with; pure functions of bytes"},
	{"internal/token", "github.com/emmansun/gmsm/sm4", "the standard library has no SM4, which seals of wecom-group pictures are made with; pure functions of bytes"},
	{"internal/qr", "github.com/skip2/go-qrcode", "it encodes the symbol; everything drawn on it is ours"},
	{"internal/qr", "golang.org/x/image", "it fills outlines and scales logos, pure data in and out"},
	{"internal/qr/typeface", "golang.org/x/image/font", "it reads the outlines of embedded fonts"},
	{"internal/qr/typeface", "golang.org/x/image/math/fixed", "the numbers that outlines are in"},
	{"internal/visit", "github.com/x-way/crawlerdetect", "a kept list of robots, pure data"},
	{"internal/visit", "github.com/ua-parser/uap-go", "a kept list of devices, pure data"},
}

// clockFuncs are the functions of package time that read the clock or wait for it.
var clockFuncs = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// shadowed are package names which hide an import that code of this project makes.
var shadowed = []string{
	"bytes", "clickhouse", "context", "errors", "fmt", "http", "io", "jetstream", "json", "kong", "nats", "net", "os", "prometheus", "server",
	"slices", "slog", "sql", "strings", "sync", "testing", "time", "url",
}

// maxLines is where a file has long become several.
const maxLines = 1500

// Rules that look at the source of every file, with their reasons.
var (
	ruleClock   = Rule{"clock", "time is passed in, so that a replay decides the same and a test need not wait"}
	ruleSleep   = Rule{"sleep", "a test that sleeps is slow when it passes and wrong when the machine is busy: poll a condition, pass a clock, or use testing/synctest"}
	ruleSkip    = Rule{"skip", "a test that skips looks like one that passes: let make test install what it needs, or fail"}
	ruleTodo    = Rule{"todo", "an open end belongs in an issue, where it is found again"}
	ruleLines   = Rule{"lines", "nobody reads a file of 1500 lines: split it by its nouns"}
	ruleShadow  = Rule{"shadow", "a package named like one its users import makes them rename one of the two"}
	rulePlace   = Rule{"place", "every package has a layer in internal/lint/rules.go, which says what it may import"}
	ruleTesting = Rule{"testing", "what tests need does not belong into programs"}
)

// A Rule is a name and why it is there.
type Rule struct{ Name, Why string }
