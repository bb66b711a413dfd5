package watch

import (
	"regexp"
	"slices"
	"strconv"

	"github.com/expr-lang/expr/builtin"
)

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// keywords of expressions.
var keywords = []string{"nil", "true", "false", "not", "and", "or", "in", "let", "if", "else", "matches", "contains", "startsWith", "endsWith"}

// ColumnName writes a column's name as an expression that gives its value: the name, or row["name"] where the name is not a word or
// means something else in expressions.
func ColumnName(column string) string {
	_, function := builtin.Index[column]
	if plainName.MatchString(column) && !function && functions[column].do == nil && !slices.Contains(reserved, column) && !slices.Contains(keywords, column) {
		return column
	}
	return nameRow + "[" + strconv.Quote(column) + "]"
}
