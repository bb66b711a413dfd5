package strict_test

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/arauto/arauto/internal/strict"
)

// A number keeps its digits, and a member that stands twice is an error.
func ExampleReader_Value() {
	reader := &strict.Reader{Depth: 32, Memory: strict.MaxMemory}
	for _, text := range []string{`{"amount":1500.10}`, `{"amount":1,"amount":2}`} {
		value, err := reader.Value(jsontext.NewDecoder(strings.NewReader(text)), 1)
		fmt.Println(value, err != nil)
	}
	// Output:
	// map[amount:1500.10] false
	// <nil> true
}
