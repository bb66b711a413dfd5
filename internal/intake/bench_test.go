package intake

import (
	"encoding/json"
	"testing"

	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// BenchmarkRead is what a change costs before its commit: decoding, schema, digests.
func BenchmarkRead(b *testing.B) {
	in := withSchemas(b)
	for _, kind := range ofb.Kinds() {
		version := kind.Versions()[len(kind.Versions())-1]
		status := kind.Statuses()[2]
		data := openapitest.Document(kind, version, status, openapitest.SampleID(kind, 1), openapitest.Complete())
		text := line(b, map[string]any{"kind": kind.String(), "apiVersion": version, "data": json.RawMessage(data)})
		b.Run(kind.String(), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if c, err := in.Read(text, Origin{Source: "api"}); err != nil || len(c.Problems) > 0 {
					b.Fatal(err, c.Problems)
				}
			}
		})
		b.Run(kind.String()+"/decode", func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decode(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkJudge is what a change costs while its resource is locked.
func BenchmarkJudge(b *testing.B) {
	in := New(Config{NewID: counter()})
	before := revised(ofb.PixPayment, 1, state(ofb.RCVD, 1, ""))
	c := revised(ofb.PixPayment, 2, state(ofb.ACSC, 2, ""))
	past := notice.Past{Push: true, Resource: current(before), Before: stored(before, ofb.NotATrigger, 0)}
	b.ReportAllocs()
	for b.Loop() {
		if in.judge(c, &past).Announce == nil {
			b.Fatal("silent")
		}
	}
}
