package openapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/cost"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/openapi"
)

// sample is one document: a kind in a version and a state, plain or with every optional member, of one product.
type sample struct {
	kind    ofb.Kind
	version string
	status  ofb.Status
	name    string
	options []openapitest.Option
}

func (s sample) document(more ...openapitest.Option) []byte {
	return openapitest.Document(s.kind, s.version, s.status, openapitest.SampleID(s.kind, 1), slices.Concat(s.options, more)...)
}

func (s sample) data(more ...openapitest.Option) map[string]any {
	return openapitest.Data(s.kind, s.version, s.status, openapitest.SampleID(s.kind, 1), slices.Concat(s.options, more)...)
}

// samples lists a document for every kind, version, state, product and schedule, plain and complete.
func samples() []sample {
	variants := map[ofb.Kind]map[string]openapitest.Option{
		ofb.PaymentConsent: {
			"single": openapitest.Scheduled("single"), "daily": openapitest.Scheduled("daily"), "weekly": openapitest.Scheduled("weekly"),
			"monthly": openapitest.Scheduled("monthly"), "custom": openapitest.Scheduled("custom"),
		},
		ofb.RecurringConsent: {"sweeping": openapitest.Product("sweeping"), "vrp": openapitest.Product("vrp")},
	}
	var all []sample
	for _, kind := range ofb.Kinds() {
		names := append([]string{""}, slices.Sorted(maps.Keys(variants[kind]))...)
		for _, version := range kind.Versions() {
			for _, status := range kind.Statuses() {
				for _, variant := range names {
					var options []openapitest.Option
					if variant != "" {
						options = append(options, variants[kind][variant])
					}
					name := strings.TrimSpace(fmt.Sprintf("%s %s %s %s", kind, version, status, variant))
					all = append(all, sample{kind, version, status, name, options})
					all = append(all, sample{kind, version, status, name + " complete", append(slices.Clone(options), openapitest.Complete())})
				}
			}
		}
	}
	return all
}

// strictly and leniently load once: the documents are the same for every test.
var (
	strictly  = sync.OnceValues(func() (*openapi.Schemas, error) { return openapi.Load() })
	leniently = sync.OnceValues(func() (*openapi.Schemas, error) { return openapi.Load(openapi.KeepUnknown(true)) })
)

func load(t testing.TB) *openapi.Schemas {
	t.Helper()
	schemas, err := strictly()
	require.NoError(t, err)
	return schemas
}

func loadLenient(t testing.TB) *openapi.Schemas {
	t.Helper()
	schemas, err := leniently()
	require.NoError(t, err)
	return schemas
}

// codes lists "pointer code" of problems, for comparing.
func codes(problems []notice.Problem) []string {
	list := []string{}
	for _, p := range problems {
		list = append(list, p.Pointer+" "+p.Code)
	}
	return list
}

func TestEverySampleDocumentIsWithoutProblems(t *testing.T) {
	strict, lenient := load(t), loadLenient(t)
	for _, s := range samples() {
		data := s.data()
		require.NoError(t, s.kind.CheckID(data[s.kind.IDMember()].(string)), s.name)
		require.Empty(t, strict.Check(s.kind, s.version, data), s.name)
		require.Empty(t, lenient.Check(s.kind, s.version, data), s.name)
	}
}

func TestLoadReadsNoDocument(t *testing.T) {
	require.Less(t, testing.AllocsPerRun(3, func() { _, _ = openapi.Load() }), 500.0, "one document takes tens of thousands")
}

func TestADocumentThatCannotBeReadRefusesItsChanges(t *testing.T) {
	broken, err := openapi.Load()
	require.NoError(t, err)
	broken.Unreadable()
	for _, s := range samples() {
		require.Equal(t, []string{"/data type"}, codes(broken.Check(s.kind, s.version, s.data())), s.name)
		require.Empty(t, broken.Members(s.kind, s.version), s.name)
	}
}

func TestTheSamplesHaveEveryMemberOfTheSchemas(t *testing.T) {
	for _, form := range dataSchemas(t) {
		missing := map[string]bool{}
		eachProperty("", form.schema, func(pointer string) { missing[pointer] = true })
		for _, s := range samples() {
			if s.kind == form.kind && s.version == form.version {
				eachMember("", s.data(), func(pointer string, _ any) { delete(missing, pointer) })
			}
		}
		delete(missing, "/recurringConfiguration/automatic/fixedAmount") // excluded by the variable amounts
		require.Empty(t, slices.Sorted(maps.Keys(missing)), "%s %s", form.kind, form.version)
	}
}

// TestEveryMemberIsJudged breaks every member of every complete sample in each way and wants to be told where.
func TestEveryMemberIsJudged(t *testing.T) {
	schemas := load(t)
	required := map[string]bool{}
	for _, form := range dataSchemas(t) {
		eachRequired("", form.schema, func(pointer string) {
			required[fmt.Sprint(form.kind, form.version, pointer)] = true
		})
	}
	unlimited := []string{"/paymentReference", "/proxy"} // of recurring payments: the rules give no length
	for s, members := range membersOnce() {
		for pointer, value := range members {
			check := func(what string, replacement any, remove bool) []string {
				data := s.data()
				change(data, pointer, replacement, remove)
				problems := schemas.Check(s.kind, s.version, data)
				require.LessOrEqual(t, len(problems), openapi.MaxProblems)
				for _, p := range problems {
					require.NotEmpty(t, p.Detail, "%s %s %s", s.name, pointer, what)
					require.NotEmpty(t, p.DetailPT, "%s %s %s", s.name, pointer, what)
				}
				return codes(problems)
			}
			where := "/data" + pointer
			require.Contains(t, check("null", nil, false), where+" null", "%s %s", s.name, pointer)
			require.Contains(t, check("another type", otherType(value), false), where+" type", "%s %s", s.name, pointer)
			if required[fmt.Sprint(s.kind, s.version, pointer)] {
				require.Contains(t, check("missing", nil, true), where+" required", "%s %s", s.name, pointer)
			}
			switch v := value.(type) {
			case map[string]any:
				v["unexpected"] = true
				found := check("unexpected", v, false)
				delete(v, "unexpected")
				require.Contains(t, found, where+"/unexpected unknown-member", "%s %s", s.name, pointer)
			case string:
				if s.kind != ofb.RecurringPayment || !slices.Contains(unlimited, pointer) {
					require.NotEmpty(t, check("oversized", strings.Repeat("9", 20000), false), "%s %s", s.name, pointer)
				}
			}
		}
	}
}

// membersOnce yields each member of each kind and version once, with a complete sample that has it.
func membersOnce() map[*sample]map[string]any {
	seen := map[string]bool{}
	all := map[*sample]map[string]any{}
	for _, s := range samples() {
		if !strings.HasSuffix(s.name, "complete") {
			continue
		}
		members := map[string]any{}
		eachMember("", s.data(), func(pointer string, value any) {
			key := fmt.Sprint(s.kind, s.version, pointer)
			if !seen[key] {
				members[pointer] = value
			}
			seen[key] = true
		})
		if len(members) > 0 {
			all[&s] = members
		}
	}
	return all
}

func TestKeepUnknownLetsNewMembersPassButNoNulls(t *testing.T) {
	strict, lenient := load(t), loadLenient(t)
	data := openapitest.Data(ofb.PixPayment, "v5", ofb.ACSC, "p-1", openapitest.Edit(func(data map[string]any) {
		data["novelty"] = map[string]any{"deep": []any{"x"}}
		data["payment"].(map[string]any)["fee"] = "1.00"
	}))
	require.Equal(t, []string{"/data/novelty unknown-member", "/data/payment/fee unknown-member"}, codes(strict.Check(ofb.PixPayment, "v5", data)))
	require.Empty(t, lenient.Check(ofb.PixPayment, "v5", data))

	data["novelty"] = map[string]any{"deep": []any{"x", nil}}
	require.Equal(t, []string{"/data/novelty/deep/1 null"}, codes(lenient.Check(ofb.PixPayment, "v5", data)))
	require.Contains(t, codes(strict.Check(ofb.PixPayment, "v5", data)), "/data/novelty/deep/1 null")
}

func TestAVersionThatTheKindDoesNotHaveIsAProblemOfTheVersion(t *testing.T) {
	problems := load(t).Check(ofb.Enrollment, "v5", map[string]any{})
	require.Equal(t, []string{"/apiVersion enum"}, codes(problems))
	require.Contains(t, problems[0].Detail, "v2")
}

// TestWhatATimerWritesIsValid lets every timer of package ofb fire on the state it waits in.
func TestWhatATimerWritesIsValid(t *testing.T) {
	schemas := load(t)
	fired := 0
	for _, s := range samples() {
		timer, ok := ofb.NextTimer(s.kind, s.data())
		if !ok {
			continue
		}
		after, err := timer.Fire(s.document())
		require.NoError(t, err, s.name)
		require.Empty(t, schemas.Check(s.kind, s.version, decode(t, after)), "%s after %s", s.name, timer.Rule)
		fired++
	}
	require.Positive(t, fired)
}

// TestProblemsNeverRepeatAValue writes a mark into every member, as a value and as a name, and looks for it.
func TestProblemsNeverRepeatAValue(t *testing.T) {
	const mark = "987.654.321-00 Maria"
	hidden := map[string]any{mark: nil, mark + "2": mark}
	for s, members := range membersOnce() {
		data := s.data()
		for pointer, original := range members {
			for _, value := range []any{mark, json.Number("98765432100"), []any{mark}, hidden} {
				change(data, pointer, value, false)
				problems := slices.Concat(load(t).Check(s.kind, s.version, data), loadLenient(t).Check(s.kind, s.version, data))
				for _, p := range problems {
					whole := p.Pointer + p.Code + p.Detail + p.DetailPT
					require.False(t, strings.Contains(whole, "987") || strings.Contains(whole, "Maria"), "%s %s", s.name, whole)
				}
			}
			change(data, pointer, original, false)
		}
	}
}

func FuzzCheckNeverPanics(f *testing.F) {
	for _, s := range samples() {
		if s.status == ofb.Rejected || s.status == ofb.CANC {
			f.Add(uint8(s.kind), s.version, s.document(openapitest.Created(noon)))
		}
	}
	f.Add(uint8(0), "v9", []byte(`{"a":{"b":[null,1e999,-0,"\u0000"]},"":{}}`))
	strict, lenient := load(f), loadLenient(f)
	f.Fuzz(func(t *testing.T, kind uint8, version string, document []byte) {
		decoder := json.NewDecoder(strings.NewReader(string(document)))
		decoder.UseNumber()
		var data map[string]any
		if decoder.Decode(&data) == nil {
			for _, schemas := range []*openapi.Schemas{strict, lenient} {
				require.Empty(t, cost.Parser.Within(len(document), func() { schemas.Check(ofb.Kind(kind), version, data) }))
				problems := schemas.Check(ofb.Kind(kind), version, data)
				if len(problems) > openapi.MaxProblems {
					t.Errorf("%d problems", len(problems))
				}
				for _, p := range problems {
					if p.Code == "" || p.Detail == "" || p.DetailPT == "" {
						t.Errorf("a problem without words at %s", p.Pointer)
					}
				}
			}
		}
		for _, to := range []string{"v2", "v4", "v5"} {
			if upgraded, err := openapi.Upgrade(ofb.Kind(kind), version, to, document); err == nil && json.Valid(document) && !json.Valid(upgraded) {
				t.Errorf("upgrade to %s is no JSON", to)
			}
		}
		if item, err := openapi.ListItem(ofb.Kind(kind), document); err == nil && !json.Valid(item) {
			t.Error("the list item is no JSON")
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	schemas := load(b)
	for _, kind := range ofb.Kinds() {
		version := kind.Versions()[len(kind.Versions())-1]
		for name, options := range map[string][]openapitest.Option{"plain": nil, "complete": {openapitest.Complete()}} {
			data := openapitest.Data(kind, version, kind.Statuses()[2], openapitest.SampleID(kind, 1), options...)
			b.Run(kind.String()+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if schemas.Check(kind, version, data) != nil {
						b.Fatal("the sample has problems")
					}
				}
			})
		}
	}
}

func decode(t testing.TB, document []byte) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(string(document)))
	decoder.UseNumber()
	var data map[string]any
	require.NoError(t, decoder.Decode(&data))
	return data
}

// dataSchema is the schema of `data` as the document writes it.
type dataSchema struct {
	kind    ofb.Kind
	version string
	schema  *openapi3.Schema
}

// dataSchemas finds the schemas by the operations that answer them, independently of how Load finds them.
func dataSchemas(t testing.TB) []dataSchema {
	t.Helper()
	var all []dataSchema
	for _, a := range answers {
		if a.list {
			continue
		}
		body := answerSchema(t, ours(t, a.file), a.path)
		all = append(all, dataSchema{a.kind, a.version, body.Properties["data"].Value})
	}
	return all
}

// eachProperty calls f for every member that a schema lists, items of lists as "/0".
func eachProperty(pointer string, schema *openapi3.Schema, f func(pointer string)) {
	for name, property := range schema.Properties {
		f(pointer + "/" + name)
		eachProperty(pointer+"/"+name, property.Value, f)
	}
	if schema.Items != nil {
		eachProperty(pointer+"/0", schema.Items.Value, f)
	}
}

// eachRequired calls f for every member that a schema requires.
func eachRequired(pointer string, schema *openapi3.Schema, f func(pointer string)) {
	for _, name := range schema.Required {
		f(pointer + "/" + name)
	}
	for name, property := range schema.Properties {
		eachRequired(pointer+"/"+name, property.Value, f)
	}
	if schema.Items != nil {
		eachRequired(pointer+"/0", schema.Items.Value, f)
	}
}

// eachMember calls f for every member and item of a value.
func eachMember(pointer string, value any, f func(pointer string, value any)) {
	visit := func(pointer string, value any) {
		f(pointer, value)
		eachMember(pointer, value, f)
	}
	switch v := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			visit(pointer+"/"+name, v[name])
		}
	case []any:
		for i, item := range v {
			visit(fmt.Sprint(pointer, "/", i), item)
		}
	}
}

// otherType is a value of another JSON type.
func otherType(value any) any {
	if _, ok := value.(bool); ok {
		return json.Number("1")
	}
	return true
}

// change puts a value at a pointer, or takes the member away.
func change(data map[string]any, pointer string, value any, remove bool) {
	var at any = data
	names := strings.Split(pointer[1:], "/")
	for _, name := range names[:len(names)-1] {
		switch v := at.(type) {
		case map[string]any:
			at = v[name]
		case []any:
			var i int
			_, _ = fmt.Sscan(name, &i)
			at = v[i]
		}
	}
	last := names[len(names)-1]
	switch v := at.(type) {
	case map[string]any:
		if remove {
			delete(v, last)
			return
		}
		v[last] = value
	case []any:
		var i int
		_, _ = fmt.Sscan(last, &i)
		v[i] = value
	}
}

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
