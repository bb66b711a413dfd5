package openapi

import (
	"errors"
	"regexp"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
)

// patternForms says in words what each pattern of the documents asks for (the patterns are those of status-apis §1.9).
// A test keeps it complete.
var patternForms = map[string]text{
	`^urn:[a-zA-Z0-9][a-zA-Z0-9\-]{0,31}:[a-zA-Z0-9()+,\-.:=@;$_!*'%\/?#]+$`: {
		"a URN such as urn:bank:0b8f6c2e", "uma URN como urn:banco:0b8f6c2e",
	},
	`^[a-zA-Z0-9][a-zA-Z0-9\-]{0,99}$`: {
		"letters, digits and hyphens, beginning with a letter or digit",
		"letras, dígitos e hifens, começando com letra ou dígito",
	},
	`^(\d{4})-(1[0-2]|0?[1-9])-(3[01]|[12][0-9]|0?[1-9])T(?:[01]\d|2[0123]):(?:[012345]\d):(?:[012345]\d)Z$`: {
		"an instant in UTC without fraction, such as 2026-11-21T12:00:00Z",
		"um instante em UTC sem fração, como 2026-11-21T12:00:00Z",
	},
	`^(\d{4})-(1[0-2]|0?[1-9])-(3[01]|[12][0-9]|0?[1-9])$`: {
		"a day such as 2026-11-21", "um dia como 2026-11-21",
	},
	`^([E])([0-9]{8})([0-9]{4})(0[1-9]|1[0-2])(0[1-9]|[1-2][0-9]|3[0-1])(2[0-3]|[01][0-9])([0-5][0-9])([a-zA-Z0-9]{11})$`: {
		"E, the ISPB of 8 digits, year, month, day, hour and minute, and 11 letters or digits",
		"E, o ISPB de 8 dígitos, ano, mês, dia, hora e minuto, e 11 letras ou dígitos",
	},
	`^([E])([0-9A-Z]{8})([0-9]{4})(0[1-9]|1[0-2])(0[1-9]|[1-2][0-9]|3[0-1])(2[0-3]|[01][0-9])([0-5][0-9])([a-zA-Z0-9]{11})$`: {
		"E, the ISPB of 8 digits or capitals, year, month, day, hour and minute, and 11 letters or digits",
		"E, o ISPB de 8 dígitos ou maiúsculas, ano, mês, dia, hora e minuto, e 11 letras ou dígitos",
	},
	`^\d{11}$`:                        {"11 digits (CPF)", "11 dígitos (CPF)"},
	`^[0-9A-Z]{12}[0-9]{2}$`:          {"12 digits or capitals and 2 digits (CNPJ)", "12 dígitos ou maiúsculas e 2 dígitos (CNPJ)"},
	`^((\d{1,16}\.\d{2}))$`:           {"an amount with two decimals, such as 100.12", "um valor com duas decimais, como 100.12"},
	`^([A-Z]{3})$`:                    {"three capitals, such as BRL", "três maiúsculas, como BRL"},
	`^\d{7}$`:                         {"7 digits (IBGE town code)", "7 dígitos (código IBGE do município)"},
	`^[0-9]{8}$`:                      {"8 digits (ISPB)", "8 dígitos (ISPB)"},
	`^[0-9A-Z]{8}$`:                   {"8 digits or capitals (ISPB)", "8 dígitos ou maiúsculas (ISPB)"},
	`^[0-9]{1,4}$`:                    {"1 to 4 digits", "de 1 a 4 dígitos"},
	`^[0-9]{1,20}$`:                   {"1 to 20 digits", "de 1 a 20 dígitos"},
	`^[A-Z]{3}$`:                      {"three capitals: CPF", "três maiúsculas: CPF"},
	`^[A-Z]{4}$`:                      {"four capitals: CNPJ", "quatro maiúsculas: CNPJ"},
	`^[a-zA-Z0-9]{1,35}$`:             {"1 to 35 letters and digits", "de 1 a 35 letras e dígitos"},
	`^[\u0020-\u007E\u00A1-\u00FF]+$`: {"printable characters of Latin-1", "caracteres imprimíveis de Latin-1"},
	`^([0-9]{11})$|^([0-9A-Z]{12}[0-9]{2})$`: {
		"11 digits (CPF), or 12 digits or capitals and 2 digits (CNPJ)",
		"11 dígitos (CPF), ou 12 dígitos ou maiúsculas e 2 dígitos (CNPJ)",
	},
	`^([A-Za-zÀ-ÖØ-öø-ÿ,.@:&*+_<>()!?/\\$%\d' -]+)$`: {
		"letters, digits, spaces and the signs ,.@:&*+_<>()!?/\\$%'-",
		"letras, dígitos, espaços e os sinais ,.@:&*+_<>()!?/\\$%'-",
	},
	payloadPattern: {
		"a compact JWS: three parts of base64url with dots between", "um JWS compacto: três partes em base64url separadas por pontos",
	},
}

// formatForms says what a text of the right form may still fail to be.
var formatForms = map[string]text{
	"date-time": {
		"instant, with two digits for month and day, such as 2026-11-21T12:00:00Z",
		"um instante real, com dois dígitos para mês e dia, como 2026-11-21T12:00:00Z",
	},
	"date": {
		"day, with two digits for month and day, such as 2026-11-21",
		"um dia real, com dois dígitos para mês e dia, como 2026-11-21",
	},
}

// payloadPattern is that of payloadJWS, the one member that is long: up to 16,384 characters.
const payloadPattern = `^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`

// compilePattern makes the matcher of a pattern. The validator keeps it for the pattern's text, in a cache of the whole
// process. Patterns must be RE2; those of ours are.
func compilePattern(expression string) (openapi3.RegexMatcher, error) {
	if expression == payloadPattern {
		return payloadMatcher{}, nil
	}
	// RE2 writes \u00A1 as \x{00A1}.
	return regexp.Compile(unicodeEscape.ReplaceAllString(expression, `\x{$1}`))
}

var unicodeEscape = regexp.MustCompile(`\\u([0-9A-Fa-f]{4})`)

// payloadMatcher is payloadPattern by hand: the regular expression takes up to a millisecond for 16 KiB, which is
// twenty times the rest of the document.
type payloadMatcher struct{}

// MatchString tells whether s is three parts of base64url with dots between.
func (payloadMatcher) MatchString(s string) bool {
	dots, part := 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			part++
		case c == '.' && part > 0:
			dots, part = dots+1, 0
		default:
			return false
		}
	}
	return dots == 2 && part > 0
}

// The layouts of status-apis §1.8. The patterns alone would admit the 31st of February, and months of one digit, which
// RFC 3339 does not know.
const (
	instantLayout = "2006-01-02T15:04:05Z"
	dayLayout     = "2006-01-02"
)

// layouts are those of the formats of the documents.
var layouts = map[string]string{"date-time": instantLayout, "date": dayLayout}

var errNotReal = errors.New("not a real day or instant") // says nothing of the value

// exists tells whether s is a day or an instant that there is, written as the layout is.
func exists(layout, s string) bool {
	_, err := time.Parse(layout, s)
	return err == nil && len(s) == len(layout)
}

// formatValidators refuse dates that do not exist.
func formatValidators() map[string]openapi3.StringFormatValidator {
	validators := map[string]openapi3.StringFormatValidator{}
	for format, layout := range layouts {
		validators[format] = openapi3.NewCallbackValidator(func(s string) error {
			if !exists(layout, s) {
				return errNotReal
			}
			return nil
		})
	}
	return validators
}
