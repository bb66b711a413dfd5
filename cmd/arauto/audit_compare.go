package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/audit"
)

func auditCompareCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "compare FILE… --key PUBLIC.pem", Short: "compare checkpoints that several people keep: does the log have one history?", Args: cobra.MinimumNArgs(1),
		Long: "Compare the checkpoints in all files: those that anchors and mirrors keep, and proofs that the log only grew. Only the log's public key is\n" +
			"needed. Prints \"one history SIZE ROOT\" when each checkpoint is the newest one or joined with it by proofs among the files;\n" +
			"\"BAD seq=0 REASON\" and exits 1 when two contradict each other; \"unread N\" and exits 1 when the others agree, and N pieces of the files\n" +
			"are no checkpoint of this log that can be read; and \"open SIZE SIZE\" and exits 1 when nothing joins these two sizes:\n" +
			"ask the operator of the log for arauto audit proof --from-size SIZE --to-size SIZE, and compare it with the files.",
	}
	key := c.Flags().String("key", "", "the log's public key, PEM (required)")
	c.RunE = func(_ *cobra.Command, args []string) error {
		public, err := readPublic(*key)
		if err != nil {
			return err
		}
		k := keptCheckpoints{public: public}
		for _, name := range args {
			if err := k.add(w, name); err != nil {
				return tellFault(w, err)
			}
		}
		newest, apart, err := audit.Compare(k.all, k.proofs)
		switch {
		case err != nil:
			return tellFault(w, err)
		case apart > 0:
			fmt.Fprintln(w.stdout, "open", apart, newest.Size)
			return errFailed
		case k.unread > 0:
			fmt.Fprintln(w.stdout, "unread", k.unread)
			return errFailed
		}
		fmt.Fprintln(w.stdout, "one history", newest.Size, newest.Root)
		return nil
	}
	return c
}

// keptCheckpoints are checkpoints that people keep, and proofs that join them.
type keptCheckpoints struct {
	public ed25519.PublicKey
	all    []audit.Checkpoint
	proofs []audit.Growth
	unread int // pieces of files that may have been checkpoints of the log
}

// add reads one file.
func (k *keptCheckpoints) add(w world, name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return wrongUse("FILE: %v", err)
	}
	if !audit.IsConsistency(text) {
		file, err := readAnchor(w, k.public, "FILE", name, text)
		k.all, k.unread = append(k.all, file.Checkpoints...), k.unread+file.Unread()
		return err
	}
	p, err := audit.ParseConsistency(text)
	if err != nil {
		return &audit.Fault{Reason: name + ": " + err.Error()}
	}
	older, newer, err := p.Check(k.public)
	k.all, k.proofs = append(k.all, older, newer), append(k.proofs, audit.Growth{From: older.Size, To: newer.Size})
	return err
}

// tellFault prints a fault, which ends the command with exit code 1; another error is returned as it is.
func tellFault(w world, err error) error {
	if fault, ok := errors.AsType[*audit.Fault](err); ok {
		fmt.Fprintln(w.stdout, fault.Error())
		return errFailed
	}
	return err
}
