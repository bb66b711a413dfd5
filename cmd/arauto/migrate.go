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
		return nil
	}
	return c
}
