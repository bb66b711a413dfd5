package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/gateway"
	"github.com/arauto/arauto/internal/lab/sandbox"
	"github.com/arauto/arauto/internal/webhook"
)

// preflightSigns say how a step ended. All other words are those of package webhook, which the console shows, too.
var preflightSigns = map[string]struct{ held, failed, untested string }{
	"pt": {"ok", "FALHA", "NÃO TESTADO"},
	"en": {"ok", "BAD", "NOT TESTED"},
}

func preflightCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "preflight URL", Short: "check whether an initiator's endpoint is ready", Args: cobra.ExactArgs(1),
		Long: "Connect to the address that an initiator registered, as a notification does, up to the end of the mutual TLS handshake. The steps:\n" +
			"the address may be dialled, its name resolves, it answers, its certificate is trusted, it asks for ours and accepts it.\n" +
			"Nothing is sent. Only the settings webhook.… and profile are needed. Exit code 1: the endpoint is not ready.\n" +
			"An initiator tries its own endpoint with any client certificate that its authorities accept: --cert, --key, --root-ca.\n" +
			"Whether it accepts the certificate of a certain holder shows only with that one; with --no-cert that is not tested, and that\n" +
			"it demands one is. Without settings and files, the running sandbox's holder connects (arauto sandbox).",
	}
	settings, lang := configFlag(c), languageFlag(c, w)
	asJSON := c.Flags().Bool("json", false, "print one JSON object")
	cert, key, roots := c.Flags().String("cert", "", "the client certificate to show, instead of webhook.tls_cert"), c.Flags().String("key", "", "its private key, instead of webhook.tls_key"),
		c.Flags().String("root-ca", "", "the authorities to trust, instead of webhook.root_ca")
	anonymous := c.Flags().Bool("no-cert", false, "show no certificate")
	name := c.Flags().String("brand", "", "the brand whose certificate is shown, where the settings name several")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := oneOf("--lang", *lang, "pt", "en"); err != nil {
			return err
		}
		cfg, err := config.Read(*settings, w.environ)
		if err != nil {
			return err
		}
		if err := cfg.SendAs(*name); err != nil && *cert == "" {
			return err
		}
		cfg.Webhook.TLSCert, cfg.Webhook.TLSKey, cfg.Webhook.RootCA = cmp.Or(*cert, cfg.Webhook.TLSCert), cmp.Or(*key, cfg.Webhook.TLSKey), cmp.Or(*roots, cfg.Webhook.RootCA)
		if *anonymous && *cert+*key != "" {
			return wrongUse("preflight: --no-cert and --cert: use one of them")
		}
		if cfg.Webhook.TLSCert == "" && cfg.Webhook.RootCA == "" {
			asTheSandbox(cmd.Context(), cfg)
		}
		steps, err := gateway.Preflight(cmd.Context(), cfg, args[0], *anonymous)
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
		if err := tellPreflight(w.stdout, steps, *lang); err != nil {
			return err
		}
		if steps[len(steps)-1].Err != nil {
			return errFailed
		}
		return nil
	}
	return c
}

// tellPreflight writes the steps for people: each with what was seen, or with what is wrong, what the network said, and what would be right.
func tellPreflight(out io.Writer, steps []webhook.ProbeStep, lang string) error {
	table, signs := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0), preflightSigns[lang]
	for i := range steps {
		s, words := &steps[i], steps[i].Words(lang == "pt")
		switch {
		case s.Untested:
			fmt.Fprintf(table, "%s\t%s\t%s\n", words.Title, signs.untested, words.Seen)
		case s.Err == nil:
			fmt.Fprintf(table, "%s\t%s\t%s\n", words.Title, signs.held, words.Seen)
		default:
			text := words.Problem
			if said := s.Err.Error(); said != s.Words(false).Problem {
				text += " (" + said + ")"
			}
			if words.Seen != "" {
				text += " (" + words.Seen + ")"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\n\t\t%s\n", words.Title, signs.failed, text, words.Advice)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out, "preflight:", webhook.Verdict(steps, lang == "pt"))
	return nil
}

// asTheSandbox has the holder of the running sandbox connect; without one the settings stay as they are.
func asTheSandbox(ctx context.Context, cfg *config.Config) {
	running, err := sandbox.Running(ctx)
	if err != nil {
		return
	}
	at := func(name string) string { return filepath.Join(running.PKI, filepath.FromSlash(name)) }
	cfg.Profile, cfg.Webhook.AllowNetworks = config.Development, []string{"127.0.0.0/8", "::1/128"}
	cfg.Webhook.TLSCert, cfg.Webhook.TLSKey, cfg.Webhook.RootCA = at("holder/brcac.pem"), at("holder/brcac.key"), at("trust/roots.pem")
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
	Tested  bool    `json:"tested"`  // false: whether it holds is not known; ok is then true
}

func preflightReport(address string, steps []webhook.ProbeStep) preflightReported {
	out := preflightReported{Address: address, OK: true}
	for _, s := range steps {
		one := reportedStep{Step: string(s.Name), OK: s.Err == nil, Detail: s.Detail, Tested: !s.Untested}
		if s.Err != nil {
			text := s.Err.Error()
			one.Problem, out.OK = &text, false
		}
		out.Steps = append(out.Steps, one)
	}
	return out
}
