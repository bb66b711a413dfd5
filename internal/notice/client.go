package notice

// ValidClientID tells whether a client id is one: 1 to 255 printable ASCII characters without spaces.
func ValidClientID(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
