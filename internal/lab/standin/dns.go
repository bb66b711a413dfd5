package standin

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
)

// DNS is a tiny name server: it answers A and AAAA questions over UDP as it is told, so that a test can give a public
// looking name any address, change it, or say nothing at all.
type DNS struct {
	conn net.PacketConn
	done chan struct{}

	mu     sync.Mutex
	names  map[string][]netip.Addr
	silent bool
	asked  map[string]int
	heard  chan struct{} // closed and replaced whenever a question came
}

// StartDNS serves on a free port of 127.0.0.1 until Close. names maps names in lower case, without the last dot, to
// addresses; a name that is not there does not exist.
func StartDNS(names map[string][]netip.Addr) (*DNS, error) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d := &DNS{conn: conn, done: make(chan struct{}), names: map[string][]netip.Addr{}, asked: map[string]int{}, heard: make(chan struct{})}
	for name, addrs := range names {
		d.names[name] = addrs
	}
	go d.serve()
	return d, nil
}

// Addr is host:port.
func (d *DNS) Addr() string { return d.conn.LocalAddr().String() }

// Set changes the addresses of a name.
func (d *DNS) Set(name string, addrs ...netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names[name] = addrs
}

// Silence makes it read questions and answer none, or speak again.
func (d *DNS) Silence(silent bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.silent = silent
}

// Asked is how many questions came for a name.
func (d *DNS) Asked(name string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[name]
}

// WaitAsked waits until a name was asked for n times, A and AAAA counted singly.
func (d *DNS) WaitAsked(ctx context.Context, name string, n int) error {
	for {
		d.mu.Lock()
		asked, heard := d.asked[name], d.heard
		d.mu.Unlock()
		if asked >= n {
			return nil
		}
		select {
		case <-heard:
		case <-ctx.Done():
			return fmt.Errorf("wait for %d questions for %s, %d came: %w", n, name, asked, ctx.Err())
		}
	}
}

// Close ends it.
func (d *DNS) Close() {
	_ = d.conn.Close()
	<-d.done
}

func (d *DNS) serve() {
	defer close(d.done)
	buf := make([]byte, 1500)
	for {
		n, from, err := d.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if reply := d.reply(buf[:n]); reply != nil {
			_, _ = d.conn.WriteTo(reply, from)
		}
	}
}

// reply makes the answer to one question, or nil for silence (RFC 1035 §4).
func (d *DNS) reply(question []byte) []byte {
	name, end, ok := questionName(question)
	if !ok {
		return nil
	}
	kind := binary.BigEndian.Uint16(question[end:])
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked[name]++
	close(d.heard)
	d.heard = make(chan struct{})
	if d.silent {
		return nil
	}
	addrs, exists := d.names[name]
	reply := append([]byte(nil), question[:end+4]...)
	reply[2], reply[3] = 0x81, 0x80 // response, recursion desired and available
	if !exists {
		reply[3] |= 3 // no such name
	}
	count := 0
	for _, addr := range addrs {
		if kind == 1 && !addr.Is4() || kind == 28 && !addr.Is6() {
			continue
		}
		count++
		reply = append(reply, 0xc0, 12) // the name of the question
		reply = binary.BigEndian.AppendUint16(reply, kind)
		reply = append(reply, 0, 1, 0, 0, 0, 0) // class IN, time to live 0
		reply = binary.BigEndian.AppendUint16(reply, uint16(len(addr.AsSlice())))
		reply = append(reply, addr.AsSlice()...)
	}
	binary.BigEndian.PutUint16(reply[6:], uint16(count))
	binary.BigEndian.PutUint32(reply[8:], 0)
	return reply
}

// questionName reads the name of the first question; end is where its type stands.
func questionName(m []byte) (name string, end int, ok bool) {
	var labels []string
	for at := 12; at < len(m); {
		n := int(m[at])
		if n == 0 {
			return strings.ToLower(strings.Join(labels, ".")), at + 1, at+5 <= len(m)
		}
		if n > 63 || at+1+n > len(m) {
			return "", 0, false
		}
		labels = append(labels, string(m[at+1:at+1+n]))
		at += 1 + n
	}
	return "", 0, false
}
