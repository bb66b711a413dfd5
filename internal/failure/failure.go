// Package failure lists what an error of ours can say of itself, and who acts on it.
//
// An error says it by a method without arguments that returns true (Portuguese returns a text); the package that makes the error need not be known to
// the one that asks. Each function here looks for its method in the whole chain of wrapped errors. It returns false for
// nil, and for an error that does not have the method.
//
// Errors that only one caller tells apart (intake.ErrBusy, jws.ErrUnavailable, spool.ErrFull, watch.ErrAlone, …) are
// variables of the package that returns them, and are not listed here.
package failure

import "errors"

// Transient says that the cause passes by itself and that a retry is safe: the database is away, or another replica was
// first. Intake, the spool and the maker of exports try again; dispatch blames no attempt for it; both listeners answer
// 503. A record that fails without it fails for its own reason.
func Transient(err error) bool {
	var e interface{ Transient() bool }
	return errors.As(err, &e) && e.Transient()
}

// Contended says, beside Transient, that another session holds a lock, perhaps on one row only. Intake and dispatch go on
// with the other rows.
func Contended(err error) bool {
	var e interface{ Contended() bool }
	return errors.As(err, &e) && e.Contended()
}

// NotFound says that nothing is stored under this name or id. The internal listener answers 404.
func NotFound(err error) bool {
	var e interface{ NotFound() bool }
	return errors.As(err, &e) && e.NotFound()
}

// Conflict says that what is stored forbids the call. The internal listener answers 409 with the text, which is the
// error's own without what wraps it.
func Conflict(err error) (text string, is bool) {
	var e interface {
		error
		Conflict() bool
	}
	if errors.As(err, &e) && e.Conflict() {
		return e.Error(), true
	}
	return "", false
}

// Portuguese is the text of an error in Portuguese; "" where the error has none. The internal listener answers a Conflict with it
// to callers who prefer that language, and the command line says with it why an address may not be dialled.
func Portuguese(err error) string {
	var e interface{ Portuguese() string }
	if errors.As(err, &e) {
		return e.Portuguese()
	}
	return ""
}

// Damaged says that what is stored is not what was sealed. The internal listener answers 500 `log_damaged`, and a person
// runs `arauto audit verify`.
func Damaged(err error) bool {
	var e interface{ Damaged() bool }
	return errors.As(err, &e) && e.Damaged()
}

// TooWide says that a search took longer than it may, or found more than may be kept. The internal listener answers 400 `too_wide`, and the caller narrows
// the search.
func TooWide(err error) bool {
	var e interface{ TooWide() bool }
	return errors.As(err, &e) && e.TooWide()
}
