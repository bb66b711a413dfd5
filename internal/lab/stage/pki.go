package stage

import (
	"context"
	"sync"

	"github.com/arauto/arauto/certs"
)

// folders are the PKIs that stages of this process have used, each with its certificates.
var folders sync.Map // *certs.PKI → func() (*certs.IssuedFolder, error)

// issueFolder issues the certificates of a PKI. They are issued once: seven keys take two seconds of processor time.
func issueFolder(pki *certs.PKI) (*certs.IssuedFolder, error) {
	issue, _ := folders.LoadOrStore(pki, sync.OnceValues(func() (*certs.IssuedFolder, error) { return pki.IssueFolder(certs.Content{}) }))
	return issue.(func() (*certs.IssuedFolder, error))()
}

// pkiMaking makes a PKI and writes it into a folder, beside what else is set up.
type pkiMaking struct {
	done chan error // one
	pki  *certs.PKI // to be read after done

	mu        sync.Mutex // held while files are written
	abandoned bool       // nothing is written any more
}

// makePKI begins; a PKI that is given is written.
func makePKI(given *certs.PKI, dir string) *pkiMaking {
	m := &pkiMaking{done: make(chan error, 1)}
	go func() {
		m.done <- m.make(given, dir)
	}()
	return m
}

func (m *pkiMaking) make(given *certs.PKI, dir string) (err error) {
	if m.pki = given; given == nil {
		if m.pki, err = certs.New(certs.Options{NewKey: NewKey}); err != nil {
			return err
		}
	}
	folder, err := issueFolder(m.pki)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.abandoned {
		return nil
	}
	return folder.Write(dir)
}

// await waits for the end. When ctx ends before, it returns at once, and nothing is written from then on: keys are made to the end, which no
// context stops.
func (m *pkiMaking) await(ctx context.Context) (*certs.PKI, error) {
	select {
	case err := <-m.done:
		return m.pki, err
	case <-ctx.Done():
		m.mu.Lock()
		defer m.mu.Unlock()
		m.abandoned = true
		return nil, ctx.Err()
	}
}
