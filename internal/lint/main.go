package main

import (
	"fmt"
	"os"
)

func main() {
	found, err := Check(os.DirFS("."))
	if err != nil {
		fmt.Fprintln(os.Stderr, "lint:", err)
		os.Exit(1)
	}
	for _, v := range found {
		fmt.Fprintln(os.Stderr, v)
	}
	if len(found) > 0 {
		os.Exit(1)
	}
}
