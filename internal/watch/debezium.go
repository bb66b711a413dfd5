package watch

import (
	"encoding/base64"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// unavailable is what Debezium writes in the place of a large value that an update left as it was (its setting
// unavailable.value.placeholder). It is never a value: what looks at it is told that the origin did not tell the value.
const unavailable = "__debezium_unavailable_value"

// maxScale bounds the decimals of a number that decimal reads.
const maxScale = 38

// decimalOf reads a number as Debezium writes a numeric column by default: the unscaled number as base64 of its bytes in two's
// complement, the highest first. The scale is that of the column. It keeps every decimal.
func decimalOf(args []any) (any, error) {
	text, ok := args[0].(string)
	scale, ok2 := args[1].(int)
	if !ok || !ok2 || scale < 0 || scale > maxScale {
		return nil, badValue(fmt.Sprintf("decimal() takes a text and the column's scale, 0 to %d", maxScale))
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) == 0 || len(raw) > 32 {
		return nil, badValue("decimal() takes base64 of 1 to 32 bytes, as Debezium writes a number by default")
	}
	n := new(big.Int).SetBytes(raw)
	if raw[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(raw))))
	}
	digits, sign := n.String(), ""
	if digits[0] == '-' {
		digits, sign = digits[1:], "-"
	}
	if scale == 0 {
		return sign + digits, nil
	}
	digits = strings.Repeat("0", max(0, scale+1-len(digits))) + digits
	return sign + digits[:len(digits)-scale] + "." + digits[len(digits)-scale:], nil
}

// fromUnixUs reads a count of microseconds since 1970. With a zone, the count is that of a time without zone, as Debezium writes a
// timestamp column: what the core's clock showed, counted as if it were UTC.
func fromUnixUs(args []any) (any, error) {
	t, err := toText(args[0])
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseInt(t.(string), 10, 64)
	const year10000 = 253402300800
	if err != nil || n < 0 || n >= year10000*1_000_000 {
		return nil, badValue("a count of microseconds since 1970 is a whole number, not negative, before the year 10000")
	}
	at := time.UnixMicro(n).UTC()
	if len(args) == 2 {
		name, _ := args[1].(string)
		zone, err := zoneOf(name)
		if err != nil {
			return nil, err
		}
		if at, err = inZone(at, zone); err != nil {
			return nil, err
		}
	}
	return at.Format(time.RFC3339Nano), nil
}

// fromDays reads a count of days since 1970, as Debezium writes a date column.
func fromDays(v any) (any, error) {
	n, ok := v.(int)
	const year1, year10000 = -719162, 2932897
	if !ok || n < year1 || n >= year10000 {
		return nil, badValue("a count of days since 1970 is a whole number, of a day in the years 1 to 9999")
	}
	return time.Unix(0, 0).UTC().AddDate(0, 0, n).Format(time.DateOnly), nil
}
