package api

import "context"

// Answered lets a handler begin only while the database answers, which answers tells by its error; nil: it is not asked. What has begun
// is not given up when the database falls silent: acts and reports may take longer than a caller of a silent database should wait (cases F5).
func Answered(answers func(context.Context) error, handle func(*Exchange) error) func(*Exchange) error {
	if answers == nil {
		return handle
	}
	return func(x *Exchange) error {
		if err := answers(x.R.Context()); err != nil {
			return err
		}
		return handle(x)
	}
}
