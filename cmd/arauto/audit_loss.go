package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/seal"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// auditLossCommand states that published entries are lost.
func auditLossCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "loss --key PRIVATE.pem --anchors FILE --by NAME --reason TEXT", Short: "declare that published entries are lost, after the database was restored to an older state", Args: cobra.NoArgs,
		Long: "Declare that published entries are lost, because the database was restored to an older state. The log then continues. Needs the log's private key and the\n" +
			"owner of the database. --anchors names every file of checkpoints; the ones that contradict the log are lost. The declaration is an entry of the log, and\n" +
			"every verification prints it. docs/operations/log.md describes the steps before it.",
	}
	database, key := databaseFlag(c), c.Flags().String("key", "", "the log's private key, PEM; with --agent or --signer its public half (required)")
	agent := c.Flags().String("agent", "", "the Unix socket of an SSH agent that has the private key")
	socket := c.Flags().String("signer", "", "the Unix socket of a signer that has the private key")
	anchors := c.Flags().StringArray("anchors", nil, "a file of checkpoints kept outside of the database (required); may be repeated")
	by, reason := c.Flags().String("by", "", "who declares it, in one line (required)"), c.Flags().String("reason", "", "what happened, in one line (required)")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if *key == "" || len(*anchors) == 0 || *by == "" || *reason == "" {
			return wrongUse("audit loss: --key, --anchors, --by and --reason are required")
		}
		signer, err := lossSigner(*key, *agent, *socket)
		if err != nil {
			return wrongUse("--key: %v", err)
		}
		published, _, err := readAnchors(w, signer.Public(), "--anchors", *anchors)
		if err != nil {
			return err
		}
		url, err := databaseURL(w, *database)
		if err != nil {
			return err
		}
		said, err := auditlog.StateLoss(cmd.Context(), url, signer, published, audit.Loss{By: *by, Why: *reason})
		if err != nil {
			return err
		}
		fmt.Fprintln(w.stdout, "loss:", said)
		return nil
	}
	return c
}

// lossSigner is the key of the log: in a file, in an agent or in a signer.
func lossSigner(name, agent, signer string) (*audit.Signer, error) {
	switch {
	case agent != "" && signer != "":
		return nil, errors.New("--agent and --signer are both given; give the one that has the key")
	case agent != "":
		return seal.AgentKey(agent, name)
	case signer != "":
		return seal.SignerKey(signer, name)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	private, err := audit.ParsePrivate(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return audit.NewSigner(private), nil
}
