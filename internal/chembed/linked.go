//go:build !static

package chembed

import "github.com/ebitengine/purego"

// A program that can open shared libraries is linked with the C library's loader, also without cgo. The build tag static makes one
// that is not, and that runs where there is no C library, without the engine.

func openLibrary(path string) (uintptr, error) {
	return purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
}

func librarySymbol(handle uintptr, name string) (uintptr, error) { return purego.Dlsym(handle, name) }

// bindFunc makes the function pointer fn call the C function at symbol.
func bindFunc(fn any, symbol uintptr) { purego.RegisterFunc(fn, symbol) }

// bindLoaded is bindFunc for a function of the libraries already loaded.
func bindLoaded(fn any, name string) { purego.RegisterLibFunc(fn, purego.RTLD_DEFAULT, name) }
