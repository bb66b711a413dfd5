package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/certs"
)

func certsCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "certs FOLDER", Short: "make a development PKI with the real certificate profiles", Args: cobra.ExactArgs(1),
		Long: "Make authorities, certificates of the holder and two initiators, signing keys, key sets and revocation lists for development.\n" +
			"certs/README.md describes each file. Do not use these keys outside of a development machine.",
	}
	var what certs.Content
	c.Flags().BoolVar(&what.Overwrite, "overwrite", false, "replace the PKI in the folder")
	c.Flags().BoolVar(&what.Bad, "bad", false, "also make certificates that must be refused: expired, revoked, of the wrong purpose, …")
	c.RunE = func(_ *cobra.Command, args []string) error {
		pki, err := certs.New(certs.Options{})
		if err != nil {
			return err
		}
		err = pki.Write(args[0], what)
		if errors.Is(err, certs.ErrExists) {
			return fmt.Errorf("%s: %w; choose another folder, or replace it with --overwrite", args[0], certs.ErrExists)
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(w.stdout, "certs: development PKI written to", args[0])
		return nil
	}
	return c
}
