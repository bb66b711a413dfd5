package history

// Person is somebody who has signed in to the console.
type Person struct {
	Subject string   // identifies the person at the provider, and in the entries
	Name    string   // for pages
	Roles   []string // of the API: operator, auditor, registrar
}
