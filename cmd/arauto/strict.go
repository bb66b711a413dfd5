package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/config"
)

// strict makes a command and all below it refuse what they do not know, with exit code 2 and the nearest name: a
// misspelled command must not look like one that was carried out. A command that only holds others prints its help when it
// stands alone.
func strict(c *cobra.Command) {
	if c.HasSubCommands() && !c.Runnable() {
		c.Args = cobra.ArbitraryArgs
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return notACommand(c, args[0])
			}
			return c.Help()
		}
	}
	if takes := c.Args; takes != nil && !c.HasSubCommands() {
		c.Args = func(c *cobra.Command, args []string) error {
			err := takes(c, args)
			if err != nil && strings.HasPrefix(err.Error(), "unknown command ") { // cobra.NoArgs says so of any argument
				return noArgument(c, args[0])
			}
			return err
		}
	}
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if args := c.Flags().Args(); c.HasSubCommands() && len(args) > 0 { // the flag belongs to the command that was meant
			return notACommand(c, args[0])
		}
		name, unknown := strings.CutPrefix(err.Error(), "unknown flag: --")
		if !unknown {
			return wrongUse("%s: %v; see arauto help", c.CommandPath(), err)
		}
		flags := &cobra.Command{}
		for _, m := range flagName.FindAllStringSubmatch(c.Flags().FlagUsages(), -1) {
			flags.AddCommand(&cobra.Command{Use: m[1], Run: func(*cobra.Command, []string) {}})
		}
		meant := nearest(flags, name)
		if meant != "" {
			meant = strings.Replace(meant, "mean ", "mean --", 1)
		} else if sub, _, err := c.Find([]string{name}); err == nil && sub != c {
			meant = ", did you mean " + sub.CommandPath() + "?"
		}
		return wrongUse("%s: --%s is not a flag of this command%s; see arauto help", c.CommandPath(), name, meant)
	})
	for _, sub := range c.Commands() {
		strict(sub)
	}
}

// valuesOf are flags whose values are known by their form.
var valuesOf = map[string]*regexp.Regexp{"month": regexp.MustCompile(`^\d{4}-\d\d$`), "day": regexp.MustCompile(`^\d{4}-\d\d-\d\d$`)}

// noArgument refuses an argument of a command that takes none, and names the flag that was meant, or how the command is written.
func noArgument(c *cobra.Command, typed string) error {
	instead := ""
	if strings.Contains(c.Use, "--") {
		instead = "; write " + strings.TrimSuffix(c.UseLine(), " [flags]")
	}
	for name, form := range valuesOf {
		if c.Flags().Lookup(name) != nil && form.MatchString(typed) {
			instead = "; write --" + name + " " + typed
		}
	}
	return wrongUse("%s takes no argument, and %q is one%s; see arauto help", c.CommandPath(), typed, instead)
}

func notACommand(c *cobra.Command, typed string) error {
	return wrongUse("%q is not a command of %q%s; see arauto help", typed, c.CommandPath(), nearest(c, typed))
}

// helpForNothing refuses --help after a name that is no command: cobra answers --help before it looks at the names, with the
// help of the command above and exit code 0.
func helpForNothing(root *cobra.Command, args []string) error {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	if !slices.Contains(args, "--help") && !slices.Contains(args, "-h") {
		return nil
	}
	at, rest, err := root.Find(args)
	if err != nil {
		return nil //nolint:nilerr // cobra tells it when the command line is executed
	}
	if help, _, err := root.Find([]string{"help"}); err == nil && at == help {
		at = root
	}
	for _, word := range rest {
		if strings.HasPrefix(word, "-") {
			continue
		}
		if !at.HasSubCommands() || strings.HasPrefix(word, cobra.ShellCompRequestCmd) {
			return nil
		}
		below := at.Commands()
		next := slices.IndexFunc(below, func(c *cobra.Command) bool { return c.Name() == word || c.HasAlias(word) })
		if next < 0 {
			return notACommand(at, word)
		}
		at = below[next]
	}
	return nil
}

// flagName finds the flags in a usage text.
var flagName = regexp.MustCompile(`--([a-z][a-z-]*)`)

// nearest asks whether the name of a command below c was meant, or one of another place; "" where none is near.
func nearest(c *cobra.Command, typed string) string {
	c.SuggestionsMinimumDistance = 2
	if found := c.SuggestionsFor(typed); len(found) > 0 {
		return ", did you mean " + found[0] + "?"
	}
	if other, rest, err := c.Root().Find([]string{typed}); err == nil && len(rest) == 0 && c != c.Root() {
		return ", did you mean " + other.CommandPath() + "?"
	}
	return ""
}

// helpCommand prints what a command is for, or the page of settings; a command that is not there is wrong use.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND | settings]", Short: "help about any command; help settings describes every setting",
		RunE: func(c *cobra.Command, args []string) error {
			if slices.Equal(args, []string{"settings"}) {
				fmt.Fprint(c.OutOrStdout(), config.Page())
				return nil
			}
			found, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				wrong := args[0]
				if err == nil {
					wrong = rest[0]
				}
				if found == nil {
					found = c.Root()
				}
				return notACommand(found, wrong)
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	}
}

// oneOf checks a flag of a closed list.
func oneOf(flag, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return wrongUse("%s: %q is not allowed; use one of %s", flag, value, strings.Join(allowed, ", "))
}
