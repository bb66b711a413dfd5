package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/store"
)

func migrateCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "migrate", Short: "upgrade the database's schema", Args: cobra.NoArgs,
		Long: "Upgrade the schema as the owner of the database. A second run changes nothing. Replicas may serve meanwhile.",
	}
	settings := configFlag(c)
	plain := c.Flags().Bool("plain-documents", false, "write packed documents as the core sent them, so that a version that cannot read packed ones may serve")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Read(*settings, w.environ)
		if err != nil {
			return err
		}
		if cfg.Database.URL == "" {
			return &config.Error{Problems: []string{"database.url (ARAUTO_DATABASE_URL): is not set; set it in the file or the environment"}}
		}
		url, err := store.WithPassword(cfg.Database.URL, cfg.Database.PasswordFile)
		if err != nil {
			return &config.Error{Problems: []string{"database.password_file (ARAUTO_DATABASE_PASSWORD_FILE): " + err.Error()}}
		}
		if err := store.Migrate(cmd.Context(), url); err != nil {
			if errors.Is(err, store.ErrURL) {
				return &config.Error{Problems: []string{"database.url (ARAUTO_DATABASE_URL): " + err.Error()}}
			}
			return err
		}
		fmt.Fprintln(w.stdout, "migrate: the schema is up to date")
		if *plain {
			n, err := store.PlainDocuments(cmd.Context(), url)
			fmt.Fprintf(w.stdout, "migrate: %d packed documents written as the core sent them\n", n)
			return err
		}
		return nil
	}
	return c
}
