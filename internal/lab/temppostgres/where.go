//go:build ignore

// Prints where the temporary server's programs are found, for the Makefile: one search, written once.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/arauto/arauto/internal/lab/temppostgres"
)

func main() {
	major := 0 // any, unless one is named
	if len(os.Args) > 1 {
		var err error
		if major, err = strconv.Atoi(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, "which major version? ", err)
			os.Exit(2)
		}
	}
	if major == 0 && os.Getenv(temppostgres.EnvURL) != "" {
		fmt.Println("PostgreSQL: the server of " + temppostgres.EnvURL)
		return
	}
	found, err := temppostgres.FindMajor(context.Background(), major)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("PostgreSQL: version %d in %s\n", found.Major, found.Dir)
}
