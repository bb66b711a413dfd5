package failure_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/failure"
)

// says is an error that answers every question with the same word.
type says bool

func (says) Error() string      { return "two owners" }
func (s says) Transient() bool  { return bool(s) }
func (s says) Contended() bool  { return bool(s) }
func (s says) NotFound() bool   { return bool(s) }
func (s says) Conflict() bool   { return bool(s) }
func (s says) Damaged() bool    { return bool(s) }
func (s says) TooWide() bool    { return bool(s) }
func (says) Portuguese() string { return "dois donos" }

func TestAnErrorIsKnownByWhatItSaysOfItselfHoweverItIsWrapped(t *testing.T) {
	conflict := func(err error) bool {
		text, is := failure.Conflict(err)
		require.Equal(t, map[bool]string{true: "two owners"}[is], text, "the text is the error's own")
		return is
	}
	for name, ask := range map[string]func(error) bool{
		"Transient": failure.Transient, "Contended": failure.Contended, "NotFound": failure.NotFound, "Conflict": conflict,
		"Damaged": failure.Damaged, "TooWide": failure.TooWide,
	} {
		require.True(t, ask(says(true)), name)
		require.True(t, ask(fmt.Errorf("register: %w", errors.Join(errors.New("first"), says(true)))), name)
		require.False(t, ask(says(false)), name)
		require.False(t, ask(errors.New("unknown")), name)
		require.False(t, ask(nil), name)
	}
	require.Equal(t, "dois donos", failure.Portuguese(fmt.Errorf("register: %w", says(true))))
	require.Empty(t, failure.Portuguese(errors.New("unknown")))
}
