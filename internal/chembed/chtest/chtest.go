// Package chtest gives other packages' tests a real ClickHouse: the embedded engine in a child process of the test binary.
//
// A test package that uses it says
//
//	func TestMain(m *testing.M) { chtest.Main(m) }
//
// and its tests call Start. It refuses to skip: where the engine's library is missing, tests fail with the sentence
// that says how to get it.
package chtest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/huoma/huoma/internal/chembed"
)

// Main runs the tests, or the engine where this process was started to be it. It does not return.
func Main(m *testing.M) {
	Child()
	os.Exit(m.Run())
}

// MainShared is Main with one engine for all tests of the package, which set receives.
func MainShared(m *testing.M, set func(*chembed.Server)) {
	Child()
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "chtest")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		s, err := chembed.New(chembed.Options{DataDir: dir, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer s.Close(context.Background())
		set(s)
		return m.Run()
	}())
}

// Child runs the engine and exits if this process was started to be it; else it returns at once. It is for packages
// whose TestMain does more than Main.
func Child() {
	if len(os.Args) > 1 && os.Args[1] == chembed.ChildCommand {
		os.Exit(chembed.RunChild())
	}
}

// Start starts an engine with an empty data directory, on free ports, for the duration of the test.
func Start(t testing.TB) *chembed.Server {
	t.Helper()
	return StartDir(t, t.TempDir())
}

// StartDir is Start with a data directory of the caller's, which may hold an earlier engine's data.
func StartDir(t testing.TB, dir string) *chembed.Server {
	t.Helper()
	s, err := chembed.New(chembed.Options{DataDir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}
