package zoo

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Relay forwards TCP connections to a receiver, with a delay in each direction. Frozen it accepts and forwards nothing any
// more, as a balancer does that forgot its connections, or a machine whose address was taken over.
type Relay struct {
	listener net.Listener
	delay    time.Duration
	frozen   atomic.Bool
	wait     sync.WaitGroup
	mu       sync.Mutex
	open     []net.Conn
	stopped  bool
}

// StartRelay listens on addr and forwards to the address to. It is stopped by Stop.
func StartRelay(ctx context.Context, addr, to string, delay time.Duration) (*Relay, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	r := &Relay{listener: listener, delay: delay}
	r.wait.Go(func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			out, err := new(net.Dialer).DialContext(context.WithoutCancel(ctx), "tcp", to)
			if err != nil || !r.keep(in, out) {
				_ = in.Close()
				continue
			}
			r.wait.Go(func() { r.forward(in, out) })
			r.wait.Go(func() { r.forward(out, in) })
		}
	})
	return r, nil
}

// Port is where the relay listens.
func (r *Relay) Port() int { return r.listener.Addr().(*net.TCPAddr).Port }

// Freeze ends all forwarding; it cannot be undone. Connections stay open.
func (r *Relay) Freeze() { r.frozen.Store(true) }

// Stop closes everything and returns when nothing of it runs.
func (r *Relay) Stop() {
	_ = r.listener.Close()
	r.mu.Lock()
	r.stopped = true
	for _, c := range r.open {
		_ = c.Close()
	}
	r.mu.Unlock()
	r.wait.Wait()
}

// keep remembers connections for Stop, or closes them when it was called.
func (r *Relay) keep(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		for _, c := range conns {
			_ = c.Close()
		}
		return false
	}
	r.open = append(r.open, conns...)
	return true
}

// parcel is what was read at once, and when it is due at the other side; without bytes it is the end of the connection.
type parcel struct {
	bytes []byte
	due   time.Time
}

// forward moves what one side sends to the other.
func (r *Relay) forward(from, to net.Conn) {
	parcels := make(chan parcel, 100)
	r.wait.Go(func() { r.deliver(parcels, to) })
	defer close(parcels)
	for {
		buf := make([]byte, 16<<10)
		n, err := from.Read(buf)
		if n > 0 {
			parcels <- parcel{buf[:n], time.Now().Add(r.delay)}
		}
		if err != nil {
			parcels <- parcel{nil, time.Now().Add(r.delay)}
			return
		}
	}
}

func (r *Relay) deliver(parcels <-chan parcel, to net.Conn) {
	for p := range parcels {
		timer := time.NewTimer(time.Until(p.due))
		<-timer.C
		switch {
		case r.frozen.Load():
		case p.bytes == nil:
			_ = to.Close()
		default:
			_, _ = to.Write(p.bytes)
		}
	}
}
