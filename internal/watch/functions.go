package watch

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr"
)

// badValue is what a function says of a value it cannot take. It never repeats the value.
type badValue string

// Error says what would be right.
func (e badValue) Error() string { return string(e) }

const errMissing = badValue("the origin did not tell this value, and it could not be fetched any more")

// function is one that expressions may call. All are pure: the same row told again gives the same bytes. A null as first
// argument gives null, so that a member of the document is left out where its column is null.
type function struct {
	do    func(args []any) (any, error)
	types []any // for the check alone
}

var functions = map[string]function{
	"string":       {onFirst(toText), []any{new(func(any) string)}},
	"instant":      {taking(1, 2, instantOf), []any{new(func(any) string), new(func(any, string) string)}},
	"date":         {taking(1, 2, dateOf), []any{new(func(any) string), new(func(any, string) string)}},
	"fromUnix":     {onFirst(fromUnix(time.Second)), []any{new(func(any) string)}},
	"fromUnixMs":   {onFirst(fromUnix(time.Millisecond)), []any{new(func(any) string)}},
	"fromUnixUs":   {taking(1, 2, fromUnixUs), []any{new(func(any) string), new(func(any, string) string)}},
	"fromDays":     {onFirst(fromDays), []any{new(func(any) string)}},
	"decimal":      {taking(2, 2, decimalOf), []any{new(func(any, int) string)}},
	"amount":       {onFirst(amountOf), []any{new(func(any) string)}},
	"cents":        {onFirst(centsOf), []any{new(func(any) string)}},
	"lower":        {onText(strings.ToLower), []any{new(func(string) string)}},
	"upper":        {onText(strings.ToUpper), []any{new(func(string) string)}},
	"trim":         {onText(strings.TrimSpace), []any{new(func(string) string)}},
	"digits":       {onText(digitsOf), []any{new(func(string) string)}},
	"alphanumeric": {onText(alphanumericOf), []any{new(func(string) string)}},
	"padLeft":      {taking(3, 3, padLeft), []any{new(func(any, int, string) string)}},
	"replace":      {onTexts(3, replaceIn), []any{new(func(string, string, string) string)}},
	"split":        {onTexts(2, splitAt), []any{new(func(string, string) []any)}},
	"join":         {taking(2, 2, joinWith), []any{new(func(any, string) string)}},
	"oneOf":        {oneOf, []any{new(func(any, ...any) bool)}},
	"fromJSON":     {onFirst(fromJSON), []any{new(func(string) any)}},
}

// builtins are the library's own that stay: they read no clock and make little out of little.
var builtins = []string{
	"all", "none", "any", "one", "filter", "map", "find", "count", "sum", "len", "abs", "round", "floor", "ceil", "int", "float", "max", "min",
	"first", "last", "concat",
}

var functionNames = func() []string {
	var names []string
	for name := range functions {
		names = append(names, name)
	}
	slices.Sort(names)
	return append(names, builtins...)
}()

// typedFunctions are for the checks, untypedFunctions for what runs.
const (
	typedFunctions   = true
	untypedFunctions = false
)

// options is the language: our functions, the builtins that stay, the bounds. What runs hands each function its budget.
func options(typed bool) []expr.Option {
	all := []expr.Option{expr.MaxNodes(maxNodes), expr.DisableAllBuiltins()}
	for _, name := range builtins {
		all = append(all, expr.EnableBuiltin(name))
	}
	for name, f := range functions {
		if typed {
			all = append(all, expr.Function(name, func(args ...any) (any, error) { return f.do(args) }, f.types...))
		} else {
			all = append(all, expr.Function(name, charged(f.do)))
		}
	}
	return append(all, expr.Function(plusName, charged(func(args []any) (any, error) { return plus(args[0], args[1]) })),
		expr.Function(slotName, charged(slotOf)), expr.Function(readName, charged(readOf)))
}

const errArity = badValue("a function has the wrong number of arguments")

// taking makes a function of least to most arguments, at least one; null as the first gives null.
func taking(least, most int, do func([]any) (any, error)) func([]any) (any, error) {
	return func(args []any) (any, error) {
		switch {
		case len(args) < least || len(args) > most:
			return nil, errArity
		case args[0] == nil:
			return nil, nil
		}
		return do(args)
	}
}

func onFirst(do func(any) (any, error)) func([]any) (any, error) {
	return taking(1, 1, func(args []any) (any, error) { return do(args[0]) })
}

func onTexts(n int, do func([]string) (any, error)) func([]any) (any, error) {
	return taking(n, n, func(args []any) (any, error) {
		s, err := texts(args)
		if err != nil {
			return nil, err
		}
		return do(s)
	})
}

func onText(do func(string) string) func([]any) (any, error) {
	return onTexts(1, func(s []string) (any, error) { return do(s[0]), nil })
}

// texts takes arguments that must be text.
func texts(args []any) ([]string, error) {
	out := make([]string, len(args))
	for i, a := range args {
		s, ok := a.(string)
		if !ok {
			return nil, badValue("the function takes text")
		}
		out[i] = s
	}
	return out, nil
}

func toText(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int:
		return strconv.Itoa(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	}
	return nil, badValue("string() takes text, a number or a truth, not a list or an object")
}

// plus adds numbers and joins texts. What would be half a text, as an id made of null, is refused.
func plus(a, b any) (any, error) {
	switch x := a.(type) {
	case string:
		if y, ok := b.(string); ok {
			if len(x)+len(y) > maxText {
				return nil, badValue(fmt.Sprintf("a text grows beyond %d bytes", maxText))
			}
			return x + y, nil
		}
	case int:
		switch y := b.(type) {
		case int:
			if sum := x + y; (sum > x) == (y > 0) {
				return sum, nil
			}
			return nil, badValue("a sum is out of range")
		case float64:
			return float64(x) + y, nil
		}
	case float64:
		switch y := b.(type) {
		case int:
			return x + float64(y), nil
		case float64:
			return x + y, nil
		}
	}
	if a == nil || b == nil {
		return nil, errNull
	}
	return nil, badValue("+ takes two texts or two numbers; string() makes text of a number")
}

const errNull = badValue("a value is null; say with ?? what stands for it")

// amountOf writes money as the APIs do: digits, a point, two decimals. It rounds nothing.
func amountOf(v any) (any, error) {
	t, err := toText(v)
	if err != nil {
		return nil, badValue("amount() takes text or a number")
	}
	whole, decimals, _ := strings.Cut(t.(string), ".")
	decimals = strings.TrimRight(decimals, "0")
	if whole == "" || len(whole) > 16 || len(decimals) > 2 || !isDigits(whole) || !isDigits(decimals) {
		return nil, badValue("amount() takes a sum such as 1500 or 1500.10: at most 16 digits and two decimals, no sign")
	}
	return whole + "." + decimals + "00"[len(decimals):], nil
}

// centsOf writes a number of cents as amountOf does.
func centsOf(v any) (any, error) {
	t, err := toText(v)
	if err != nil {
		return nil, badValue("cents() takes a number of cents")
	}
	s := t.(string)
	if s == "" || len(s) > 18 || !isDigits(s) {
		return nil, badValue("cents() takes a whole number of cents without sign")
	}
	s = strings.Repeat("0", max(0, 3-len(s))) + s
	return s[:len(s)-2] + "." + s[len(s)-2:], nil
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// alphanumericOf keeps letters and digits, in capitals: a CNPJ may have letters since July 2026 (Instrução Normativa RFB 2.229).
func alphanumericOf(s string) string {
	return strings.Map(func(r rune) rune {
		if (r < '0' || r > '9') && (r < 'A' || r > 'Z') {
			return -1
		}
		return r
	}, strings.ToUpper(s))
}

// digitsOf keeps digits. A CNPJ with letters stays whole: without its letters it may look like a CPF.
func digitsOf(s string) string {
	if c := alphanumericOf(s); isLetteredCNPJ(strings.TrimSpace(s), c) {
		return c
	}
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}

// The forms of a CNPJ: with its punctuation, and without. They are of ASCII alone: (?i) would also take ſ and the Kelvin sign.
var (
	punctuatedCNPJ = regexp.MustCompile(`^[0-9A-Za-z]{2}\.[0-9A-Za-z]{3}\.[0-9A-Za-z]{3}/[0-9A-Za-z]{4}-[0-9]{2}$`)
	plainCNPJ      = regexp.MustCompile(`^[0-9A-Za-z]{12}[0-9]{2}$`)
)

// isLetteredCNPJ tells whether a text is a CNPJ with letters: by its punctuation, or by its check digits. bare has its letters, in capitals,
// and digits.
func isLetteredCNPJ(s, bare string) bool {
	return len(bare) == 14 && !isDigits(bare) && (punctuatedCNPJ.MatchString(s) || plainCNPJ.MatchString(s) && checksCNPJ(bare))
}

// checksCNPJ tells whether the last two of 14 letters and digits are the check digits of the others: sums modulo 11, in which a character
// counts by its code less that of 0, with weights of 2 to 9 from right to left.
func checksCNPJ(c string) bool {
	for _, n := range []int{12, 13} {
		sum := 0
		for i := range n {
			sum += int(c[i]-'0') * (2 + (n-1-i)%8)
		}
		want := 11 - sum%11
		if want > 9 {
			want = 0
		}
		if int(c[n]-'0') != want {
			return false
		}
	}
	return true
}

// maxPad bounds padLeft.
const maxPad = 256

// padLeft fills a text or number up from the left: an ISPB that is kept as a number is padLeft(ispb, 8, "0").
func padLeft(args []any) (any, error) {
	t, err := toText(args[0])
	if err != nil {
		return nil, err
	}
	n, ok := args[1].(int)
	pad, ok2 := args[2].(string)
	if !ok || !ok2 || len(pad) != 1 || n < 0 || n > maxPad {
		return nil, badValue("padLeft() takes a value, a length up to 256, and one character")
	}
	return strings.Repeat(pad, max(0, n-len(t.(string)))) + t.(string), nil
}

func replaceIn(s []string) (any, error) {
	if s[1] == "" || len(s[0])+strings.Count(s[0], s[1])*len(s[2]) > maxText {
		return nil, badValue(fmt.Sprintf("replace() replaces a text that is not empty, and makes at most %d bytes", maxText))
	}
	return strings.ReplaceAll(s[0], s[1], s[2]), nil
}

func splitAt(s []string) (any, error) {
	if s[1] == "" || strings.Count(s[0], s[1]) > maxNodesOfValue {
		return nil, badValue("split() takes a separator that is not empty, and makes a list of reasonable length")
	}
	list := []any{}
	for part := range strings.SplitSeq(s[0], s[1]) {
		list = append(list, part)
	}
	return list, nil
}

func joinWith(args []any) (any, error) {
	list, ok := args[0].([]any)
	between, ok2 := args[1].(string)
	if !ok || !ok2 {
		return nil, badValue("join() takes a list of texts and what stands between them")
	}
	parts, err := texts(list)
	if err != nil {
		return nil, err
	}
	size := len(between) * len(parts)
	for _, p := range parts {
		size += len(p)
	}
	if size > maxText {
		return nil, badValue(fmt.Sprintf("join() makes at most %d bytes", maxText))
	}
	return strings.Join(parts, between), nil
}

// oneOf reports whether the first argument equals one of the others; null is none of them.
func oneOf(args []any) (any, error) {
	if len(args) == 0 {
		return nil, errArity
	}
	switch args[0].(type) {
	case string, bool, int, float64:
		return slices.Contains(args[1:], args[0]), nil
	case nil:
		return false, nil
	}
	return nil, badValue("oneOf() compares texts, numbers and truths")
}

func fromJSON(v any) (any, error) {
	s, ok := v.(string)
	if !ok {
		return nil, badValue("fromJSON() takes text")
	}
	parsed, err := DecodeJSON([]byte(s))
	if err != nil {
		return nil, badValue("fromJSON() takes the text of one JSON value")
	}
	return plain(parsed)
}
