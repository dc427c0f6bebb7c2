package chembed

import "strings"

// errNoUsers answers whoever names one, or has a password.
var errNoUsers = codeAuthentication.errorf("the embedded server has no users and no passwords: connect as default, without a password")

// elsewhere is where what the embedded server has not can be had.
const elsewhere = "use a ClickHouse server of your own, with --clickhouse-url, for it"

// beyond is an error for a statement which only a server of one's own can carry out, and for those which would end or stop the process
// that the engine is in. The engine's own answers to these speak of rights nobody has and of another program.
func (st statement) beyond() error {
	words := st.words(6)
	has := func(list ...string) bool {
		for i, w := range list {
			if i >= len(words) || words[i] != w {
				return false
			}
		}
		return true
	}
	switch st.first {
	case "CREATE", "ALTER", "DROP", "MOVE":
		// CREATE [OR REPLACE] USER …, never a table that is called so.
		second := words
		if has("CREATE", "OR", "REPLACE") {
			second = words[2:]
		}
		if len(second) > 1 && access[second[1]] != "" {
			return codeSupportDisabled.errorf("the embedded server has no %s: %s", access[second[1]], elsewhere)
		}
	case "INSERT":
		if st.kind == kindOther && st.readsInput() {
			// The engine would wait for data that no interface of it can send, and could not be stopped.
			return codeSupportDisabled.errorf("the embedded server has no table function input(): insert the data into a temporary table, and INSERT … SELECT from that")
		}
	case "GRANT", "REVOKE":
		return codeSupportDisabled.errorf("the embedded server has no users to grant anything to: %s", elsewhere)
	case "EXECUTE":
		return codeSupportDisabled.errorf("the embedded server has no users to act for: %s", elsewhere)
	case "SHOW":
		second := words
		if len(words) > 2 && (words[1] == "CREATE" || words[1] == "CURRENT" || words[1] == "ENABLED") {
			second = words[1:]
		}
		if len(second) < 2 || second[1] == "SETTINGS" && (len(second) < 3 || !strings.HasPrefix(second[2], "PROFILE")) {
			break // SHOW SETTINGS LIKE …
		}
		if entity := access[second[1]]; entity != "" {
			return codeSupportDisabled.errorf("the embedded server has no %s: %s", entity, elsewhere)
		}
	case "SYSTEM":
		if len(words) < 2 {
			break
		}
		switch words[1] {
		case "SHUTDOWN", "KILL", "SUSPEND", "CRASH":
			return codeSupportDisabled.errorf("the embedded server starts and stops with Huoma: stop that, with Ctrl-C or SIGTERM")
		}
		for _, w := range words {
			switch w {
			case "REPLICA", "REPLICAS", "REPLICATED", "REPLICATION", "ZOOKEEPER", "FETCHES", "DISTRIBUTED", "LISTEN", "CONFIG", "USERS":
				return codeSupportDisabled.errorf("the embedded server has no replication, no cluster, no users and no configuration to load: %s", elsewhere)
			}
		}
	}
	return nil
}

// readsInput says that the statement calls the table function input.
func (st statement) readsInput() bool {
	for sc := (scanner{s: st.text}); ; {
		t, ok := sc.next()
		if !ok {
			return false
		}
		if strings.EqualFold(unquoteName(t.text), "input") && sc.peekSign("(") {
			return true
		}
	}
}

// access are the words for what access control is made of.
var access = map[string]string{
	"USER": "users", "USERS": "users", "ROLE": "roles", "ROLES": "roles", "QUOTA": "quotas", "QUOTAS": "quotas", "ROW": "row policies", "POLICY": "row policies",
	"POLICIES": "row policies", "PROFILE": "settings profiles", "PROFILES": "settings profiles", "SETTINGS": "settings profiles", "MASKING": "masking policies",
}

// words are the first n words of the statement, in upper case; a quoted or other token is an empty one.
func (st statement) words(n int) []string {
	sc := scanner{s: st.text}
	var words []string
	for len(words) < n {
		t, ok := sc.next()
		if !ok {
			break
		}
		if !t.word {
			t.text = ""
		}
		words = append(words, strings.ToUpper(t.text))
	}
	return words
}

// explained adds to an exception of the engine what is the matter with an embedded server, where that is the cause.
func explained(e *engineError) *engineError {
	why := ""
	switch e.code {
	case 225: // NO_ZOOKEEPER
		why = "the embedded server has no Keeper and no replication: use MergeTree tables, or "
	case 701: // CLUSTER_DOESNT_EXIST
		why = "the embedded server is part of no cluster: leave out ON CLUSTER and Distributed, or "
	default:
		return e
	}
	return &engineError{code: e.code, name: e.name, text: e.text + " " + why + elsewhere}
}
