package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/certs"
)

func certsCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "certs FOLDER", Short: "make a development PKI with the real certificate profiles", Args: cobra.ExactArgs(1),
		Long: "Make authorities, the holder's and two initiators' certificates, signing keys, key sets and revocation lists for development.\n" +
			"certs/README.md says what each file is. Keys made here are worth nothing outside a development machine.",
	}
	var what certs.Content
	c.Flags().BoolVar(&what.Overwrite, "overwrite", false, "replace the PKI that is there")
	c.Flags().BoolVar(&what.Bad, "bad", false, "also make certificates that must be refused: expired, revoked, of the wrong purpose, …")
	c.RunE = func(_ *cobra.Command, args []string) error {
		pki, err := certs.New(certs.Options{})
		if err != nil {
			return err
		}
		if err := pki.Write(args[0], what); err != nil {
			return err
		}
		fmt.Fprintln(w.stdout, "certs: development PKI written to", args[0])
		return nil
	}
	return c
}
