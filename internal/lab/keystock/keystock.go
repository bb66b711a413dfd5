// Package keystock gives tests RSA keys that an earlier test process has made. It is for tests alone.
//
// To make an RSA key costs a third of a second of processor time, and the tests of one run need several hundred. They
// protect nothing: only certificates of a test trust them. So they are kept in the user's cache folder, readable by the
// user alone. No process gets the same key twice; two processes get the same keys.
package keystock

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// EnvFolder names the environment variable with the folder of the keys; without it they are in the user's cache folder.
const EnvFolder = "ARAUTO_TEST_KEYS"

// Share has this process and its children find the keys where they are now, also where a test gives another cache folder or home to
// the program that it tests.
func Share() {
	if dir, err := folder(); err == nil {
		_ = os.Setenv(EnvFolder, dir) // without it, keys are made anew
	}
}

// folder is where the keys are.
func folder() (string, error) {
	if dir := os.Getenv(EnvFolder); dir != "" {
		return dir, nil
	}
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "arauto", "test-keys"), err
}

// most is how many keys of one size are kept. A process that needs more makes the rest.
const most = 1000

var (
	mu    sync.Mutex
	taken = map[int]int{} // bits → how many keys this process has
)

// New returns an RSA key of so many bits that this process does not have yet. A key that cannot be kept is made anew.
func New(bits int) (*rsa.PrivateKey, error) {
	mu.Lock()
	n := taken[bits]
	taken[bits]++
	mu.Unlock()
	dir, err := folder()
	if err != nil || n >= most {
		return rsa.GenerateKey(rand.Reader, bits)
	}
	return keyOf(filepath.Join(dir, fmt.Sprintf("rsa-%d-%d.der", bits, n)), bits)
}

// keyOf reads the key of a file. Where there is none of that size, it makes one and keeps it.
func keyOf(file string, bits int) (*rsa.PrivateKey, error) {
	if der, err := os.ReadFile(file); err == nil {
		if key, err := x509.ParsePKCS1PrivateKey(der); err == nil && key.N.BitLen() == bits {
			return key, nil
		}
	}
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err == nil {
		keep(file, key)
	}
	return key, err
}

// keep writes a key. Without it, the next process makes its own.
func keep(file string, key *rsa.PrivateKey) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return
	}
	temporary, err := os.CreateTemp(filepath.Dir(file), "new-*") // readable by us alone
	if err != nil {
		return
	}
	_, err = temporary.Write(x509.MarshalPKCS1PrivateKey(key))
	if errClose := temporary.Close(); err != nil || errClose != nil || os.Rename(temporary.Name(), file) != nil {
		_ = os.Remove(temporary.Name())
	}
}
