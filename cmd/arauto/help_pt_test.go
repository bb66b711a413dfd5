package main

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestHelpForInitiatorsIsCompleteInPortuguese holds the texts to the flags: none without a text, no text without a flag.
func TestHelpForInitiatorsIsCompleteInPortuguese(t *testing.T) {
	for name, text := range portugueseHelp {
		english, portuguese := call(t, time.Minute, nil, name, "--help"), call(t, time.Minute, nil, name, "--help", "--lang", "pt")
		require.Equal(t, done, portuguese.code)
		flags := func(help string) (out []string) {
			for _, one := range regexp.MustCompile(`(?m)^ +(?:-h, )?--([a-z-]+)`).FindAllStringSubmatch(help, -1) {
				out = append(out, one[1])
			}
			return out
		}
		require.Equal(t, flags(english.out), flags(portuguese.out), name)
		require.ElementsMatch(t, flags(english.out), append(slices.Collect(maps.Keys(text.flags)), "lang", "help"), name)
		require.Contains(t, portuguese.out, "Opções:")
		require.NotContains(t, portuguese.out, "Flags:")
		for _, line := range strings.Split(strings.TrimSpace(english.out), "\n") {
			if strings.Contains(line, " the ") {
				require.NotContains(t, portuguese.out, line, name)
			}
		}
	}
}

// TestHelpIsInTheLanguageOfTheEnvironment, also where --lang has a default of its own.
func TestHelpIsInTheLanguageOfTheEnvironment(t *testing.T) {
	for name := range portugueseHelp {
		require.Contains(t, call(t, time.Minute, []string{"LANG=pt_BR.UTF-8"}, name, "--help").out, "Opções:", name)
		require.Contains(t, call(t, time.Minute, []string{"LANG=pt_BR.UTF-8"}, name, "--help", "--lang", "en").out, "Flags:", name)
		require.Contains(t, call(t, time.Minute, []string{"LANG=C"}, name, "--help").out, "Flags:", name)
	}
}

// TestWordsOfListenAreTheSameInBothLanguages: each text has its twin with the same verbs.
func TestWordsOfListenAreTheSameInBothLanguages(t *testing.T) {
	verbs := regexp.MustCompile(`%[a-z]`)
	for key, english := range listenWords["en"] {
		require.Equal(t, verbs.FindAllString(english, -1), verbs.FindAllString(listenWords["pt"][key], -1), key)
	}
	require.Len(t, listenWords["pt"], len(listenWords["en"]))
	for key, english := range sandboxWords["en"] {
		require.Equal(t, verbs.FindAllString(english, -1), verbs.FindAllString(sandboxWords["pt"][key], -1), key)
	}
	require.Len(t, sandboxWords["pt"], len(sandboxWords["en"]))
}
