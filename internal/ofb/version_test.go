package ofb_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/ofb"
)

func TestAHolderDeclaresOneMinorVersionOfEachMajor(t *testing.T) {
	v, err := ofb.ParseVersions([]string{"automatic-payments/2.0.0", "payments/4.1.0"})
	require.NoError(t, err)
	require.Equal(t, "2.0.0", v.Full("automatic-payments", "v2"))
	require.Equal(t, "4.1.0", v.Full("payments", "v4"))
	require.Equal(t, "5.0.0", v.Full("payments", "v5"), "not declared")
	require.Equal(t, "2.3.0", v.Full("enrollments", "v2"), "not declared")
	require.Empty(t, v.Full("payments", "v9"))
	require.Equal(t, "2.0.0", v.Declared(ofb.RecurringPayment, "v2"))
	require.Empty(t, v.Declared(ofb.Enrollment, "v2"))
	require.Equal(t, []string{"automatic-payments/2.0.0 (declared)", "enrollments/2.3.0", "payments/4.1.0 (declared)", "payments/5.0.0"}, v.InForce())

	for _, wrong := range [][]string{
		{"automatic-payments/2.1.0"}, {"automatic-payments"}, {"payments/v4"}, {""}, {"enrollments/2.2.0", "enrollments/2.3.0"},
	} {
		_, err := ofb.ParseVersions(wrong)
		require.Error(t, err, "%q", wrong)
	}
	require.Contains(t, ofb.KnownVersions(), "enrollments/2.2.0")
}

func TestEveryKindBelongsToAnAPIWithAVersionInForce(t *testing.T) {
	for _, kind := range ofb.Kinds() {
		for _, major := range kind.Versions() {
			require.Contains(t, ofb.Versions{}.Full(kind.API(), major), major[1:]+".", "%s %s", kind, major)
		}
	}
	require.Empty(t, ofb.Kind(0).API())
}
