package store

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// FaultCause says what a failure of our database is about. Only CauseRecord may put a record aside; every other cause is an
// outage for everybody: nothing is acknowledged, and the same is tried again. docs/operations/database-faults.md lists
// the SQLSTATEs of each.
type FaultCause string

// The causes of failures.
const (
	CauseRecord      FaultCause = "record"      // the row's own data, or how large it is
	CauseConnection  FaultCause = "connection"  // the server is away, starts, stops, or ended the session
	CauseCredentials FaultCause = "credentials" // the server refuses our login
	CauseSession     FaultCause = "session"     // a session has not the role, search path or time zone that we asked for
	CauseRights      FaultCause = "rights"      // our role lacks a right, or there is no such role
	CauseSchema      FaultCause = "schema"      // a table, column or function is not what this binary needs
	CauseResources   FaultCause = "resources"   // disk, memory, connections, I/O of the server
	CauseReadOnly    FaultCause = "read-only"   // the server is a standby, or set to read only
	CauseContention  FaultCause = "contention"  // a lock, a time limit, a deadlock, a serialization failure
	CauseDamage      FaultCause = "damage"      // the server found its own data or an index damaged
	CauseUnknown     FaultCause = "unknown"     // anything else: it is the record's only when that is proven
)

// Causes lists all causes that are outages, for metrics.
func Causes() []FaultCause {
	return []FaultCause{
		CauseConnection, CauseCredentials, CauseSession, CauseRights, CauseSchema, CauseResources, CauseReadOnly, CauseContention, CauseDamage, CauseUnknown,
	}
}

// cures say in one sentence what is wrong and what would be right, in English and Portuguese.
var cures = map[FaultCause][2]string{
	CauseRecord:     {"the database refuses this record", "o banco de dados recusa este registro"},
	CauseConnection: {"the database is not available", "o banco de dados não está disponível"},
	CauseCredentials: {
		"the database refuses our login; correct database.url or the file of database.password_file, which is read at each new session",
		"o banco de dados recusa nosso login; corrija database.url ou o arquivo de database.password_file, lido a cada nova sessão",
	},
	CauseSession: {
		"the database session is not the one we asked for; a pooler drops start-up parameters: connect without it, or give the login these values by ALTER ROLE … SET",
		"a sessão do banco de dados não é a que pedimos; um pooler descarta parâmetros de início: conecte sem ele, ou dê estes valores ao login com ALTER ROLE … SET",
	},
	CauseRights: {
		"our database role lacks a right; run arauto migrate as the owner, or grant the right again",
		"falta um direito ao nosso papel no banco de dados; rode arauto migrate como dono, ou conceda o direito de novo",
	},
	CauseSchema: {
		"the schema is not the one this binary needs; run arauto migrate, or undo the change of the schema",
		"o esquema não é o que este binário precisa; rode arauto migrate, ou desfaça a mudança do esquema",
	},
	CauseResources:  {"the database is out of disk, memory or connections", "o banco de dados está sem disco, memória ou conexões"},
	CauseReadOnly:   {"the database is read-only; point database.url at the primary", "o banco de dados só aceita leitura; aponte database.url para o primário"},
	CauseContention: {"another session of the database blocks us", "outra sessão do banco de dados nos bloqueia"},
	CauseDamage: {
		"the database reports damaged data; a database administrator must look at it",
		"o banco de dados informa dados danificados; um administrador do banco deve examiná-lo",
	},
	CauseUnknown: {
		"the database failed, and it is not proven that a record is to blame",
		"o banco de dados falhou, e não está provado que um registro seja a causa",
	},
}

// Cure says in one sentence what is wrong and what would be right.
func (c FaultCause) Cure() string { return c.cure()[0] }

// CurePT is Cure in Portuguese.
func (c FaultCause) CurePT() string { return c.cure()[1] }

func (c FaultCause) cure() [2]string {
	if words, known := cures[c]; known {
		return words
	}
	return cures[CauseUnknown]
}

// CauseOf says what a failure is about. An error without SQLSTATE is of the connection where the network, a deadline or
// the client library says so, else unknown. It is a function of the error alone and proves nothing: see Store.blame.
func CauseOf(err error) FaultCause {
	var known outage
	var connect *pgconn.ConnectError
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &known):
		return known.cause
	case errors.As(err, &connect):
		if errors.As(err, &pg) {
			return causeAtConnect(pg.Code)
		}
		return CauseConnection
	case errors.As(err, &pg):
		return causeOfCode(pg.Code)
	}
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, net.ErrClosed) || pgconn.SafeToRetry(err) || pgconn.Timeout(err) || errors.Is(err, pgx.ErrTxClosed) {
		return CauseConnection
	}
	return CauseUnknown
}

// causeAtConnect is about a session that did not begin: no record is to blame for that.
func causeAtConnect(code string) FaultCause {
	switch c := causeOfCode(code); {
	case code == "22023": // role "arauto_app" does not exist
		return CauseRights
	case c == CauseRecord || c == CauseUnknown || c == CauseSchema:
		return CauseConnection
	default:
		return c
	}
}

// causeOfCode sorts a SQLSTATE (PostgreSQL documentation, appendix A).
func causeOfCode(code string) FaultCause {
	if len(code) != 5 {
		return CauseUnknown
	}
	switch code {
	case "25006":
		return CauseReadOnly
	case "42501", "0P000":
		return CauseRights
	case "25P03", "3D000", "26000", "42P05": // the last two: a pooler gave us another's session
		return CauseConnection
	case "25P04", "55P03", "55006", "57014":
		return CauseContention
	case "3F000", "0A000":
		return CauseSchema
	case "XX001", "XX002":
		return CauseDamage
	}
	switch code[:2] {
	case "08", "57":
		return CauseConnection
	case "21", "22", "23", "54":
		return CauseRecord
	case "28":
		return CauseCredentials
	case "40":
		return CauseContention
	case "42":
		return CauseSchema
	case "53", "58":
		return CauseResources
	}
	return CauseUnknown
}

// Unavailable marks the failures that pass, as opposed to those of a record or of a statement of ours: the result is an
// ErrUnavailable and says what is to blame. A cancelled context is the caller's and stays as it is; so does a failure whose
// cause is unknown, of which only blame can say more. No error stays none.
func Unavailable(doing string, err error) error {
	if err == nil {
		return nil
	}
	cause := CauseOf(err)
	if cause == CauseRecord || cause == CauseUnknown {
		return fmt.Errorf("%s: %w", doing, err)
	}
	failed := fmt.Errorf("%s: %w: %w", doing, outage{cause, IsCode(err, "55P03")}, err)
	if _, stranger := errors.AsType[x509.UnknownAuthorityError](err); stranger {
		failed = fmt.Errorf("%w; name the authority of the server's certificate by sslrootcert=FILE in the URL of the database", failed)
	}
	return failed
}

// IsCode tells whether the server refused with this SQLSTATE.
func IsCode(err error, codes ...string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && slices.Contains(codes, pg.Code)
}
