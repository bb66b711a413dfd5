package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/gateway"
	"github.com/arauto/arauto/internal/webhook"
)

// preflightWords are the words of the table, in Portuguese and English.
var preflightWords = map[string]map[webhook.StepName]string{
	"pt": {
		webhook.StepAddress: "endereço", webhook.StepResolution: "nome (DNS)", webhook.StepConnection: "conexão", webhook.StepCertificate: "certificado do receptor",
		webhook.StepOurs: "nosso certificado", "ready": "pronto: uma notificação chegaria a este endereço", "not ready": "NÃO está pronto",
	},
	"en": {"ready": "ready: a notification would reach this address", "not ready": "NOT ready"},
}

func preflightCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "preflight URL", Short: "check whether an initiator's endpoint is ready", Args: cobra.ExactArgs(1),
		Long: "Connect to the address that an initiator registered, as a notification does, up to the end of the mutual TLS handshake. The steps:\n" +
			"the address may be dialled, its name resolves, it answers, its certificate is trusted, it asks for ours and accepts it.\n" +
			"Nothing is sent. Only the settings webhook.… and profile are needed. Exit code 1: the endpoint is not ready.",
	}
	settings, lang := configFlag(c), c.Flags().String("lang", "en", "pt or en")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		words, known := preflightWords[*lang]
		if !known {
			return oneOf("--lang", *lang, "pt", "en")
		}
		cfg, err := config.Read(*settings, w.environ)
		if err != nil {
			return err
		}
		steps, err := gateway.Preflight(cmd.Context(), cfg, args[0])
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(w.stdout, 0, 8, 2, ' ', 0)
		word := func(name webhook.StepName) string {
			if s := words[name]; s != "" {
				return s
			}
			return string(name)
		}
		verdict := words["ready"]
		for _, s := range steps {
			sign, text := "ok", s.Detail
			if s.Err != nil {
				sign, text, verdict = "BAD", s.Err.Error(), words["not ready"]+" ("+word(s.Name)+")"
				if s.Detail != "" {
					text += " (" + s.Detail + ")"
				}
			}
			fmt.Fprintf(table, "%s\t%s\t%s\n", word(s.Name), sign, text)
		}
		if err := table.Flush(); err != nil {
			return err
		}
		fmt.Fprintln(w.stdout, "preflight:", verdict)
		if steps[len(steps)-1].Err != nil {
			return errFailed
		}
		return nil
	}
	return c
}
