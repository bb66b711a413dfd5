package audit_test

import (
	"os"
	"testing"

	"github.com/arauto/arauto/internal/lab/verifiers"
)

func TestMain(m *testing.M) { os.Exit(verifiers.Main(m)) }
