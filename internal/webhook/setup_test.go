package webhook

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// TestMain runs everything with the standard log caught: nothing a peer sends may reach it, by way of net/http for
// instance. Afterwards no goroutine may be left.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "4") // tests that are parallel wait; -parallel on the command line counts more
	goleak.VerifyTestMain(silent{m})
}

type silent struct{ m *testing.M }

func (s silent) Run() int {
	var logged bytes.Buffer
	log.SetOutput(&logged)
	code := s.m.Run()
	if logged.Len() > 0 {
		fmt.Fprintf(os.Stderr, "the standard log must stay empty and got:\n%s", logged.Bytes())
		return 1
	}
	return code
}

// loopback is the allow-list of these tests: receivers are on this machine.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

const testASID = "c8f0bf49-4744-4933-8960-7add6e590841"

// newSender makes a sender that may dial this machine, with our BRCAC, and closes it with the test.
func newSender(tb testing.TB, change ...func(*Config)) *Sender {
	tb.Helper()
	c := Config{
		Identity: mtlstest.HolderClient(tb), Roots: mtlstest.Roots(tb),
		Guard:   NewGuard(loopback, nil),
		Version: "1.2.3", AuthorisationServerID: testASID,
		Timeout: 10 * time.Second, Lease: 20 * time.Second,
	}
	for _, f := range change {
		f(&c)
	}
	s := New(c)
	tb.Cleanup(s.Close)
	return s
}

func within(d time.Duration) func(*Config) { return func(c *Config) { c.Timeout = d } }

// newInitiator starts a stand-in with the certificate of the initiator "alfa", and closes it with the test.
func newInitiator(tb testing.TB, change ...func(*standin.Options)) *standin.Initiator {
	tb.Helper()
	o := receiver(tb)
	for _, f := range change {
		f(&o)
	}
	i, err := standin.Start(o)
	require.NoError(tb, err)
	tb.Cleanup(i.Close)
	return i
}

func receiver(tb testing.TB) standin.Options {
	tb.Helper()
	return standin.Options{
		Certificate: serverCertificate(tb).TLS(),
		ClientCAs:   mtlstest.ClientCAs(tb).Pool(),
	}
}

func serverCertificate(tb testing.TB, names ...string) certs.Leaf {
	tb.Helper()
	return mtlstest.Leaf(tb, mtlstest.PKI(tb).Server(certs.DefaultAlfa.Organisation, names...))
}

// newAttempt is a claimed attempt to notify about a payment.
func newAttempt(base string) notice.Attempt {
	return notice.Attempt{
		Notification: notice.ID{1}, Token: notice.ID{2},
		Interaction: notice.ID{0x3f, 0x0b, 0x0c, 0x6e, 0x3d, 0x6b, 0x4d, 0x3e, 0x9a, 0x43, 0x0c, 0x0f, 0x6f, 0x6f, 0x3a, 0x11},
		Client:      "client-alfa", Kind: ofb.PixPayment, ResourceID: "pay-1", APIVersion: "v5",
		EventAt: time.Date(2026, 9, 15, 14, 3, 27, 999_000_000, time.FixedZone("BRT", -3*3600)),
		Number:  1, BaseURI: base, ClaimedAt: time.Now(),
	}
}

// send makes one attempt that must be made.
func send(tb testing.TB, s *Sender, base string) notice.Result {
	tb.Helper()
	r, err := s.Send(tb.Context(), newAttempt(base))
	require.NoError(tb, err)
	return r
}

func soon(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	tb.Cleanup(cancel)
	return ctx
}
