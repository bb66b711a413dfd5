// Command pkcs11signer signs with the keys of a PKCS #11 token for processes that ask at a Unix socket, as docs/operations/signer.md
// describes. It is an example, written from that page: it imports nothing of the product, and the product imports nothing of it, so the
// driver of a security module stays out of both.
//
// It signs with Ed25519 and with RSA (PS256). It does not make, import or export keys. After a failure that the token does not get over it
// ends, so that its supervisor starts it again with a new session.
package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	module := flag.String("module", "/usr/lib/softhsm/libsofthsm2.so", "the driver of the security module, a PKCS #11 library")
	label := flag.String("token", "", "the label of the token that has the keys")
	pinFile := flag.String("pin-file", "", "the file with the token's PIN, of mode 0600")
	socket := flag.String("socket", "", "the Unix socket to serve; its folder decides who may look for it, its mode who may ask")
	mode := flag.Uint("mode", 0o660, "the mode of the socket")
	list := flag.Bool("list", false, "print the public halves of the keys as PEM, and end")
	flag.Parse()
	pin, err := readPIN(*pinFile)
	if err != nil {
		return err
	}
	token, err := openToken(*module, *label, pin)
	if err != nil {
		return err
	}
	defer token.close()
	for _, key := range token.keys {
		if *list {
			fmt.Printf("# %s, key %s\n%s", key.label, key.id, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: key.public}))
		} else {
			log.Printf("key %s: %s, %s", key.label, key.algorithm, key.id)
		}
	}
	if *list {
		return nil
	}
	return serve(token, *socket, os.FileMode(*mode))
}

func readPIN(name string) (string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", fmt.Errorf("-pin-file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("-pin-file: %s can be read by others (mode %04o); set it to 0600", name, info.Mode().Perm())
	}
	pin, err := os.ReadFile(name)
	return strings.TrimSpace(string(pin)), err
}

// listen opens a socket. One that a process left behind is removed; one that is served is not.
func listen(socket string, mode os.FileMode) (net.Listener, error) {
	if conn, err := net.Dial("unix", socket); err == nil {
		return nil, errors.Join(fmt.Errorf("-socket: another process serves %s", socket), conn.Close())
	}
	if info, err := os.Lstat(socket); err == nil && info.Mode().Type() == os.ModeSocket {
		if err := os.Remove(socket); err != nil {
			return nil, err
		}
	}
	before := syscall.Umask(int(^mode.Perm() & 0o777)) // the socket is made with its mode: nobody sees it with another
	defer syscall.Umask(before)
	return net.Listen("unix", socket)
}

func serve(t *token, socket string, mode os.FileMode) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := listen(socket, mode)
	if err != nil {
		return err
	}
	broken := make(chan error, 1)
	routes := http.NewServeMux()
	routes.HandleFunc("POST /sign", func(w http.ResponseWriter, r *http.Request) {
		status, answer, err := answerOf(t, http.MaxBytesReader(w, r.Body, 64<<10))
		if err != nil {
			log.Printf("%d: %v", status, err)
			answer = map[string]any{"error": err.Error()}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer)
		if lost(err) {
			select {
			case broken <- err:
			default:
			}
		}
	})
	server := &http.Server{Handler: routes, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case <-ctx.Done():
		end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return server.Shutdown(end)
	case err := <-broken:
		return errors.Join(fmt.Errorf("the token is lost: %w", err), server.Close())
	case err := <-ended:
		return err
	}
}
