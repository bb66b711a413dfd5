package certs

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// ErrExists says that a folder already holds a PKI, whose keys somebody may be using.
var ErrExists = errors.New("there is a development PKI already")

// Content chooses what Write makes beside the holder's own files and the trust anchors. The zero value makes the
// initiators as well and nothing that is broken.
type Content struct {
	Overwrite bool // replace what is there
	Bad       bool // one client and one server certificate per defect, in bad/
}

// FolderManifest is what pki.json says about a folder written by Write, so that scripts need not parse certificates.
type FolderManifest struct {
	MadeAt          time.Time           `json:"madeAt"`
	NotAfter        time.Time           `json:"notAfter"`
	OrganisationID  string              `json:"organisationId"`
	SoftwareID      string              `json:"softwareId"`
	SigningKID      string              `json:"signingKid"`
	DirectoryKID    string              `json:"directoryKid"`
	TokensKID       string              `json:"tokensKid"`
	InternalKID     string              `json:"internalKid"`
	Initiators      []ManifestInitiator `json:"initiators"`
	DevelopmentOnly bool                `json:"developmentOnly"` // always true
}

// ManifestInitiator is one initiator of a FolderManifest.
type ManifestInitiator struct {
	Name           string   `json:"name"`
	OrganisationID string   `json:"organisationId"`
	SoftwareID     string   `json:"softwareId"`
	DNSNames       []string `json:"dnsNames"`
}

// SealKID is the key id of the holder's BRSEAL in holder/jwks.json and in what it signs.
const SealKID = "brseal-1"

const manifestFile = "pki.json"

// Write issues the certificates and writes the folder described in README.md. It refuses, with ErrExists, to touch a
// folder that holds a PKI unless told to overwrite it. The folder is complete when pki.json is there: it comes last.
func (p *PKI) Write(dir string, what Content) error {
	if err := mayWrite(dir, what.Overwrite); err != nil {
		return err
	}
	folder, err := p.IssueFolder(what)
	if err != nil {
		return err
	}
	return folder.Write(dir)
}

// IssueFolder issues the certificates that Write writes. Each folder that is written from it holds the same ones.
func (p *PKI) IssueFolder(what Content) (*IssuedFolder, error) {
	files, err := p.files(what)
	if err != nil {
		return nil, err
	}
	return &IssuedFolder{files, what.Overwrite}, nil
}

// IssuedFolder is the content of a folder described in README.md.
type IssuedFolder struct {
	files     []folderFile
	overwrite bool
}

// Write writes the folder as PKI.Write does.
func (f *IssuedFolder) Write(dir string) error {
	if err := mayWrite(dir, f.overwrite); err != nil {
		return err
	}
	for _, file := range f.files {
		if err := file.write(dir); err != nil {
			return err
		}
	}
	return nil
}

// mayWrite returns ErrExists for a folder that holds a PKI, unless it is to be overwritten.
func mayWrite(dir string, overwrite bool) error {
	if _, err := os.Lstat(filepath.Join(dir, manifestFile)); err == nil && !overwrite {
		return fmt.Errorf("%s: %w; choose another folder or ask for it to be overwritten", dir, ErrExists)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	return nil
}

// folderFile is one file of the folder, to be written in the order of the list.
type folderFile struct {
	name    string
	content []byte
	private bool
}

// write replaces the file by renaming, so that a running gateway never reads half of one.
func (f folderFile) write(dir string) error {
	path := filepath.Join(dir, filepath.FromSlash(f.name))
	mode, folder := fs.FileMode(0o644), fs.FileMode(0o755)
	if f.private {
		mode = 0o600
	}
	if err := os.MkdirAll(filepath.Dir(path), folder); err != nil {
		return fmt.Errorf("make the folder of %s: %w", path, err)
	}
	temporary := path + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clear the way for %s: %w", path, err)
	}
	if err := os.WriteFile(temporary, f.content, mode); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("put %s in its place: %w", path, err)
	}
	return nil
}

// files makes the content of the whole folder.
func (p *PKI) files(what Content) ([]folderFile, error) {
	names := []string{"holder/server", "holder/brcac", "holder/brseal"}
	profiles := []Profile{p.HolderServer(), p.HolderBRCAC(), p.HolderSeal()}
	for _, i := range p.opts.Initiators {
		names = append(names, "initiators/"+i.Name+"/brcac", "initiators/"+i.Name+"/server")
		profiles = append(profiles, p.InitiatorBRCAC(i), p.InitiatorServer(i))
	}
	if what.Bad {
		if len(p.opts.Initiators) == 0 {
			return nil, errors.New("bad certificates are made from the first initiator's: name one")
		}
		first := p.opts.Initiators[0]
		for _, defect := range Defects() {
			names = append(names, "bad/client-"+string(defect), "bad/server-"+string(defect))
			profiles = append(profiles, p.Spoil(p.InitiatorBRCAC(first), defect), p.Spoil(p.InitiatorServer(first), defect))
		}
	}
	leaves, err := p.IssueAll(profiles...)
	if err != nil {
		return nil, err
	}
	var out []folderFile
	for i, leaf := range leaves {
		out = append(out,
			folderFile{name: names[i] + ".pem", content: leaf.CertPEM()},
			folderFile{name: names[i] + ".key", content: leaf.KeyPEM(), private: true})
	}
	seal := &NamedKey{KID: SealKID, Key: leaves[2].Key}
	out = append(out, p.keyFiles(seal)...)
	lists, err := p.lists()
	if err != nil {
		return nil, err
	}
	out = append(out, lists...)
	manifest, err := json.MarshalIndent(p.manifest(), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", manifestFile, err)
	}
	return append(out, folderFile{name: manifestFile, content: append(manifest, '\n')}), nil
}

// keyFiles are the trust anchors and the keys that sign tokens and statements.
func (p *PKI) keyFiles(seal *NamedKey) []folderFile {
	return []folderFile{
		{name: "trust/clients.pem", content: CertPEM(p.ClientCA.Certificate)},
		{name: "trust/roots.pem", content: CertPEM(p.Root.Certificate)},
		{name: "holder/jwks.json", content: JWKS(seal)},
		{name: "directory/jwks.json", content: JWKS(p.Directory)},
		{name: "directory/directory.key", content: KeyPEM(p.Directory.Key), private: true},
		{name: "tokens/jwks.json", content: JWKS(p.Tokens)},
		{name: "tokens/tokens.key", content: KeyPEM(p.Tokens.Key), private: true},
		{name: "internal/jwks.json", content: JWKS(p.Internal)},
		{name: "internal/internal.key", content: KeyPEM(p.Internal.Key), private: true},
	}
}

// lists are the revocation lists, fresh and stale, of the authorities whose certificates TLS meets.
func (p *PKI) lists() ([]folderFile, error) {
	var out []folderFile
	for _, list := range []struct {
		name string
		ca   *CA
	}{{"clients", p.ClientCA}, {"servers", p.ServerCA}, {"root", p.Root}} {
		fresh, err := p.CRL(list.ca, p.now.Add(-time.Minute), p.now.AddDate(0, 1, 0))
		if err != nil {
			return nil, err
		}
		stale, err := p.CRL(list.ca, p.now.AddDate(0, 0, -3), p.now.AddDate(0, 0, -2))
		if err != nil {
			return nil, err
		}
		out = append(out, folderFile{name: "crl/" + list.name + ".crl", content: crlPEM(fresh)},
			folderFile{name: "crl/" + list.name + "-stale.crl", content: crlPEM(stale)})
	}
	return out, nil
}

func crlPEM(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}) }

func (p *PKI) manifest() FolderManifest {
	m := FolderManifest{
		MadeAt: p.now, NotAfter: p.HolderBRCAC().NotAfter, DevelopmentOnly: true,
		OrganisationID: p.opts.Holder.ID, SoftwareID: p.opts.SoftwareID, SigningKID: SealKID,
		DirectoryKID: p.Directory.KID, TokensKID: p.Tokens.KID, InternalKID: p.Internal.KID,
		Initiators: []ManifestInitiator{},
	}
	for _, i := range p.opts.Initiators {
		m.Initiators = append(m.Initiators, ManifestInitiator{
			Name: i.Name, OrganisationID: i.Organisation.ID, SoftwareID: i.SoftwareID,
			DNSNames: p.InitiatorServer(i).DNSNames,
		})
	}
	return m
}

// plainName says whether a name can be a folder's, on every system and nowhere else than meant.
func plainName(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' {
			return false
		}
	}
	return s != ""
}
