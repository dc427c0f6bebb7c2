//go:build static

package chembed

import "errors"

// errStatic is why a program built with the tag static has no engine.
var errStatic = errors.New("this program was built without it (tag static): point --clickhouse-url at a ClickHouse server")

func openLibrary(string) (uintptr, error) { return 0, errStatic }

// The others are never reached without a library.

func librarySymbol(uintptr, string) (uintptr, error) { return 0, errStatic }

func bindFunc(any, uintptr) { panic(errStatic) }

func bindLoaded(any, string) { panic(errStatic) }
