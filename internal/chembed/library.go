package chembed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// LibraryEnv names the environment variable that says where the engine library is.
const LibraryEnv = "HUOMA_CHDB_LIB"

// ErrNoLibrary is wrapped by what New, FindLibrary and RunChild return when the engine library is not on this machine.
var ErrNoLibrary = errors.New("the ClickHouse engine library is missing: run `make setup` to install it, or set " +
	LibraryEnv + " to its path, or point --clickhouse-url at a ClickHouse server")

// FindLibrary returns the path of the engine library: explicit if given, else what LibraryEnv names, else the file next
// to the running executable, else the npm package under tools/chdb, looked for upward from the working directory and
// from the executable. A path that was given and does not exist is an error, never a reason to look elsewhere.
func FindLibrary(explicit string) (string, error) {
	if explicit == "" {
		explicit = os.Getenv(LibraryEnv)
	}
	if explicit != "" {
		if !isFile(explicit) {
			return "", fmt.Errorf("no file at %s: %w", explicit, ErrNoLibrary)
		}
		return filepath.Abs(explicit)
	}
	var starts []string
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		dir := filepath.Dir(exe)
		if p := filepath.Join(dir, libraryName()); isFile(p) {
			return p, nil
		}
		starts = append(starts, dir)
	}
	if wd, err := os.Getwd(); err == nil {
		starts = append([]string{wd}, starts...)
	}
	for _, dir := range starts {
		for {
			if p := filepath.Join(dir, "tools", "chdb", "node_modules", "@chdb", platformPackage(), libraryName()); isFile(p) {
				return p, nil
			}
			up := filepath.Dir(dir)
			if up == dir {
				break
			}
			dir = up
		}
	}
	return "", ErrNoLibrary
}

// libraryName is the file name in the npm package. The macOS packages, too, name it .so.
func libraryName() string { return "libchdb.so" }

// platformPackage is the npm package for this platform, without its scope.
func platformPackage() string {
	arch := runtime.GOARCH
	if arch == "amd64" {
		arch = "x64"
	}
	if runtime.GOOS == "linux" {
		return "lib-linux-" + arch + "-gnu"
	}
	return "lib-" + runtime.GOOS + "-" + arch
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
