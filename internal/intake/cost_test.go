package intake

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/cost"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/openapi"
)

// What one line may cost, decoding and judging together. A line of 64 KiB takes less than 10 ms on a quiet machine; a test
// runs beside others, with the race detector, so that 200 ms must pass for a fault to be certain (before the bound, such
// lines took seconds). What a line keeps in memory is at most ten times its size; what is allocated on the way and
// dropped at once, a hundred times.
var lineBudget = cost.Budget{Time: 200 * time.Millisecond, Bytes: 64 << 10, BytesPerByte: 100}

const lineHolds = 10

// hostile are the shapes of lines that cost most, each filled up to a number of bytes. Their data stands in the place of
// a Pix payment's.
var hostile = map[string]func(n int) string{
	"unknown members":          func(n int) string { return object(n, func(i int) string { return fmt.Sprintf(`"k%d":"1"`, i) }) },
	"unknown members, letters": func(n int) string { return object(n, func(i int) string { return `"` + letters(i) + `":1` }) },
	"null members":             func(n int) string { return object(n, func(i int) string { return `"` + letters(i) + `":null` }) },
	"empty objects": func(n int) string {
		return object(n, func(i int) string { return `"` + letters(i) + `":{}` })
	},
	"a list of numbers": func(n int) string { return `{"payment":[` + fill(n, "1") + `]}` },
	"a list of nulls":   func(n int) string { return `{"payment":[` + fill(n, "null") + `]}` },
	"a list of lists":   func(n int) string { return `{"payment":[` + fill(n, "[]") + `]}` },
	"a list of objects": func(n int) string { return `{"payment":[` + fill(n, "{}") + `]}` },
	"a list of texts":   func(n int) string { return `{"payment":[` + fill(n, `""`) + `]}` },
	"deep lists": func(n int) string {
		return `{"payment":[` + fill(n, strings.Repeat("[", 28)+strings.Repeat("]", 28)) + `]}`
	},
	"deep objects": func(n int) string {
		return `{"payment":[` + fill(n, strings.Repeat(`{"aa":`, 28)+"1"+strings.Repeat("}", 28)) + `]}`
	},
	"objects in a member": func(n int) string {
		return `{"cancellation":` + object(n, func(i int) string { return `"` + letters(i) + `":[{}]` }) + `}`
	},
	"one long text":          func(n int) string { return `{"paymentId":"` + strings.Repeat("a", n) + `"}` },
	"one text of escapes":    func(n int) string { return `{"paymentId":"` + strings.Repeat(`\u00e3`, n/6) + `"}` },
	"one long member name":   func(n int) string { return `{"` + strings.Repeat("a", n) + `":1}` },
	"one long number":        func(n int) string { return `{"paymentId":` + strings.Repeat("1", n) + `}` },
	"a long instant":         func(n int) string { return `{"creationDateTime":"` + strings.Repeat("2", n) + `Z"}` },
	"a long e-mail-like key": func(n int) string { return `{"proxy":"` + strings.Repeat("a.", n/2) + `@"}` },
}

func letters(i int) string {
	name := []byte{byte('a' + i%26)}
	for i /= 26; i > 0; i /= 26 {
		name = append(name, byte('a'+i%26))
	}
	return string(name)
}

func object(n int, member func(int) string) string {
	var b strings.Builder
	b.WriteByte('{')
	for i := 0; b.Len() < n-32; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(member(i))
	}
	return b.String() + "}"
}

func fill(n int, item string) string {
	return strings.TrimSuffix(strings.Repeat(item+",", n/(len(item)+1)), ",")
}

func lineOf(kind ofb.Kind, data string) []byte {
	version := kind.Versions()[len(kind.Versions())-1]
	return []byte(`{"kind":"` + kind.String() + `","clientId":"c","apiVersion":"` + version + `","revision":1,"occurredAt":"2026-11-21T12:00:00Z","data":` + data + `}`)
}

// judging is an intake as serve has it, with the real schemas.
func judging(t testing.TB, options ...openapi.Option) *Intake {
	t.Helper()
	schemas, err := openapi.Load(options...)
	require.NoError(t, err)
	return New(Config{Schema: schemas, NewID: counter(), Timers: ofb.Kinds()})
}

func TestNoLineCostsMoreThanItsSizeAllows(t *testing.T) {
	for name, in := range map[string]*Intake{"reject": judging(t), "keep": judging(t, openapi.KeepUnknown(true))} {
		for shape, data := range hostile {
			t.Run(name+"/"+shape, func(t *testing.T) {
				line := lineOf(ofb.PixPayment, data(MaxLine-200))
				require.LessOrEqual(t, len(line), MaxLine)
				run := func() { _, _ = in.Read(line, Origin{}) }
				run()
				require.Empty(t, lineBudget.Within(len(line), run))
				held := cost.Held(func() *members { m, _ := decode(line); return m })
				require.LessOrEqual(t, held, uint64(lineHolds*len(line)))
			})
			t.Run(name+"/"+shape+"/doubled", func(t *testing.T) {
				cost.Linear(t, 8<<10-200, func(n int) []byte { return lineOf(ofb.PixPayment, data(n)) }, func(line []byte) { _, _ = in.Read(line, Origin{}) })
			})
		}
	}
}

// TestAWholeDocumentFullOfFaultsCostsNoMore spoils every member of real documents at once.
func TestAWholeDocumentFullOfFaultsCostsNoMore(t *testing.T) {
	in := judging(t)
	for _, kind := range ofb.Kinds() {
		version := kind.Versions()[len(kind.Versions())-1]
		data := string(openapitest.Document(kind, version, kind.Initial(), openapitest.SampleID(kind, 1), openapitest.Complete()))
		spoilt := strings.NewReplacer(`:"`, `:"\u0001`, `true`, `"x"`, `false`, `{}`).Replace(data)
		line := lineOf(kind, spoilt)
		run := func() { _, _ = in.Read(line, Origin{}) }
		run()
		require.Empty(t, cost.Budget{Time: lineBudget.Time, Bytes: 512 << 10, BytesPerByte: lineBudget.BytesPerByte}.Within(len(line), run), kind)
	}
}
