//go:build ignore

// Prints where the throwaway server's programs are found, for the Makefile: one search, written once.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/arauto/arauto/internal/throwaway"
)

func main() {
	if os.Getenv(throwaway.EnvURL) != "" {
		fmt.Println("PostgreSQL: the server of " + throwaway.EnvURL)
		return
	}
	found, err := throwaway.Find(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("PostgreSQL: version %d in %s\n", found.Major, found.Dir)
}
