package notice_test

import (
	"fmt"

	"github.com/arauto/arauto/internal/notice"
)

// The rule's schedule: the second attempt follows 10 s after the first failed, the third 60 s after the second, and then none.
func ExampleNext() {
	for number := 1; number <= notice.MaxAttempts; number++ {
		gap, again := notice.Next(number, false)
		fmt.Println("attempt", number, "failed:", gap, again)
	}
	// Output:
	// attempt 1 failed: 10s true
	// attempt 2 failed: 1m0s true
	// attempt 3 failed: 0s false
}
