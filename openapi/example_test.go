package openapi_test

import (
	"fmt"

	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/openapi"
)

// A document of a payment is checked before it is stored. Every problem has its place, and no text repeats a value of the document.
func ExampleSchemas_Check() {
	schemas, err := openapi.Load()
	if err != nil {
		fmt.Println(err)
		return
	}
	document := openapitest.Data(ofb.PixPayment, "v5", ofb.ACSC, "pay-1")
	fmt.Println(len(schemas.Check(ofb.PixPayment, "v5", document)), "problems")

	delete(document, "endToEndId")
	document["payment"] = map[string]any{"amount": "150.5", "currency": "BRL"}
	for _, problem := range schemas.Check(ofb.PixPayment, "v5", document) {
		fmt.Println(problem.Pointer, problem.Code)
	}
	// Output:
	// 0 problems
	// /data/endToEndId required
	// /data/payment/amount pattern
}
