package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/lab/sandbox"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/timing"
)

func triggerCommand(w world) *cobra.Command {
	kinds := make([]string, 0, len(ofb.Kinds()))
	for _, kind := range ofb.Kinds() {
		kinds = append(kinds, kind.String())
	}
	c := &cobra.Command{
		Use: "trigger KIND [STATUS]", Short: "make one event in the running sandbox",
		Long: "Make a resource in the running sandbox and bring it to a state, with the notification that the rules demand, and print its id and\n" +
			"those of its notifications and attempts. KIND is " + strings.Join(kinds, ", ") + ".\n" +
			"STATUS is a state of the kind, or DATA_CHANGED. Without STATUS, the cents of --amount choose the story (arauto sandbox --help);\n" +
			"with both, the amount decides what becomes of the attempts.",
	}
	var t sandbox.Trigger
	f := c.Flags()
	f.StringVar(&t.Client, "client", "", "the client that owns the resource (default alfa)")
	f.StringVar(&t.Amount, "amount", "", "the amount, such as 10.07")
	f.StringVar(&t.Version, "api-version", "", "the major version of the creating POST, such as v4 (default: the newest)")
	f.StringVar(&t.ID, "id", "", "a resource of the sandbox to go on with, instead of a new one")
	asJSON := f.Bool("json", false, "print one JSON object")
	language := languageFlag(c, w)
	c.Args = func(_ *cobra.Command, args []string) error {
		if len(args) < 1 || len(args) > 2 {
			return wrongUse(sandboxWords[known(*language)]["trigger-args"], len(args))
		}
		return nil
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := oneOf("--lang", *language, "pt", "en"); err != nil {
			return err
		}
		if t.Kind, t.Lang = args[0], *language; len(args) > 1 {
			t.Status = args[1]
		}
		t.ID = strings.TrimSpace(t.ID)
		running, err := runningSandbox(cmd.Context(), *language)
		if err != nil {
			return err
		}
		made, err := running.Fire(cmd.Context(), t)
		switch {
		case errors.Is(err, sandbox.ErrRefused):
			return wrongUse("trigger: %v", strings.TrimPrefix(err.Error(), sandbox.ErrRefused.Error()+": "))
		case err != nil:
			return err
		case *asJSON:
			return json.NewEncoder(w.stdout).Encode(made)
		}
		fmt.Fprint(w.stdout, triggeredText(&made, *language))
		return nil
	}
	return c
}

// triggeredText tells people what a trigger made.
func triggeredText(made *sandbox.Triggered, language string) string {
	var out strings.Builder
	words := sandboxWords[language]
	fmt.Fprintf(&out, "%s %s  %s, %s, %s\n", made.Kind, made.ID, made.Client, made.APIVersion, made.Status)
	for _, told := range made.Told {
		of := ""
		if told.Resource != made.ID {
			of = " " + told.Resource
		}
		if len(told.Notifications) == 0 {
			fmt.Fprintf(&out, "  %s%s: "+words["quiet"]+"\n", told.Status, of, timing.SilenceWord(ofb.Silence(told.Reason), language))
		}
		for _, n := range told.Notifications {
			fmt.Fprintf(&out, "  %s%s: "+words["notified"]+" %s\n", told.Status, of, n.ID, timing.StateWord(notice.State(n.State), language))
			for _, interaction := range n.Interactions {
				fmt.Fprintf(&out, "    x-webhook-interaction-id %s\n", interaction)
			}
		}
	}
	if made.GoesOn {
		fmt.Fprintf(&out, "  "+words["goes-on"]+"\n", made.LastsFor)
	}
	return out.String()
}
