package main

import (
	"cmp"
	"encoding/json"
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
			"Nothing is sent. Only the settings webhook.… and profile are needed. Exit code 1: the endpoint is not ready.\n" +
			"An initiator tries its own endpoint with any client certificate that its authorities accept: --cert, --key, --root-ca.\n" +
			"Whether it accepts the certificate of a certain holder shows only with that one.",
	}
	settings, lang := configFlag(c), c.Flags().String("lang", "en", "pt or en")
	asJSON := c.Flags().Bool("json", false, "print one JSON object")
	cert, key, roots := c.Flags().String("cert", "", "the client certificate to show, instead of webhook.tls_cert"), c.Flags().String("key", "", "its private key, instead of webhook.tls_key"),
		c.Flags().String("root-ca", "", "the authorities to trust, instead of webhook.root_ca")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		words, known := preflightWords[*lang]
		if !known {
			return oneOf("--lang", *lang, "pt", "en")
		}
		cfg, err := config.Read(*settings, w.environ)
		if err != nil {
			return err
		}
		cfg.Webhook.TLSCert, cfg.Webhook.TLSKey, cfg.Webhook.RootCA = cmp.Or(*cert, cfg.Webhook.TLSCert), cmp.Or(*key, cfg.Webhook.TLSKey), cmp.Or(*roots, cfg.Webhook.RootCA)
		steps, err := gateway.Preflight(cmd.Context(), cfg, args[0])
		if err != nil {
			return err
		}
		if *asJSON {
			if err := json.NewEncoder(w.stdout).Encode(preflightReport(args[0], steps)); err != nil {
				return err
			}
			if steps[len(steps)-1].Err != nil {
				return errFailed
			}
			return nil
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

// preflightReported is the result of a preflight for programs.
type preflightReported struct {
	Address string         `json:"address"`
	OK      bool           `json:"ok"`
	Steps   []reportedStep `json:"steps"` // the first that failed is the last
}

type reportedStep struct {
	Step    string  `json:"step"`
	OK      bool    `json:"ok"`
	Detail  string  `json:"detail"`
	Problem *string `json:"problem"` // null when the step holds
}

func preflightReport(address string, steps []webhook.ProbeStep) preflightReported {
	out := preflightReported{Address: address, OK: true}
	for _, s := range steps {
		one := reportedStep{Step: string(s.Name), OK: s.Err == nil, Detail: s.Detail}
		if s.Err != nil {
			text := s.Err.Error()
			one.Problem, out.OK = &text, false
		}
		out.Steps = append(out.Steps, one)
	}
	return out
}
