package main

import "github.com/spf13/cobra"

// documentLanguage adds the flag of the language of a document for people: what an audit command writes, or a page of a report. It is
// Portuguese unless the flag says otherwise, as in the API and the console, and whatever the environment's language is: the same command
// line gives the same document on every machine. Messages at work have languageFlag.
func documentLanguage(c *cobra.Command, use string) *string {
	return c.Flags().String("lang", "pt", use)
}
