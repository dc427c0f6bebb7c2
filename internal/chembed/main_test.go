package chembed_test

import (
	"os"
	"testing"

	"github.com/huoma/huoma/internal/chembed/chtest"
)

func TestMain(m *testing.M) {
	chtest.Child()
	if dir := os.Getenv("CHEMBED_TEST_PARENT"); dir != "" {
		orphanParent(dir)
		return
	}
	os.Exit(m.Run())
}
