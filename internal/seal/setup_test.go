package seal

import (
	"testing"

	"go.uber.org/goleak"
)

// The database that tests share ends with the process.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/arauto/arauto/internal/lab/temppostgres.startChild.func1"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}
