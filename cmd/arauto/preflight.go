package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/gateway"
	"github.com/arauto/arauto/internal/lab/sandbox"
	"github.com/arauto/arauto/internal/webhook"
)

// preflightWords are the words of the table, in Portuguese and English.
var preflightWords = map[string]map[webhook.StepName]string{
	"pt": {
		webhook.StepAddress: "endereço", webhook.StepResolution: "nome (DNS)", webhook.StepConnection: "conexão", webhook.StepCertificate: "certificado do receptor",
		webhook.StepOurs: "nosso certificado", "ready": "pronto: uma notificação chegaria a este endereço", "not ready": "NÃO está pronto", "bad": "FALHA", "untested": "NÃO TESTADO",
		"none": "o receptor exige um, e nenhum foi mostrado; se aceita o de uma detentora não foi testado", "ready but": "pronto até onde foi testado",
	},
	"en": {
		"ready": "ready: a notification would reach this address", "not ready": "NOT ready", "bad": "BAD", "untested": "NOT TESTED",
		"none": "the receiver demands one, and none was shown; whether it accepts a holder's is not tested", "ready but": "ready as far as it was tested",
	},
}

// preflightProblems are the problems of webhook.ProbeStep.Public in Portuguese. One that ends with a colon begins a longer text.
var preflightProblems = map[string]string{ //nolint:gosec // texts, not credentials
	"the name has no address":          "o nome não tem endereço",
	"the name did not resolve in time": "o nome não foi resolvido a tempo",
	"the name does not resolve; its name servers answer with an error, or not at all": "o nome não é resolvido; seus servidores respondem com erro, ou não respondem",
	"the name leads to no address of the public internet":                             "o nome não leva a um endereço da internet pública",
	"the address refuses connections at this port":                                    "o endereço recusa conexões nesta porta",
	"the address cannot be reached":                                                   "o endereço não pode ser alcançado",
	"no connection in time; a firewall may drop what comes from us":                   "não houve conexão a tempo; um firewall pode estar descartando o que enviamos",
	"the connection was not made":                                                     "a conexão não foi feita",
	"the holder's own certificate cannot be used now":                                 "o certificado de quem conecta não pode ser usado agora",
	"the handshake did not end in time":                                               "o handshake não terminou a tempo",
	"the receiver reset the connection during the handshake":                          "o receptor cortou a conexão durante o handshake",
	"the receiver closed the connection during the handshake":                         "o receptor fechou a conexão durante o handshake",
	"the receiver does not speak TLS":                                                 "o receptor não fala TLS",
	"the connection broke during the handshake":                                       "a conexão caiu durante o handshake",
	"the certificate is not accepted: ":                                               "o certificado do receptor não é aceito: ",
	"the certificate does not pass the checks of profile and revocation":              "o certificado não passa nas verificações de perfil e de revogação",
	"the receiver ended the handshake: ":                                              "o receptor encerrou o handshake: ",
	"the handshake failed; version, cipher suite or key of the endpoint do not fit":   "o handshake falhou; versão, cifra ou chave do receptor não servem",
	"the connection broke after the handshake":                                        "a conexão caiu depois do handshake",
}

// problemIn is the problem of a step for people: the error, behind what it means where the language is Portuguese.
func problemIn(language string, s *webhook.ProbeStep) string {
	_, problem := s.Public()
	meaning := preflightProblems[problem]
	for english, portuguese := range preflightProblems {
		if rest, begins := strings.CutPrefix(problem, english); begins && strings.HasSuffix(english, ": ") {
			meaning = portuguese + rest
		}
	}
	if language != "pt" || meaning == "" {
		return s.Err.Error()
	}
	return meaning + " (" + s.Err.Error() + ")"
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
		words, known := preflightWords[*lang]
		if !known {
			return oneOf("--lang", *lang, "pt", "en")
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
			if s.Untested {
				sign, text, verdict = words["untested"], words["none"], words["ready but"]
			}
			if s.Err != nil {
				sign, text, verdict = words["bad"], problemIn(*lang, &s), words["not ready"]+" ("+word(s.Name)+")"
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
