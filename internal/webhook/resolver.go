package webhook

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// resolver finds the addresses of a name. *net.Resolver is the one of production.
type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// lookup turns the host of a target into addresses. An address stands for itself. A name with a dot is asked for as
// absolute, so that no search list of this machine can complete it to another.
func lookup(ctx context.Context, r resolver, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return []netip.Addr{addr}, nil
	}
	if strings.Contains(host, ".") {
		host += "."
	}
	addrs, err := r.LookupNetIP(ctx, "ip", host)
	if err == nil && len(addrs) == 0 {
		err = &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	return addrs, err
}

// stubResolver asks one DNS server and nothing else: no hosts file, no search list, no system configuration. It exists
// because the standard resolver always reads the hosts file first, and the setting webhook.resolver (development only)
// promises that it is not consulted.
type stubResolver struct {
	server string // host:port
}

// resendAfter is how long one question waits for its answer before it is asked again. UDP may lose either.
const resendAfter = time.Second

// LookupNetIP asks for A and AAAA at the same time. One of the two failing is not an error while the other has
// addresses.
func (r stubResolver) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	var v4, v6 []netip.Addr
	var err4, err6 error
	var both sync.WaitGroup
	both.Go(func() { v4, err4 = r.ask(ctx, host, typeA) })
	both.Go(func() { v6, err6 = r.ask(ctx, host, typeAAAA) })
	both.Wait()
	addrs := append(v4, v6...)
	if len(addrs) == 0 {
		return nil, errors.Join(err4, err6)
	}
	return addrs, nil
}

// ask puts one question, by UDP until an answer comes, and once more by TCP when the answer was cut.
func (r stubResolver) ask(ctx context.Context, host string, kind uint16) ([]netip.Addr, error) {
	question, err := question(host, kind)
	if err != nil {
		return nil, err
	}
	reply, err := r.overUDP(ctx, question)
	if err == nil && reply[2]&flagTruncated != 0 {
		reply, err = r.overTCP(ctx, question)
	}
	if err != nil {
		return nil, err
	}
	addrs, err := addresses(reply, kind)
	if err != nil {
		return nil, &net.DNSError{Err: err.Error(), Name: host, Server: r.server, IsNotFound: errors.Is(err, errNoSuchName)}
	}
	return addrs, nil
}

func (r stubResolver) overUDP(ctx context.Context, question []byte) ([]byte, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "udp", r.server)
	if err != nil {
		return nil, err
	}
	defer closeWhenDone(ctx, conn)()
	buf := make([]byte, 4096)
	for {
		if _, err := conn.Write(question); err != nil {
			return nil, ctxOr(ctx, err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(resendAfter))
		for {
			n, err := conn.Read(buf)
			if err != nil {
				var netErr net.Error
				if ctx.Err() == nil && errors.As(err, &netErr) && netErr.Timeout() {
					break // ask again
				}
				return nil, ctxOr(ctx, err)
			}
			if answers(buf[:n], question) {
				return buf[:n], nil
			}
		}
	}
}

func (r stubResolver) overTCP(ctx context.Context, question []byte) ([]byte, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.server)
	if err != nil {
		return nil, err
	}
	defer closeWhenDone(ctx, conn)()
	framed := binary.BigEndian.AppendUint16(nil, uint16(len(question)))
	if _, err := conn.Write(append(framed, question...)); err != nil {
		return nil, ctxOr(ctx, err)
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, ctxOr(ctx, err)
	}
	reply := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, reply); err != nil {
		return nil, ctxOr(ctx, err)
	}
	if !answers(reply, question) {
		return nil, errBadReply
	}
	return reply, nil
}

// closeWhenDone closes the connection when the context ends, and returns what closes it in any case.
func closeWhenDone(ctx context.Context, conn net.Conn) func() {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	return func() {
		stop()
		_ = conn.Close()
	}
}

func ctxOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Of the DNS message format (RFC 1035 §4), what tells a whole reply to our question from others.
const (
	typeA, typeAAAA = 1, 28
	headerLen       = 12
	flagResponse    = 0x80 // third byte of the header
	flagTruncated   = 0x02
)

var (
	errBadReply   = errors.New("malformed reply")
	errNoSuchName = errors.New("no such name")
)

// question makes a message that asks, recursively, for the addresses of one kind.
func question(host string, kind uint16) ([]byte, error) {
	var id [2]byte
	_, _ = rand.Read(id[:]) // never fails
	name, err := dnsmessage.NewName(strings.TrimSuffix(host, ".") + ".")
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: binary.BigEndian.Uint16(id[:]), RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.Type(kind), Class: dnsmessage.ClassINET}},
	}
	packed, failed := m.Pack()
	if err != nil || failed != nil {
		return nil, &net.DNSError{Err: "not a DNS name", Name: host}
	}
	return packed, nil
}

// answers tells a reply to our question from a stray or forged message: same id, same question.
func answers(reply, question []byte) bool {
	return len(reply) >= len(question) && reply[0] == question[0] && reply[1] == question[1] &&
		reply[2]&flagResponse != 0 && binary.BigEndian.Uint16(reply[4:]) == 1 &&
		strings.EqualFold(string(reply[headerLen:len(question)]), string(question[headerLen:]))
}

// addresses reads the addresses of one kind from the answer section. Aliases (CNAME) are followed by the server, whose
// answer holds the end of the chain.
func addresses(reply []byte, kind uint16) ([]netip.Addr, error) {
	var p dnsmessage.Parser
	head, err := p.Start(reply)
	if err != nil || p.SkipAllQuestions() != nil {
		return nil, errBadReply
	}
	switch head.RCode {
	case dnsmessage.RCodeSuccess:
	case dnsmessage.RCodeNameError:
		return nil, errNoSuchName
	default:
		return nil, fmt.Errorf("server failed with code %d", head.RCode)
	}
	found, err := p.AllAnswers()
	if err != nil {
		return nil, errBadReply
	}
	var addrs []netip.Addr
	for _, f := range found {
		switch body := f.Body.(type) {
		case *dnsmessage.AResource:
			if kind == typeA {
				addrs = append(addrs, netip.AddrFrom4(body.A))
			}
		case *dnsmessage.AAAAResource:
			if kind == typeAAAA {
				addrs = append(addrs, netip.AddrFrom16(body.AAAA))
			}
		}
	}
	return addrs, nil
}
