package history

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhyAnExportFailedIsToldInTheReadersLanguage(t *testing.T) {
	for _, known := range [][2]string{ExportTooLarge, ExportsTooMuch} {
		e := &Export{Problem: known[0]}
		require.Equal(t, known[1], e.ProblemIn(true))
		require.Equal(t, known[0], e.ProblemIn(false))
	}
	require.Equal(t, "of a newer version", (&Export{Problem: "of a newer version"}).ProblemIn(true))
}
