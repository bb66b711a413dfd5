package history

// Actor is who calls us, and from where: what the record of an act keeps of it.
type Actor struct {
	Subject string // of the token
	Role    string // by which the call was admitted
	Source  string // the socket's address and port, never a header's
}

// RoleInitiator is the role of an initiator that calls the extension.
const RoleInitiator = "initiator"

// ActorKey is the key under which the context of a call carries its Actor.
type ActorKey struct{}

// LogReading is what the history keeps of somebody who read it (cases N3): who and from where, what was asked for, how much
// was found, and what it was.
type LogReading struct {
	Actor   Actor             // zero: the one of the context
	Act     string            // search, entry, proof, dossier, export, …
	Filter  map[string]string // what was asked for, by parameter
	Size    int64             // of the log that was read; 0: not only what is sealed
	Rows    int64
	SHA256  string // of what was handed over, hexadecimal
	Repeats int64  // how often the same was read once more since; the others are of the last time
}
