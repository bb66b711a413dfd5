//go:build ignore

// Prints where the temporary server's programs are found, for the Makefile: one search, written once.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/arauto/arauto/internal/lab/temppostgres"
)

func main() {
	if os.Getenv(temppostgres.EnvURL) != "" {
		fmt.Println("PostgreSQL: the server of " + temppostgres.EnvURL)
		return
	}
	found, err := temppostgres.Find(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("PostgreSQL: version %d in %s\n", found.Major, found.Dir)
}
