package main

import (
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"slices"
	"sync"

	"github.com/miekg/pkcs11"
)

// Numbers of PKCS #11 3.0, which the library does not name.
const (
	keyEdwards    = 0x40   // CKK_EC_EDWARDS
	signEd25519   = 0x1057 // CKM_EDDSA
	sessions      = 8      // signatures at a time
	saltOfPS256   = sha256.Size
	maxKeys       = 256
	errNoSuchKey  = "no such key here"
	errTwoFormats = "give message for Ed25519, or digest, a SHA-256, for PS256"
)

// key is a private key of the token.
type key struct {
	label, id, algorithm string
	public               []byte // SubjectPublicKeyInfo, DER
	handle               pkcs11.ObjectHandle
}

// token is a token with open sessions.
type token struct {
	module *pkcs11.Ctx
	keys   []key
	free   chan pkcs11.SessionHandle
	end    sync.Once
}

func openToken(library, label, pin string) (_ *token, err error) {
	t := &token{module: pkcs11.New(library), free: make(chan pkcs11.SessionHandle, sessions)}
	if t.module == nil {
		return nil, fmt.Errorf("-module: %s cannot be loaded", library)
	}
	if err := t.module.Initialize(); err != nil {
		return nil, fmt.Errorf("-module: %w", err)
	}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	slot, err := t.slot(label)
	if err != nil {
		return nil, err
	}
	for i := range sessions {
		session, err := t.module.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
		if err != nil {
			return nil, fmt.Errorf("open a session: %w", err)
		}
		if i == 0 { // the others are logged in with it
			if err := t.module.Login(session, pkcs11.CKU_USER, pin); err != nil {
				return nil, fmt.Errorf("log in: %w", err)
			}
			if err := t.find(session); err != nil {
				return nil, err
			}
		}
		t.free <- session
	}
	if len(t.keys) == 0 {
		return nil, fmt.Errorf("the token %s has no key pair that signs with Ed25519 or RSA", label)
	}
	return t, nil
}

func (t *token) close() {
	t.end.Do(func() {
		_ = t.module.Finalize()
		t.module.Destroy()
	})
}

func (t *token) slot(label string) (uint, error) {
	slots, err := t.module.GetSlotList(true)
	if err != nil {
		return 0, fmt.Errorf("list the slots: %w", err)
	}
	for _, slot := range slots {
		if info, err := t.module.GetTokenInfo(slot); err == nil && info.Label == label {
			return slot, nil
		}
	}
	return 0, fmt.Errorf("-token: no slot has a token with the label %q", label)
}

// objects finds objects of a class, with an id or any.
func (t *token) objects(session pkcs11.SessionHandle, attributes ...*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	if err := t.module.FindObjectsInit(session, attributes); err != nil {
		return nil, err
	}
	found, _, err := t.module.FindObjects(session, maxKeys)
	return found, errors.Join(err, t.module.FindObjectsFinal(session))
}

// find lists the key pairs of which the token has both halves under one id.
func (t *token) find(session pkcs11.SessionHandle) error {
	private, err := t.objects(session, pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), pkcs11.NewAttribute(pkcs11.CKA_SIGN, true))
	if err != nil {
		return fmt.Errorf("look for keys: %w", err)
	}
	for _, handle := range private {
		about, err := t.module.GetAttributeValue(session, handle, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_ID, nil), pkcs11.NewAttribute(pkcs11.CKA_LABEL, nil)})
		if err != nil {
			return fmt.Errorf("read a key: %w", err)
		}
		halves, err := t.objects(session, pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY), pkcs11.NewAttribute(pkcs11.CKA_ID, about[0].Value))
		if err != nil || len(halves) != 1 {
			continue
		}
		k := key{label: string(about[1].Value), handle: handle}
		if k.public, k.algorithm, err = t.public(session, halves[0]); err != nil {
			continue // of a kind that this program does not sign with
		}
		sum := sha256.Sum256(k.public)
		k.id = hex.EncodeToString(sum[:])
		t.keys = append(t.keys, k)
	}
	return nil
}

func (t *token) public(session pkcs11.SessionHandle, handle pkcs11.ObjectHandle) (der []byte, algorithm string, err error) {
	if about, err := t.module.GetAttributeValue(session, handle, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_MODULUS, nil), pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, nil)}); err == nil {
		n, e := new(big.Int).SetBytes(about[0].Value), new(big.Int).SetBytes(about[1].Value)
		der, err = x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: n, E: int(e.Int64())})
		return der, "PS256", err
	}
	about, err := t.module.GetAttributeValue(session, handle, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_POINT, nil), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, nil)})
	if err != nil {
		return nil, "", err
	}
	point := about[0].Value
	var inner []byte
	if rest, err := asn1.Unmarshal(point, &inner); err == nil && len(rest) == 0 { // most drivers put the point into an OCTET STRING
		point = inner
	}
	if len(point) != ed25519.PublicKeySize || len(about[1].Value) == 0 || about[1].Value[0] != keyEdwards {
		return nil, "", errors.New("not an Ed25519 key")
	}
	der, err = x509.MarshalPKIXPublicKey(ed25519.PublicKey(point))
	return der, "Ed25519", err
}

// sign signs with a key: a message with Ed25519, a SHA-256 with RSA.
func (t *token) sign(k key, input []byte) ([]byte, error) {
	mechanism := pkcs11.NewMechanism(signEd25519, nil)
	if k.algorithm == "PS256" {
		mechanism = pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_PSS, pkcs11.NewPSSParams(pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, saltOfPS256))
	}
	session := <-t.free
	defer func() { t.free <- session }()
	if err := t.module.SignInit(session, []*pkcs11.Mechanism{mechanism}, k.handle); err != nil {
		return nil, err
	}
	return t.module.Sign(session, input)
}

// request is what is asked for; docs/operations/signer.md has its members.
type request struct {
	Key       string `json:"key"`
	Algorithm string `json:"algorithm"`
	Message   []byte `json:"message"`
	Digest    []byte `json:"digest"`
}

// answerOf answers one request. With an error the status is not 200.
func answerOf(t *token, body io.Reader) (status int, answer map[string]any, err error) {
	var r request
	in := json.NewDecoder(body)
	in.DisallowUnknownFields()
	if err := in.Decode(&r); err != nil {
		return http.StatusBadRequest, nil, fmt.Errorf("the request cannot be read: %w", err)
	}
	at := slices.IndexFunc(t.keys, func(k key) bool { return k.id == r.Key })
	if at < 0 {
		return http.StatusNotFound, nil, errors.New(errNoSuchKey)
	}
	k, input := t.keys[at], r.Message
	if k.algorithm == "PS256" {
		input = r.Digest
	}
	wrong := r.Algorithm != k.algorithm || len(r.Message) > 0 && len(r.Digest) > 0 || k.algorithm == "PS256" && len(input) != sha256.Size
	if wrong {
		return http.StatusBadRequest, nil, errors.New(errTwoFormats)
	}
	signature, err := t.sign(k, input)
	if err != nil {
		return http.StatusServiceUnavailable, nil, fmt.Errorf("sign with %s: %w", k.label, err)
	}
	return http.StatusOK, map[string]any{"signature": signature}, nil
}

// lost tells a failure after which the sessions are of no use any more.
func lost(err error) bool {
	var code pkcs11.Error
	return errors.As(err, &code) && slices.Contains([]pkcs11.Error{
		pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED,
		pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.CKR_KEY_HANDLE_INVALID,
	}, code)
}
