package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/lab/conformance"
	"github.com/arauto/arauto/internal/lab/sandbox"
	"github.com/arauto/arauto/internal/ofb"
)

func pollCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "poll ID", Short: "ask for the status of a resource as an initiator, and show what changed",
		Long: "Ask the status endpoint for a resource as an initiator does, verify the signed answer, and print its data and what changed since the\n" +
			"last call of this command for the same resource. Of another holder's resource only the status is kept in the user's cache for that,\n" +
			"because documents hold personal data; of the sandbox's, all. Beside a running sandbox only the id is needed. For another holder, name its\n" +
			"address and keys, the kind, and your certificate and token. Exit code 1: no answer, a refusal, or a signature that does not verify.",
	}
	p := &poll{world: w}
	d, f := &p.deployment, c.Flags()
	for _, one := range []struct {
		to          *string
		name, about string
	}{
		{&p.kind, "kind", "the kind of the resource, such as pix-payment"},
		{&p.version, "api-version", "the major version of the API, such as v5 (default: the newest)"},
		{&d.Public, "public", "host:port of the status endpoints"},
		{&d.PublicCA, "public-ca", "the authority of their certificate, PEM; else those of the system"},
		{&d.PublicName, "public-name", "the name in their certificate; else the host of --public"},
		{&d.Keys, "holder-keys", "the JWKS of the keys that sign answers"},
		{&d.OrganisationID, "organisation-id", "the holder's organisation id"},
		{&d.Client, "client", "the client id, for tokens of a development PKI"},
		{&d.Certificate, "cert", "your transport certificate (BRCAC) with its chain, PEM"},
		{&d.Key, "key", "its private key, PEM"},
		{&d.AccessToken, "access-token", "a file with an access token"},
		{&d.PKI, "pki", "the folder of a development PKI; it replaces files and token"},
		{&d.Initiator, "initiator", "which initiator of the development PKI to be (default: the client)"},
	} {
		f.StringVar(one.to, one.name, "", one.about)
	}
	f.BoolVar(&p.asJSON, "json", false, "print one JSON object")
	language := languageFlag(c, w)
	c.Args = func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return wrongUse(sandboxWords[known(*language)]["poll-args"], len(args))
		}
		return nil
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := oneOf("--lang", *language, "pt", "en"); err != nil {
			return err
		}
		if _, err := ofb.ParseKind(p.kind); err != nil && p.kind != "" {
			return wrongUse("--kind: %v", err)
		}
		p.language, p.id = *language, strings.TrimSpace(args[0])
		if p.id == "" {
			return wrongUse("%s", sandboxWords[*language]["poll-empty"])
		}
		return p.run(cmd)
	}
	return c
}

// poll is one status query.
type poll struct {
	world
	deployment        conformance.Deployment
	id, kind, version string
	asJSON            bool
	language          string
	whole             bool // the sandbox's resources, which are nobody's, are kept whole for the next call
}

// polled is the result for programs.
type polled struct {
	ID      string         `json:"resourceId"`
	Kind    string         `json:"kind"`
	At      time.Time      `json:"at"`
	Version string         `json:"version"` // header x-v
	Data    map[string]any `json:"data"`
	Since   *time.Time     `json:"since"`   // of the last call; null: this is the first
	Changes []polledChange `json:"changes"` // since then
}

// polledChange is a member that changed; null is absent.
type polledChange struct {
	Pointer string `json:"pointer"` // inside data
	Before  any    `json:"before"`
	After   any    `json:"after"`
}

func (p *poll) run(cmd *cobra.Command) error {
	if err := p.complete(cmd); err != nil {
		return err
	}
	kind, err := ofb.ParseKind(p.kind)
	if err != nil {
		return wrongUse("--kind: %v", err)
	}
	versions := kind.Versions()
	version := cmp.Or(p.version, versions[len(versions)-1])
	if !slices.Contains(versions, version) {
		return oneOf("--api-version", version, versions...)
	}
	ask, end, err := p.deployment.OpenStatus()
	if errors.Is(err, conformance.ErrIncomplete) {
		return wrongUse("%v", err)
	}
	if err != nil {
		return err
	}
	defer end()
	answer, err := ask(cmd.Context(), conformance.Query{Client: p.deployment.Client, Kind: kind, Version: version, ID: p.id})
	if err != nil {
		return fmt.Errorf("poll: %w", err)
	}
	now := polled{ID: p.id, Kind: kind.String(), At: time.Now().UTC(), Version: answer.Version, Data: answer.Data, Changes: []polledChange{}}
	if err := p.compare(&now); err != nil {
		return err
	}
	if p.asJSON {
		return json.NewEncoder(p.stdout).Encode(&now)
	}
	return p.show(&now)
}

// complete takes what is not named from the running sandbox.
func (p *poll) complete(cmd *cobra.Command) error {
	d := &p.deployment
	if d.Public != "" || d.Certificate != "" {
		d.Initiator = cmp.Or(d.Initiator, d.Client)
		if p.kind == "" {
			return wrongUse("poll: %s", pollWords[p.language].kind)
		}
		return nil
	}
	words := pollWords[p.language]
	running, err := runningSandbox(cmd.Context(), p.language)
	if errors.Is(err, sandbox.ErrNotRunning) {
		return wrongUse("poll: "+words.public, err)
	}
	if err != nil {
		return err
	}
	found, err := running.Find(cmd.Context(), p.id)
	if err != nil && p.kind == "" {
		return fmt.Errorf("poll: "+words.unknown, err)
	}
	p.whole = true
	p.kind, p.version = cmp.Or(p.kind, found.Kind), cmp.Or(p.version, found.APIVersion)
	d.Client = cmp.Or(d.Client, found.Client, "alfa")
	d.Initiator = cmp.Or(d.Initiator, d.Client)
	d.PKI, d.Public = cmp.Or(d.PKI, running.PKI), strings.TrimPrefix(running.Public, "https://")
	return nil
}

// compare finds what changed since the last call, and keeps the answer for the next.
func (p *poll) compare(now *polled) error {
	folder, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("find the folder of earlier answers: %w", err)
	}
	sum := sha256.Sum256([]byte(p.deployment.Public + " " + now.Kind + " " + now.ID))
	file := filepath.Join(folder, "arauto", "polls", fmt.Sprintf("%x.json", sum[:16]))
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var before polled
	if err == nil && json.Unmarshal(text, &before) == nil {
		data := now.Data
		if !p.whole {
			data = map[string]any{"status": now.Data["status"]}
		}
		now.Since, now.Changes = &before.At, changes(before.Data, data)
	}
	kept := *now
	kept.Since, kept.Changes = nil, nil
	if !p.whole {
		kept.Data = map[string]any{"status": now.Data["status"]}
	}
	if text, err = json.Marshal(&kept); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

// changes lists the members that differ, by pointer.
func changes(before, after map[string]any) []polledChange {
	was, is := map[string]any{}, map[string]any{}
	flatten("", before, was)
	flatten("", after, is)
	found := []polledChange{}
	for pointer, value := range was {
		if other, there := is[pointer]; !there || !reflect.DeepEqual(value, other) {
			found = append(found, polledChange{pointer, value, other})
		}
	}
	for pointer, value := range is {
		if _, there := was[pointer]; !there {
			found = append(found, polledChange{pointer, nil, value})
		}
	}
	slices.SortFunc(found, func(a, b polledChange) int { return strings.Compare(a.Pointer, b.Pointer) })
	return found
}

// flatten gathers the values of a document by their pointers.
func flatten(at string, value any, into map[string]any) {
	switch v := value.(type) {
	case map[string]any:
		for name, member := range v {
			flatten(at+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(name), member, into)
		}
	case []any:
		for i, element := range v {
			flatten(at+"/"+strconv.Itoa(i), element, into)
		}
	default:
		into[at] = v
	}
}

// pollWords are the words of poll.
var pollWords = map[string]struct{ verified, first, same, changed, absent, public, unknown, kind string }{
	"en": {
		"the signature verifies", "first call for this resource", "nothing changed since %s", "changed since %s:", "absent",
		"--public is not set, and %v", "%w; name its --kind to ask all the same", "--kind is not set; name the kind of the resource",
	},
	"pt": {
		"a assinatura confere", "primeira consulta deste recurso", "nada mudou desde %s", "mudou desde %s:", "ausente",
		"--public não foi informado, e %v", "o sandbox não tem este id (%w); informe --kind para consultar mesmo assim", "falta --kind; informe o tipo do recurso",
	},
}

// show prints the answer for people.
func (p *poll) show(now *polled) error {
	words := pollWords[p.language]
	text, err := json.MarshalIndent(now.Data, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%s %s  x-v %s; %s\n%s\n", now.Kind, now.ID, cmp.Or(now.Version, "-"), words.verified, text)
	switch {
	case now.Since == nil:
		fmt.Fprintln(p.stdout, words.first)
	case len(now.Changes) == 0:
		fmt.Fprintf(p.stdout, words.same+"\n", now.Since.Local().Format(time.DateTime))
	default:
		fmt.Fprintf(p.stdout, words.changed+"\n", now.Since.Local().Format(time.DateTime))
		value := func(v any) string {
			if v == nil {
				return words.absent
			}
			return fmt.Sprint(v)
		}
		for _, one := range now.Changes {
			fmt.Fprintf(p.stdout, "  %s: %s -> %s\n", one.Pointer, value(one.Before), value(one.After))
		}
	}
	return nil
}
