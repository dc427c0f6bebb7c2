package gateway

import (
	"fmt"
	"slices"
	"strings"

	"github.com/huoma/huoma/internal/code"
)

// scanPath is what a scan URL has between host and token.
const scanPath = "/s/"

// charactersOf are how many characters of the alphanumeric set a symbol holds at a version and error correction M (ISO/IEC 18004, table 7).
var charactersOf = map[int]int{1: 20, 2: 38, 3: 61, 4: 90, 5: 122, 6: 154}

// SymbolOf is the version and error correction that pictures of a profile are drawn at. Version 0 is free: the smallest that holds the content.
// free are the profiles an operator has made so.
func SymbolOf(profile string, free []string) (version int, level string) {
	p, ok := code.ProfileByName(profile)
	if !ok {
		return 0, ""
	}
	if slices.Contains(free, profile) {
		return 0, p.QRLevel
	}
	return p.QRVersion, p.QRLevel
}

// CheckSymbols says for which profiles a public URL is too long: their pictures would not fit the version they are drawn at. It refuses names
// of no profile.
func CheckSymbols(publicURL string, free []string) error {
	for _, name := range free {
		if _, ok := code.ProfileByName(name); !ok {
			return fmt.Errorf("%q is no profile: name some of %s", name, profileNames())
		}
	}
	var long []string
	most := 0
	for _, p := range code.Profiles {
		version, _ := SymbolOf(p.Name, free)
		room, known := charactersOf[version]
		if over := len(publicURL) + len(scanPath) + p.Token.Length() - room; known && over > 0 {
			long = append(long, fmt.Sprintf("%s by %d (version %d-%s holds %d)", p.Name, over, version, p.QRLevel, room))
			most = max(most, over)
		}
	}
	if long == nil {
		return nil
	}
	names := make([]string, len(long))
	for i, l := range long {
		names[i], _, _ = strings.Cut(l, " ")
	}
	return fmt.Errorf("the public URL %s is too long for pictures of %s: save %d characters, or let those profiles' symbols grow with --qr-free %s",
		publicURL, strings.Join(long, ", "), most, strings.Join(names, ","))
}

func profileNames() string {
	var names []string
	for _, p := range code.Profiles {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}
