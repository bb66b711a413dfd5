package jws

// Remembered is the number of answers an Introspector keeps.
func (i *Introspector) Remembered() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.answers)
}
