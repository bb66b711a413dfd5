package intake

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/ofb"
)

// TestCheckMayBeCalledByManyAtOnce is about the real schemas, as the race detector sees them: package openapi is tested without.
func TestCheckMayBeCalledByManyAtOnce(t *testing.T) {
	documents, err := schemas()
	require.NoError(t, err)
	forms := map[ofb.Kind][]openapitest.Option{
		ofb.PaymentConsent: {
			openapitest.Scheduled("single"), openapitest.Scheduled("daily"), openapitest.Scheduled("weekly"),
			openapitest.Scheduled("monthly"), openapitest.Scheduled("custom"),
		},
		ofb.RecurringConsent: {openapitest.Product("sweeping"), openapitest.Product("vrp")},
	}
	check := func(kind ofb.Kind, version string, status ofb.Status, options ...openapitest.Option) {
		for _, all := range [][]openapitest.Option{options, append(options, openapitest.Complete())} {
			if problems := documents.Check(kind, version, openapitest.Data(kind, version, status, openapitest.SampleID(kind, 1), all...)); problems != nil {
				t.Errorf("%v %s %s: %v", kind, version, status, problems)
			}
		}
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for _, kind := range ofb.Kinds() {
				for _, version := range kind.Versions() {
					for _, status := range kind.Statuses() {
						check(kind, version, status)
						for _, form := range forms[kind] {
							check(kind, version, status, form)
						}
					}
				}
			}
		})
	}
	group.Wait()
}
