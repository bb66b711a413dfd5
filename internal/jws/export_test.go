package jws

// Remembered is the number of answers an Introspector keeps.
func (i *Introspector) Remembered() int { return i.answers.size() }

// Remembered is the number of verified tokens an AccessVerifier keeps.
func (v *AccessVerifier) Remembered() int { return v.verified.size() }

func (s *verdicts) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.kept)
}

// RememberAtMost bounds the verified tokens that are kept.
func (v *AccessVerifier) RememberAtMost(n int) { v.verified.most = n }

// Forget forgets every verified token.
func (v *AccessVerifier) Forget() { v.verified.kept = nil }
