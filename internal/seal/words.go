package seal

import "fmt"

// trouble is an error of ours about an anchor or a witness, with its text in both languages. What a system or another server says
// stays as it is.
type trouble struct {
	en, pt string
	of     error // what it is one of; nil: of none
}

// Error is the text in English.
func (t *trouble) Error() string { return t.en }

// Portuguese is the text for people who read Portuguese.
func (t *trouble) Portuguese() string { return t.pt }

// Unwrap is what the trouble is one of.
func (t *trouble) Unwrap() error { return t.of }

// troubled puts args into both texts.
func troubled(en, pt string, args ...any) *trouble {
	return &trouble{en: fmt.Sprintf(en, args...), pt: fmt.Sprintf(pt, args...)}
}

// as makes the trouble one of another error, whose text it has already.
func (t *trouble) as(of error) *trouble {
	t.of = of
	return t
}
