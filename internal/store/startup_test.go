package store_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// pooler is a way to a server that drops start-up parameters, as PgBouncer does with ignore_startup_parameters, or refuses sessions of
// one purpose.
type pooler struct {
	t      *testing.T
	server string // host:port
	drops  []string

	refuses atomic.Value // part of application_name of the sessions that are refused; ""
	mu      sync.Mutex
	open    map[string][]net.Conn // by application_name
}

// pool opens a way to the server of a URL, and returns it with the URL that leads over it.
func pool(t *testing.T, address string, drops ...string) (*pooler, string) {
	t.Helper()
	config, err := pgx.ParseConfig(address)
	require.NoError(t, err)
	if strings.HasPrefix(config.Host, "/") {
		t.Skip("the server is reached over a Unix socket")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &pooler{t: t, server: net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port))), drops: drops, open: map[string][]net.Conn{}}
	p.refuses.Store("")
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); p.end(""); all.Wait() })
	u, err := url.Parse(address)
	require.NoError(t, err)
	u.Host = l.Addr().String()
	q := u.Query()
	q.Set("sslmode", "disable")
	u.RawQuery = q.Encode()
	return p, u.String()
}

// end closes the sessions whose application name holds a part.
func (p *pooler) end(part string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, conns := range p.open {
		if strings.Contains(name, part) {
			for _, c := range conns {
				_ = c.Close()
			}
			delete(p.open, name)
		}
	}
}

// serve hands one session on: the start-up message without what is dropped, and then every byte.
func (p *pooler) serve(client net.Conn) {
	defer client.Close()
	length := make([]byte, 4)
	if _, err := io.ReadFull(client, length); err != nil {
		return
	}
	message := make([]byte, binary.BigEndian.Uint32(length)-4)
	if _, err := io.ReadFull(client, message); err != nil {
		return
	}
	const cancel = 80877102
	var name string
	if binary.BigEndian.Uint32(message) != cancel {
		message, name = p.startup(message)
	}
	if refused := p.refuses.Load().(string); refused != "" && strings.Contains(name, refused) {
		return
	}
	server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	p.open[name] = append(p.open[name], client, server)
	p.mu.Unlock()
	_, _ = server.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(message)+4)), message...))
	done := make(chan struct{})
	go func() { _, _ = io.Copy(server, client); _ = server.Close(); close(done) }()
	_, _ = io.Copy(client, server)
	_ = client.Close()
	<-done
}

// startup takes parameters out of a start-up message, and returns the application name in it.
func (p *pooler) startup(message []byte) (rest []byte, name string) {
	rest = slices.Clone(message[:4]) // the version of the protocol
	parts := strings.Split(strings.TrimRight(string(message[4:]), "\x00"), "\x00")
	for i := 0; i+1 < len(parts); i += 2 {
		if parts[i] == "application_name" {
			name = parts[i+1]
		}
		if !slices.Contains(p.drops, parts[i]) {
			rest = append(rest, parts[i]+"\x00"+parts[i+1]+"\x00"...)
		}
	}
	return append(rest, 0), name
}

func TestASessionThatIsNotTheOneAskedForIsRefused(t *testing.T) {
	direct := storetest.Database(t)
	for dropped, says := range map[string]string{
		"role": "role is ", "search_path": "search_path is ", "timezone": `TimeZone is "America/Sao_Paulo" instead of "UTC"`,
	} {
		t.Run(dropped, func(t *testing.T) {
			if dropped == "timezone" {
				setTimeZone(t, direct)
			}
			_, address := pool(t, direct, dropped)
			s := open(t, store.Options{URL: address})
			_, _, err := s.SchemaVersions(t.Context())
			require.Error(t, err)
			require.Equal(t, store.CauseSession, store.CauseOf(err), "%v", err)
			require.ErrorIs(t, err, store.ErrUnavailable, "no record is to blame")
			require.ErrorContains(t, err, says)
			require.ErrorContains(t, err, "a pooler drops start-up parameters")
			require.Error(t, recordOne(t.Context(), s, "p-1"), "nothing is written as somebody else")
		})
	}
	_, address := pool(t, direct)
	s := open(t, store.Options{URL: address})
	require.NoError(t, s.Reach(t.Context()))
	require.NoError(t, recordOne(t.Context(), s, "p-2"))
}

// setTimeZone makes another time zone the default of a database.
func setTimeZone(t *testing.T, address string) {
	t.Helper()
	config, err := pgx.ParseConfig(address)
	require.NoError(t, err)
	conn, err := pgx.Connect(t.Context(), address)
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	_, err = conn.Exec(t.Context(), "ALTER DATABASE "+pgx.Identifier{config.Database}.Sanitize()+" SET timezone = 'America/Sao_Paulo'")
	require.NoError(t, err)
}

func TestMigrateMakesNothingInAnotherSchema(t *testing.T) {
	direct := storetest.Empty(t)
	_, address := pool(t, direct, "search_path")
	err := store.Migrate(t.Context(), address)
	require.Equal(t, store.CauseSession, store.CauseOf(err), "%v", err)
	conn, err := pgx.Connect(t.Context(), direct)
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	var tables int
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").Scan(&tables))
	require.Zero(t, tables)
}

func TestAReaderOfTheLogReadsNoOtherSchema(t *testing.T) {
	_, address := pool(t, storetest.Database(t), "search_path")
	_, err := auditlog.OpenExport(t.Context(), address, 0)
	require.ErrorContains(t, err, "a pooler drops start-up parameters")
}

// TestEachPoolIsReachedOrNamed: the server may refuse the sessions of one pool alone.
func TestEachPoolIsReachedOrNamed(t *testing.T) {
	for _, name := range []string{"intake", "dispatch", "status", "query"} {
		t.Run(name, func(t *testing.T) {
			p, address := pool(t, storetest.Database(t))
			s := open(t, store.Options{URL: address})
			require.NoError(t, s.Reach(t.Context()))
			p.refuses.Store("arauto " + name)
			p.end("arauto " + name)
			var err error
			require.Eventually(t, func() bool { err = s.Reach(t.Context()); return err != nil }, 30*time.Second, 20*time.Millisecond)
			require.ErrorContains(t, err, "connections for "+name)
			require.ErrorIs(t, err, store.ErrUnavailable)
			p.refuses.Store("")
			require.Eventually(t, func() bool { return s.Reach(t.Context()) == nil }, 30*time.Second, 20*time.Millisecond)
		})
	}
}
