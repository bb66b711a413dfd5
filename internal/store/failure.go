package store

import (
	"errors"
	"fmt"

	"github.com/arauto/arauto/internal/history"
)

// This file lists the errors of the store and of its log. An error tells its reader what to do by a method, so that the
// readers need not know this package:
//
//	method       true means                                   who acts on it, and how
//	Transient    the outcome is unknown, a retry is safe      api answers 503; intake, spool and dispatch try again
//	Contended    the cause is a lock, perhaps of one row      intake and dispatch try the rows of a batch one by one
//	NotFound     the resource is not found                    api answers 404
//	Conflict     what is stored forbids the act               api answers 409 with the text
//	TooWide      the search takes too long                    api answers 400 too_wide
//	Damaged      the log's tables are not what was signed     api answers 500 log_damaged; the sealer stops

// passing is an error that may be gone when the same is tried again.
type passing string

// Error is the text itself.
func (p passing) Error() string { return string(p) }

// Transient tells that a retry is safe.
func (passing) Transient() bool { return true }

// absent is the error of something that is not there.
type absent string

// Error is the text itself.
func (a absent) Error() string { return string(a) }

// NotFound tells that the resource does not exist.
func (absent) NotFound() bool { return true }

// refusal is an act that what is stored forbids.
type refusal struct{ en, pt string }

// Error is the text itself, fit to be shown.
func (r refusal) Error() string { return r.en }

// Portuguese is the text for people who read Portuguese.
func (r refusal) Portuguese() string { return r.pt }

// Conflict tells that the act contradicts what is stored.
func (refusal) Conflict() bool { return true }

// halt is a reason to seal nothing.
type halt struct{ en, pt string }

// Error is the text itself.
func (h halt) Error() string { return h.en }

// Portuguese is the text for people who read Portuguese.
func (h halt) Portuguese() string { return h.pt }

// damage means that the log's own tables are not what was signed.
type damage struct{ halt }

// Damaged tells that the log's own tables are not what was signed.
func (damage) Damaged() bool { return true }

// outage is a failure of our database that is not about a record.
type outage struct {
	cause FaultCause
	lock  bool // another session holds a lock that we waited for
}

// Error says the cause and the cure.
func (o outage) Error() string { return o.cause.Cure() }

// Is makes every outage an ErrUnavailable.
func (o outage) Is(target error) bool { return target == ErrUnavailable }

// Transient tells that a retry is safe.
func (outage) Transient() bool { return true }

// Contended tells whether a lock is to blame, perhaps of one row: others may be stored.
func (o outage) Contended() bool { return o.lock }

// TooWide is the error of a search that took longer than it may, or found more than may be kept.
type TooWide struct{ Err error }

// Error is the text of the database's error.
func (t TooWide) Error() string { return t.Err.Error() }

// TooWide tells that a narrower search would be answered.
func (TooWide) TooWide() bool { return true }

// Unwrap is the error of the database.
func (t TooWide) Unwrap() error { return t.Err }

// Errors of every act.
var (
	// ErrUnavailable means that the database could not be asked or did not answer; nothing is known to be stored. Every
	// outage, whatever its cause, is one; see FaultCause.
	ErrUnavailable error = passing("the database is not available")
	// ErrURL means that the address of the database is not one. The command line shows it to the operator.
	ErrURL = errors.New("not a PostgreSQL URL: write postgres://user@host:5432/database")
	// ErrNotFound means that there is no such row.
	ErrNotFound error = absent("not found")
	// ErrRace means that another replica made the same resource first, or that two waited for each other; intake tries the
	// same batch again, which then sees what is stored.
	ErrRace error = passing("another replica stored the same resource first")
)

// Why a notification is not sent once more, told to the operator who asked.
var (
	// ErrNoPush means that the client has no registered address.
	ErrNoPush error = refusal{
		en: "the client has no registered webhook address",
		pt: "o cliente não tem endereço de webhook registrado",
	}
	// ErrNotOver means that the notification is still to be attempted, or was delivered.
	ErrNotOver error = refusal{
		en: "only a notification that is exhausted or cancelled can be sent once more",
		pt: "só uma notificação desistida ou cancelada pode ser enviada mais uma vez",
	}
	// ErrResent means that it was sent once more already, asked for by an operator or by its initiator, or that this is about to be.
	ErrResent error = refusal{
		en: "it was sent once more already, or is about to be; a notification has one POST beyond the three of the rule",
		pt: "ela já foi enviada mais uma vez, ou está para ser; uma notificação tem um só POST além dos três da regra",
	}
)

// ErrOtherHold means that a hold of this name keeps something else. It is told to the auditor who asked.
var ErrOtherHold error = refusal{
	en: "there is a hold of this name, and it keeps something else",
	pt: "já existe uma retenção com este nome, e ela mantém outra coisa",
}

// Why a request that waits for a second person is refused or not decided, told to the person who tried.
var (
	// ErrRequests means that too many wait.
	ErrRequests error = refusal{
		en: "1000 requests wait for a decision; decide about them first",
		pt: "1000 pedidos esperam uma decisão; decida primeiro sobre esses",
	}
	// ErrRequestsOfOne means that too many of one asker wait.
	ErrRequestsOfOne error = refusal{
		en: "500 requests of yours wait for a decision; another person must decide about them first",
		pt: "500 pedidos seus esperam uma decisão; outra pessoa deve decidir primeiro sobre esses",
	}
	// ErrOwnRequest means that who asked tried to decide.
	ErrOwnRequest error = refusal{
		en: "this is your own request; another person must decide about it",
		pt: "o pedido é seu; outra pessoa deve decidir sobre ele",
	}
	// ErrRequestOver means that somebody decided, or that 24 h are over.
	ErrRequestOver error = refusal{
		en: "the request does not wait for a decision any more",
		pt: "o pedido não espera mais uma decisão",
	}
	// ErrCarriedOut means that an earlier start of an approved request did it.
	ErrCarriedOut error = refusal{
		en: "the approved act was carried out already",
		pt: "o ato aprovado já foi executado",
	}
)

// ErrReconciling is told to a person who asks for a reconciliation while another one goes on. ErrRunLost ends one that another
// replica took over.
var (
	ErrReconciling error = refusal{
		en: "a reconciliation that somebody asked for goes on; ask again when it has ended",
		pt: "uma reconciliação pedida por alguém está em curso; peça de novo quando ela terminar",
	}
	ErrRunLost = errors.New("the reconciliation was taken over by another replica")
)

// Why an export is refused, or ends without a file.
var (
	// ErrExports is told to the auditor who asked.
	ErrExports error = refusal{
		en: "20 exports wait or are being made; ask again when one has ended, or delete one",
		pt: "20 exportações esperam ou estão sendo feitas; peça de novo quando uma terminar, ou apague uma",
	}
	// ErrExportLarge and ErrExportSpace end an export; evidence.Maker stores the text with it.
	ErrExportLarge = errors.New(history.ExportTooLarge[0])
	ErrExportSpace = errors.New(history.ExportsTooMuch[0])
	// ErrExportLost means that the export was deleted, or that another replica makes it by now; evidence.Maker stops.
	ErrExportLost = errors.New("the export was deleted, or taken over by another replica")
)

// Why nothing is sealed. The sealer stops and raises an alarm until an operator has looked.
var (
	// ErrTampered means that what the log is built upon is no longer what was signed: sealing stops until a person has
	// looked, since a signature over it would ruin the log irreparably.
	ErrTampered error = damage{halt{
		en: "what the log is built upon is not what was signed; run arauto audit verify",
		pt: "aquilo de que o log é feito não é o que foi assinado; rode arauto audit verify",
	}}
	// ErrSetBack means that the log does not extend a checkpoint that was published: the database was set back to an older
	// state, or the log was written anew. Sealing stops, since a signature would make a second log of the same name.
	ErrSetBack error = halt{
		en: "the log does not extend a published checkpoint: the database was set back or the log was written anew; run arauto audit verify with all anchors, and state what is lost with arauto audit loss",
		pt: "o log não continua um checkpoint publicado: o banco de dados voltou atrás ou o log foi escrito de novo; rode arauto audit verify com todas as âncoras, e declare o que se perdeu com arauto audit loss",
	}
	// ErrWrongKey means that the key is not the one registered for the log of this database.
	ErrWrongKey error = halt{
		en: "the key is not the registered key of this database's log",
		pt: "a chave não é a chave registrada do log deste banco de dados",
	}
)

// ErrNothingLost means that the log extends every published checkpoint: there is no loss to state. arauto audit loss
// shows it to the operator.
var ErrNothingLost = errors.New("the log extends every checkpoint given: there is no loss to state")

// ErrNoCheckpoint means that nothing is sealed yet, or that no checkpoint has the size asked for.
var ErrNoCheckpoint error = absent("there is no such checkpoint")

// NoCheckpoint means that no checkpoint has the size asked for. It is an ErrNoCheckpoint; the command line and api show
// the nearest sizes to the auditor who asked.
type NoCheckpoint struct {
	Size         int64 // in entries
	Below, Above int64 // the nearest sizes of checkpoints, in entries; 0: there is none on that side
}

// Error names the nearest sizes.
func (e *NoCheckpoint) Error() string {
	nearest := "nothing is sealed yet"
	switch {
	case e.Below > 0 && e.Above > 0:
		nearest = fmt.Sprintf("the nearest checkpoints have %d and %d entries", e.Below, e.Above)
	case e.Below+e.Above > 0:
		nearest = fmt.Sprintf("the nearest checkpoint has %d entries", e.Below+e.Above)
	}
	return fmt.Sprintf("no checkpoint has %d entries; %s", e.Size, nearest)
}

// Unwrap tells what kind of error it is.
func (*NoCheckpoint) Unwrap() error { return ErrNoCheckpoint }
