package mtls

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
)

// FileError is the error for an unusable file: which, why, and the cure. It never quotes the content of a file.
type FileError struct {
	File   string
	Reason string
	Cure   string
	Err    error // what the operating system or a parser said; may be nil
}

// Error is one line.
func (e *FileError) Error() string {
	text := e.File + ": " + e.Reason
	if e.Err != nil {
		text += " (" + e.Err.Error() + ")"
	}
	return text + "; " + e.Cure
}

// Unwrap gives the cause, so that errors.Is(err, fs.ErrNotExist) works.
func (e *FileError) Unwrap() error { return e.Err }

// minKeyBits is the smallest RSA key of the profile (security §4.1).
const minKeyBits = 2048

// maxFile bounds what we read: bundles of authorities are some tens of KiB.
const maxFile = 4 << 20

// ReadFile reads a regular file of at most limit bytes; judge, if any, sees the state of what was opened. It never waits on a
// pipe or a device. An error is a *FileError, except for an empty name.
func ReadFile(name string, limit int64, judge func(fs.FileInfo) error) ([]byte, error) {
	if name == "" {
		return nil, errors.New("no file name given; set it")
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, cannotRead(name, err)
	}
	if !info.Mode().IsRegular() {
		return nil, &FileError{File: name, Reason: "is not a regular file", Cure: "name a regular file"}
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, cannotRead(name, err)
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil { // of what was opened, should the name have moved on
		return nil, cannotRead(name, err)
	}
	if judge != nil {
		if err := judge(info); err != nil {
			return nil, err
		}
	}
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, cannotRead(name, err)
	}
	if int64(len(content)) > limit {
		return nil, &FileError{File: name, Reason: fmt.Sprintf("is larger than %d KiB", limit>>10), Cure: "check that it is the right file"}
	}
	return content, nil
}

func cannotRead(name string, err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err // the name is said already
	}
	return &FileError{File: name, Reason: "cannot be read", Err: err, Cure: "check that it exists and that this user may read it"}
}

// parseCertificates reads every certificate of a PEM file, in order, and refuses anything else in it.
func parseCertificates(name string, content []byte) ([]*x509.Certificate, error) {
	return parseMost(name, content, func(n int, _ []byte, err error) error {
		return &FileError{File: name, Reason: fmt.Sprintf("certificate %d cannot be parsed", n), Err: err, Cure: "export it again as PEM"}
	})
}

// parseMost is parseCertificates, and asks unread about a certificate that cannot be parsed; nil takes nil in its place.
func parseMost(name string, content []byte, unread func(n int, der []byte, err error) error) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for rest := content; ; {
		block, after, damaged := nextBlock(rest)
		if damaged {
			return nil, &FileError{
				File: name, Reason: fmt.Sprintf("certificate %d is damaged: it is not whole, or no base64", len(certs)+1), Cure: "export it again as PEM",
			}
		}
		if rest = after; block == nil {
			break
		}
		if strings.Contains(block.Type, "PRIVATE KEY") {
			return nil, &FileError{
				File: name, Reason: "holds a private key beside certificates",
				Cure: "keep the key in a file of its own, mode 0600",
			}
		}
		if block.Type != "CERTIFICATE" {
			return nil, &FileError{
				File: name, Reason: fmt.Sprintf("holds a PEM block %.40q", block.Type),
				Cure: "leave CERTIFICATE blocks only",
			}
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			if err := unread(len(certs)+1, block.Bytes, err); err != nil {
				return nil, err
			}
			cert = nil
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, &FileError{
			File: name, Reason: "holds no PEM certificate",
			Cure: "convert it: openssl x509 -inform der -in FILE -out FILE.pem",
		}
	}
	return certs, nil
}

// begins is how a PEM block begins, also behind a byte order mark or blanks, where pem.Decode sees none.
var begins = regexp.MustCompile(`(?m)^[ \t\x{FEFF}]*-----BEGIN `)

// nextBlock is pem.Decode, and tells of a block that begins and cannot be decoded. pem.Decode passes over it in silence: an authority
// would be missing, or a list of revoked certificates.
func nextBlock(content []byte) (block *pem.Block, after []byte, damaged bool) {
	block, after = pem.Decode(content)
	if block == nil {
		return nil, nil, begins.Match(content)
	}
	return block, after, len(begins.FindAllIndex(content[:len(content)-len(after)], 2)) > 1
}

// LoadKey reads one unencrypted RSA key in PEM, PKCS#8 or PKCS#1, of at least 2048 bits, from a file of mode 0600 or
// 0400 (contract, "File formats"). It serves the keys of identities and the BRSEAL key alike.
func LoadKey(name string) (*rsa.PrivateKey, error) {
	content, err := ReadKeyFile(name)
	if err != nil {
		return nil, err
	}
	return ParseKey(name, content)
}

// maxKeyFile bounds a key file, in bytes; an RSA key of 8192 bits has some 7 KiB.
const maxKeyFile = 64 << 10

// ReadKeyFile reads what LoadKey parses. It serves those who look whether a key file changed.
func ReadKeyFile(name string) ([]byte, error) {
	return ReadFile(name, maxKeyFile, func(info fs.FileInfo) error {
		if mode := info.Mode().Perm(); mode != 0o600 && mode != 0o400 {
			return &FileError{
				File: name, Reason: fmt.Sprintf("a private key with mode %04o", mode),
				Cure: "chmod 600 it, so that nobody but its owner can read it",
			}
		}
		return nil
	})
}

// ParseKey parses the content of a key file; name is for its errors, each a *FileError.
func ParseKey(name string, content []byte) (*rsa.PrivateKey, error) {
	block, rest := pem.Decode(content)
	if block == nil {
		return nil, &FileError{File: name, Reason: "holds no PEM key", Cure: "convert it: openssl pkey -inform der -in FILE -out FILE.pem"}
	}
	if more, _ := pem.Decode(rest); more != nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, &FileError{File: name, Reason: "holds more than one key or text after it", Cure: "leave exactly one PEM block"}
	}
	if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
		return nil, &FileError{File: name, Reason: "the key is encrypted", Cure: "decrypt it: openssl pkey -in FILE -out FILE.pem"}
	}
	var parsed any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY", "EC PARAMETERS":
		return nil, notRSA(name)
	default:
		return nil, &FileError{
			File: name, Reason: fmt.Sprintf("holds a PEM block %.40q, which is not a private RSA key", block.Type),
			Cure: "name a file with one RSA key in PKCS#8 or PKCS#1",
		}
	}
	if err != nil {
		// The parser's words could hold what a key file must not give away; they are left out.
		return nil, &FileError{File: name, Reason: "the key cannot be parsed", Cure: "export it again: openssl pkey -in FILE -out FILE.pem"}
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, notRSA(name)
	}
	if key.N.BitLen() < minKeyBits {
		return nil, &FileError{File: name, Reason: fmt.Sprintf("the RSA key has %d bits", key.N.BitLen()), Cure: "use one of 2048 bits or more"}
	}
	return key, nil
}

func notRSA(name string) error {
	return &FileError{File: name, Reason: "the key is not RSA", Cure: "the profile knows RSA only (FAPI-BR §6): have an RSA certificate issued"}
}
