package chembed_test

import (
	"testing"

	"github.com/huoma/huoma/internal/chembed/chtest"
)

func TestMain(m *testing.M) { chtest.Main(m) }
