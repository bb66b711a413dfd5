// Package internal_test holds the rules of the architecture that a machine can check, each with its reason. When one
// stops you, read the reason first. To add a package or a library is a decision: put it in the tables below, with why.
package internal_test

import (
	"go/ast"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

const module = "github.com/arauto/arauto"

// place is where a package stands: imports go down, never up, and sideways only where named.
type place struct {
	story string   // what it is for, in a few words
	may   []string // packages of ours it may import; "*" for all that the rules for test helpers leave
}

var floor0 = []string{"internal/brand", "internal/ofb", "internal/notice", "internal/history", "internal/timing", "internal/figures", "internal/audit", "internal/failure", "internal/uuid"}

// consolePages are what the console is made of, and onePage is what one of its folders may import.
var (
	consolePages = []string{
		"internal/console/page", "internal/console/notifications", "internal/console/initiators", "internal/console/late", "internal/console/sources",
		"internal/console/certificates", "internal/console/sealedlog", "internal/console/now", "internal/console/resources",
		"internal/console/access", "internal/console/find", "internal/console/exports", "internal/console/holds",
		"internal/console/quarantine", "internal/console/reconciliation", "internal/console/requests", "internal/console/settings",
		"internal/console/manual",
	}
	onePage = append([]string{"internal/console/page"}, floor0...)
)

// packages lists every package of ours. A package that is not here fails the test: none is added before it has two
// reasons to exist.
var packages = map[string]place{
	"internal/brand":   {"0: the brands of one deployment, and the keys of what belongs to each; pure", nil},
	"internal/ofb":     {"0: the ecosystem's words and rules, pure", nil},
	"internal/uuid":    {"0: the type of an id, pure", nil},
	"internal/notice":  {"0: our words, the schedule as data, pure", []string{"internal/brand", "internal/ofb", "internal/uuid"}},
	"internal/history": {"0: what an entry of the log says: kinds, facts, filters, a resource's history, pure", []string{"internal/brand", "internal/ofb", "internal/notice", "internal/audit"}},
	"internal/timing":  {"0: was it on time, and if not, why; pure", []string{"internal/ofb", "internal/notice", "internal/history"}},
	"internal/figures": {"0: sums over time, folded from the log, pure", []string{"internal/ofb", "internal/notice", "internal/history", "internal/timing"}},
	"internal/audit":   {"0: entries, tree, proofs, pure", []string{"internal/uuid"}},
	"internal/failure": {"0: what an error of ours says of itself, and who acts on it; pure", nil},

	"certs":                   {"1: identities, how they are made and read", nil},
	"openapi":                 {"1: the documents of what we serve and send", floor0},
	"migrations":              {"1: the schema, as SQL", nil},
	"docs/operations":         {"1: the manual for operators, as it is in the binary", nil},
	"docs/verifier":           {"1: the verifier that a browser opens, as it is in the binary", nil},
	"internal/mtls":           {"1: who we are and whom we trust", nil},
	"internal/jws":            {"1: signs and verifies; hides the JOSE libraries; reads key files as mtls does", []string{"internal/mtls"}},
	"internal/store":          {"1: the only package that knows SQL", append(floor0, "migrations")},
	"internal/store/auditlog": {"1: the log as it is read and proven, over the store's connections", append(floor0, "internal/store")},
	"internal/strict":         {"1: reads JSON that others wrote, for intake and buses", nil},
	"internal/config":         {"1: settings: read, checked, described, masked", []string{"internal/brand", "internal/ofb", "internal/notice", "internal/mtls"}},
	"internal/signer":         {"1: signatures made by a process behind a socket", nil},
	"internal/groupcommit":    {"1: when what waits is committed together, for intake and the spool", nil},
	"internal/connlimit":      {"1: how many connections a listener has, and what becomes of those beyond", nil},
	"internal/lifecycle":      {"1: named parts of a process, started in order and stopped in reverse", nil},
	"internal/logging":        {"1: the log of the process: limited by kind, written by nobody who waits", nil},

	"internal/intake":   {"2: accepts a change or says why not", append(floor0, "internal/strict", "internal/groupcommit")},
	"internal/dispatch": {"2: which attempt is made when", floor0},
	"internal/webhook":  {"2: one attempt over the wire", append(floor0, "internal/mtls")},
	"internal/registry": {"2: who may be told, and where", append(floor0, "internal/jws")},
	"internal/trust": {"2: the certificates, keys, lists and clients in force", append(floor0, "internal/config", "internal/mtls", "internal/jws",
		"internal/signer", "internal/webhook")},
	"internal/watch": {"2: notices changes by itself", floor0},

	"internal/watch/bus":      {"2: what the readers of buses have in common", []string{"internal/watch", "internal/strict"}},
	"internal/watch/kafka":    {"2: reads topics", []string{"internal/watch", "internal/watch/bus"}},
	"internal/watch/nats":     {"2: reads a stream", []string{"internal/watch", "internal/watch/bus"}},
	"internal/watch/rabbitmq": {"2: reads queues", []string{"internal/watch", "internal/watch/bus"}},
	"internal/watch/postgres": {"2: reads a database's log", []string{"internal/watch"}},

	"internal/watch/suggest": {"2: writes a mapping to start from", append(floor0, "internal/watch", "internal/watch/postgres", "openapi")},
	"internal/watch/sources": {"2: which sources run here, and how their records reach intake", append(floor0, "internal/config", "internal/store", "internal/intake",
		"internal/registry", "internal/jws", "internal/watch", "internal/watch/kafka", "internal/watch/nats", "internal/watch/rabbitmq", "internal/watch/postgres")},

	"internal/evidence":  {"2: exports, proofs and dossiers of the sealed log", floor0},
	"internal/reconcile": {"2: the daily look whether the history is complete", append(floor0, "internal/config", "internal/store", "internal/store/auditlog", "internal/evidence")},
	"internal/seal":      {"2: seals the log, carries checkpoints to anchors and publishes tiles", append(floor0, "internal/config", "internal/store", "internal/store/auditlog", "internal/mtls", "internal/signer", "internal/tiles", "internal/trust")},
	"internal/events":    {"2: tells operators of troubles, once, and when they are over", append(floor0, "internal/config", "internal/mtls", "internal/trust")},
	"internal/tiles":     {"2: copies of a log as static files, ours published and others mirrored", []string{"internal/audit"}},
	"internal/witness":   {"2: cosigns the checkpoints of other logs", []string{"internal/audit"}},
	"internal/spool":     {"2: polls kept on disk while the database is slow", append(floor0, "internal/groupcommit")},
	"internal/receipt":   {"2: first receipts of refused changes, kept until the history has them", floor0},

	"internal/api": {"3: the frame of our listeners", append(floor0, "internal/jws")},
	"internal/api/bank": {"3: the bank's own side", append(floor0, "internal/api", "internal/intake", "internal/registry", "internal/evidence",
		"internal/jws", "internal/tiles", "internal/trust")},
	"internal/api/ops":    {"3: the platform's side: health, readiness, metrics", nil},
	"internal/api/status": {"3: the initiators' side: status queries", append(floor0, "internal/api", "internal/mtls", "internal/jws", "openapi")},

	"internal/console": {"3: pages for people: sign-in, sessions, the table of pages", append(append([]string{"internal/api", "internal/jws"}, floor0...),
		consolePages...)},
	"internal/console/page":          {"3: what every page is made with", append(floor0, "internal/api", "internal/jws")},
	"internal/console/find":          {"3: the page of the one box for every id", onePage},
	"internal/console/now":           {"3: the page that tells whether everything is all right", onePage},
	"internal/console/notifications": {"3: the page that lists notifications", append([]string{"internal/evidence"}, onePage...)},
	"internal/console/initiators":    {"3: the pages of the initiators", onePage},
	"internal/console/late":          {"3: the page of the times that were not kept", onePage},
	"internal/console/sources":       {"3: the page of the followed databases and buses", onePage},
	"internal/console/certificates":  {"3: the calendar of certificates", onePage},
	"internal/console/sealedlog":     {"3: the pages of the sealed log and its proof", append([]string{"docs/verifier"}, onePage...)},
	"internal/console/resources":     {"3: the page of one resource, its entries and its proofs", onePage},

	"internal/console/access":         {"3: the page of who read or did what", append([]string{"internal/evidence"}, onePage...)},
	"internal/console/exports":        {"3: the page of exports", onePage},
	"internal/console/holds":          {"3: the page of holds", onePage},
	"internal/console/quarantine":     {"3: the pages of what could not be applied", onePage},
	"internal/console/reconciliation": {"3: the page of the daily look whether the history is complete", onePage},
	"internal/console/requests":       {"3: the page of acts that wait for a second person", onePage},
	"internal/console/settings":       {"3: the page of settings and replicas", onePage},
	"internal/console/manual":         {"3: the pages of the manual for operators", append([]string{"docs/operations"}, onePage...)},

	"internal/explain": {"4: what would become of one change, for the command line", append(floor0, "internal/config", "internal/store", "internal/intake",
		"internal/registry", "internal/watch", "internal/watch/sources", "internal/webhook", "openapi")},
	"internal/metrics": {"4: every metric, and what counts it", append(floor0, "internal/logging", "internal/mtls", "internal/store", "internal/store/auditlog",
		"internal/dispatch", "internal/webhook", "internal/trust", "internal/watch", "internal/watch/sources", "internal/events")},
	"internal/gateway": {"4: wiring, and the order of start and stop", []string{"*"}},
	"cmd/arauto":       {"4: the command line", []string{"*"}},
}

// restricted packages may be imported, in code that is not a test, by those named only, even where "*" is allowed.
var restricted = map[string]struct {
	by     []string
	reason string
}{
	"internal/lab/temppostgres": {
		[]string{"internal/lab/storetest", "internal/lab/stage", "internal/lab/nemesis"},
		"a server that syncs nothing to disk must not come near production",
	},
	"internal/lab/demo": {
		[]string{"cmd/arauto"},
		"it plays the product on one machine: `arauto demo` and nothing else",
	},
	"internal/lab/conformance": {
		[]string{"cmd/arauto"},
		"it stands in the place of a core and of a certification suite: `arauto conformance` and nothing else",
	},
	"internal/lab/sandbox": {
		[]string{"cmd/arauto"},
		"it is a whole holder on a developer's machine: `arauto sandbox` and what goes with it",
	},
	"internal/lab/stage": {
		[]string{"internal/lab/conformance", "internal/lab/nemesis", "internal/lab/demo", "internal/lab/sandbox"},
		"the whole product on one machine: tests and `arauto demo` use it, no package that serves",
	},
	"internal/lab/standin": {
		[]string{"internal/lab/conformance", "internal/lab/nemesis", "internal/lab/demo"},
		"a stand-in initiator misbehaves on purpose: tests and `arauto demo` use it, no package that serves",
	},
	"internal/lab/openapitest": {
		[]string{"internal/lab/conformance", "internal/lab/nemesis", "internal/lab/demo", "internal/lab/sandbox"},
		"it makes up documents: tests and `arauto demo` use it, no package that serves",
	},
	"certs": {
		[]string{"internal/lab/mtlstest", "internal/lab/stage", "internal/lab/conformance", "internal/lab/nemesis", "internal/lab/demo", "internal/lab/sandbox", "cmd/arauto"},
		"production identities come from files; who makes certificates is a command of its own",
	},
}

// isHelper tells an instrument, which tests, benchmarks, the demo and the nemesis use and production never imports.
func isHelper(pkg string) bool { return strings.HasPrefix(pkg, "internal/lab/") }

// library is a third-party module and the packages it is hidden in.
type library struct {
	module string
	in     []string
	reason string
}

// libraries names where a module may be imported in code that is not a test; "pkg" covers its helpers below too. A module
// that is not listed may be used in one package only.
var libraries = []library{
	{"gorm.io", []string{"internal/store"}, "gorm stays in store: rows are not domain types"},
	{
		"github.com/jackc/pgx",
		[]string{"internal/store", "internal/watch/postgres"},
		"SQL is store's; watch reads the core's log",
	},
	{"github.com/jackc/pglogrepl", []string{"internal/watch/postgres"}, "the core's database log is watch's"},
	{"github.com/twmb/franz-go/pkg/kfake", nil, "a stand-in for Kafka: tests only"},
	{"github.com/twmb/franz-go", []string{"internal/watch/kafka"}, "who acknowledges to a bus is its reader"},
	{"github.com/nats-io/nats-server", nil, "a server in the process: tests only"},
	{"github.com/nats-io/nats.go", []string{"internal/watch/nats"}, "who acknowledges to a bus is its reader"},
	{"github.com/rabbitmq/amqp091-go", []string{"internal/watch/rabbitmq"}, "who acknowledges to a bus is its reader"},
	{"github.com/pressly/goose", []string{"internal/store"}, "the schema is store's"},
	{"github.com/golang-jwt/jwt", []string{"internal/jws"}, "one place decides which algorithms are accepted"},
	{"github.com/lestrrat-go", []string{"internal/jws"}, "one place fetches and trusts keys"},
	{"github.com/coreos/go-oidc", []string{"internal/console"}, "who signs people in is the console's"},
	{"golang.org/x/oauth2", []string{"internal/console"}, "who signs people in is the console's"},
	{"github.com/zitadel/oidc", nil, "a real OpenID provider in the process: tests only"},
	{"github.com/go-jose", nil, "keys of that provider's storage: tests only"},
	{"github.com/pires/go-proxyproto", []string{"internal/mtls"}, "one place believes what a peer says of another's address"},
	{"github.com/chromedp", nil, "drives a real browser: tests only"},
	{"github.com/gorilla/mux", []string{"internal/api"}, "routing belongs to the faces"},
	{"github.com/getkin/kin-openapi", []string{"openapi"}, "the validator stays exchangeable behind our documents"},
	{"github.com/dlclark/regexp2", nil, "an oracle for the documents' patterns; it backtracks: tests only"},
	{"github.com/go-json-experiment", []string{"internal/strict", "internal/intake", "internal/api", "internal/watch/bus"}, "what comes in from machines is read strictly"},
	{"github.com/swaggest/swgui", []string{"internal/gateway"}, "one page on the internal listener"},
	{"github.com/prometheus", []string{"internal/metrics"}, "packages report to an observer of their own"},
	{"go.yaml.in/yaml", []string{"internal/config", "internal/watch"}, "configuration is read once and passed as values; a mapping is configuration, and its errors name line and key"},
	{"github.com/expr-lang/expr", []string{"internal/watch"}, "what a row means is said in mappings alone; who computes it stays exchangeable"},
	{"github.com/caarlos0/env", []string{"internal/config"}, "configuration is read once and passed as values"},
	{"github.com/spf13/cobra", []string{"cmd/arauto"}, "the command line is not the product"},
	{"code.dny.dev/ssrf", []string{"internal/webhook"}, "one place judges the addresses that are dialled"},
	{"golang.org/x/crypto", []string{"internal/mtls", "certs", "internal/seal"}, "OCSP and PKCS#12 are about identities; the log's key may be in an SSH agent"},
	{"github.com/klauspost/compress", []string{"internal/store"}, "how a column is packed is the store's"},
	{"github.com/parquet-go", []string{"internal/evidence"}, "one form of export among others"},
	{"golang.org/x/mod", []string{"internal/audit"}, "the tree's hashes and notes"},
	{
		"github.com/google/uuid",
		[]string{"internal/store", "internal/api"},
		"ids are random: floor 0 takes them as values",
	},
	{"golang.org/x/sync", []string{"internal/jws", "internal/store", "certs"}, "goroutines are no business of floor 0"},
}

// pureImports are the packages of the standard library that floor 0 may not import.
var pureImports = regexp.MustCompile(`^(context|database/.*|io/fs|log|net|net/http.*|os|os/.*|runtime|syscall|testing|crypto/rand|math/rand.*)$`)

// panics lists the packages in which a panic may stand, and what programmer's mistake it reports. Its text begins with
// the package's name, so that a reader of the trace knows whose rule was broken.
var panics = map[string]string{
	"certs":            "an identity of ours that cannot be encoded, a defect nobody defined",
	"openapi":          "a string that cannot be written as JSON",
	"internal/ofb":     "a value that no JSON decoder makes",
	"internal/webhook": "a client used past its Sender",
}

// guessable lists the files that may use math/rand, and for what.
var guessable = map[string]string{
	"internal/store/auditlog/seal.go": "draws which stored hashes are looked at again before the next are built upon them",
	"internal/webhook/keep.go":        "draws how old a kept connection becomes, so that those of one burst do not end together",
	"internal/webhook/resolver.go":    "numbers DNS queries; version 2 draws from ChaCha8, seeded by the system",
}

// topLevel is what may stand at the root of the repository.
var topLevel = []string{
	"cmd", "internal", "certs", "openapi", "migrations", "Makefile", "go.mod", "go.sum", "README.md", "docs", "LICENSE", ".ci",
	".gitignore", ".gitattributes", ".editorconfig", ".golangci.yml",
}

// floors are the oldest versions without a defect that concerns us.
var floors = map[string]string{
	"github.com/jackc/pgx/v5":       "v5.9.2",
	"github.com/go-jose/go-jose/v4": "v4.1.4",
}

func TestImportsGoDownAndNeverUp(t *testing.T) {
	_, all := sources(t)
	for _, s := range all {
		if s.test || s.pkg == "internal" {
			continue
		}
		p, known := packages[s.pkg]
		if !known && !isHelper(s.pkg) {
			t.Errorf("%s: package %s is not in the table of packages: give it a floor and a reason, or put its code where it belongs", s.file, s.pkg)
			continue
		}
		for _, name := range imports(s) {
			if !within(module, name) {
				continue
			}
			target := strings.TrimPrefix(name, module+"/")
			if rule, is := restricted[target]; is && !slices.Contains(rule.by, s.pkg) {
				t.Errorf("%s imports %s, which is for %v only: %s", s.file, target, rule.by, rule.reason)
			}
			if isHelper(s.pkg) {
				continue // helpers serve tests of any floor
			}
			if _, is := restricted[target]; is {
				continue
			}
			if isHelper(target) {
				t.Errorf("%s imports %s: no mock, no made-up authority and no stand-in is reachable by production", s.file, target)
			} else if !slices.Contains(p.may, target) && !slices.Contains(p.may, "*") {
				t.Errorf("%s imports %s, but %s (%s) may import %v: declare a small interface where it is used, and let gateway join the two",
					s.file, target, s.pkg, p.story, p.may)
			}
		}
	}
}

// TestNoRowOfATableIsUnused: a permission that nobody needs is one that somebody will use.
func TestNoRowOfATableIsUnused(t *testing.T) {
	_, all := sources(t)
	used := map[string][]string{} // what the code of a package imports
	for _, s := range all {
		if !s.test {
			used[s.pkg] = append(used[s.pkg], imports(s)...)
		}
	}
	for pkg, p := range packages {
		if _, there := used[pkg]; !there {
			t.Errorf("the table of packages has a row for %s, which does not exist", pkg)
		}
		for _, target := range p.may {
			if target != "*" && !slices.Contains(floor0, target) && !slices.Contains(used[pkg], module+"/"+target) {
				t.Errorf("%s may import %s, and does not", pkg, target)
			}
		}
	}
	for _, l := range libraries {
		for _, in := range l.in {
			needed := false
			for pkg, names := range used {
				needed = needed || within(in, pkg) && slices.ContainsFunc(names, func(name string) bool { return within(l.module, name) })
			}
			if !needed {
				t.Errorf("%s may be imported in %s, and is not", l.module, in)
			}
		}
	}
}

func TestTheGatewayIsImportedFromAboveOnly(t *testing.T) {
	_, all := sources(t)
	for _, s := range all {
		for _, name := range imports(s) {
			if name == module+"/internal/gateway" && !slices.Contains([]string{"internal/gateway", "internal/lab/stage", "internal/lab/browser", "cmd/arauto"}, s.pkg) {
				t.Errorf("%s imports the gateway: it is the whole, and its parts and their tests must stand without it", s.file)
			}
		}
	}
}

func TestThirdPartyLibrariesStayHiddenInTheirPackage(t *testing.T) {
	modules := required(t)
	users := map[string][]string{} // of modules that are not listed
	_, all := sources(t)
	for _, s := range all {
		if !s.product() {
			continue
		}
		for _, name := range imports(s) {
			if !strings.Contains(strings.Split(name, "/")[0], ".") || within(module, name) {
				continue
			}
			at := slices.IndexFunc(libraries, func(l library) bool { return within(l.module, name) })
			if at >= 0 {
				if l := libraries[at]; !slices.ContainsFunc(l.in, func(in string) bool { return within(in, s.pkg) }) {
					t.Errorf("%s imports %s, which is hidden in %v: %s", s.file, name, l.in, l.reason)
				}
				continue
			}
			owner := owning(modules, name)
			if !slices.Contains(users[owner], s.pkg) {
				users[owner] = append(users[owner], s.pkg)
			}
		}
	}
	for library, in := range users {
		if len(in) > 1 {
			t.Errorf("%s is imported by %v: a library is hidden in one package, or has a line with a reason in the table of libraries", library, in)
		}
	}
}

func TestFloorZeroIsPure(t *testing.T) {
	const reason = "rules take `now` and values, so that they can be tested over all cases and replayed by an auditor"
	clock := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
	positions, all := sources(t)
	for _, s := range all {
		if s.test || !slices.Contains(floor0, s.pkg) {
			continue
		}
		for _, name := range imports(s) {
			third := strings.Contains(strings.Split(name, "/")[0], ".") && !within(module, name)
			if pureImports.MatchString(name) || (third && s.pkg != "internal/audit") {
				t.Errorf("%s imports %s: %s", s.file, name, reason)
			}
		}
		for _, name := range clock {
			for _, at := range uses(s, "time", name) {
				t.Errorf("%s reads the clock: %s", positions.Position(at), reason)
			}
		}
	}
}

// uses finds the places that mention an exported name of an imported package.
func uses(s source, pkg, name string) []token.Pos {
	local := ""
	for _, spec := range s.syntax.Imports {
		if spec.Path.Value == strconv.Quote(pkg) {
			local = path.Base(pkg)
			if spec.Name != nil {
				local = spec.Name.Name
			}
		}
	}
	var found []token.Pos
	if local == "" {
		return nil
	}
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		if selector, ok := n.(*ast.SelectorExpr); ok && selector.Sel.Name == name {
			if of, ok := selector.X.(*ast.Ident); ok && of.Name == local {
				found = append(found, n.Pos())
			}
		}
		return true
	})
	return found
}

func TestWhatMustNotStandInTheProductDoesNot(t *testing.T) {
	forbidden := []struct{ pkg, name, reason string }{
		{"net/http", "DefaultClient", "it has no timeout, follows redirects and shares connections: webhook owns the clients"},
		{"net/http", "DefaultTransport", "it takes a proxy from the environment and knows no identity: mtls and webhook make transports"},
		{"net/http", "Get", "it uses the default client"},
		{"net/http", "Post", "it uses the default client"},
		{"net/http", "PostForm", "it uses the default client"},
		{"net/http", "Head", "it uses the default client"},
		{"net/http", "ProxyFromEnvironment", "an attempt goes to the address that was judged, and nowhere else"},
		{"net/http", "DefaultServeMux", "anybody can register on it"},
		{"net/http", "ListenAndServe", "it has no timeouts and cannot be stopped"},
		{"net/url", "JoinPath", "it cleans the path: an escaped id becomes another resource (contract, Escaping of ids)"},
		{"log/slog", "Default", "the logger is handed in"},
		{"log/slog", "SetDefault", "the logger is handed in"},
	}
	positions, all := sources(t)
	for _, s := range all {
		if !s.product() {
			continue
		}
		for _, f := range forbidden {
			for _, at := range uses(s, f.pkg, f.name) {
				t.Errorf("%s: %s.%s: %s", positions.Position(at), f.pkg, f.name, f.reason)
			}
		}
		for _, name := range imports(s) {
			if strings.HasPrefix(name, "math/rand") && guessable[s.file] == "" {
				t.Errorf("%s imports %s: ids, nonces and keys come from crypto/rand; a guessable interaction id tells what it must not", s.file, name)
			}
			if name == "encoding/csv" && s.pkg != "internal/evidence" {
				t.Errorf("%s imports %s: evidence.Table writes every CSV file, with one rule against formulas", s.file, name)
			}
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			if reason := forbiddenNode(s, n); reason != "" {
				t.Errorf("%s: %s", positions.Position(n.Pos()), reason)
			}
			return true
		})
	}
}

var sql = regexp.MustCompile(`\b(SELECT\s|INSERT INTO|UPDATE\s+\S+\s+SET|DELETE FROM|CREATE (TABLE|INDEX|ROLE|DATABASE|SCHEMA)|ALTER\s+(TABLE|ROLE)|DROP\s+(TABLE|DATABASE))`)

// forbiddenNode returns the reason why a piece of syntax must not stand in the product, or nothing.
func forbiddenNode(s source, n ast.Node) string {
	switch n := n.(type) {
	case *ast.Ident:
		if n.Name == "InsecureSkipVerify" {
			return "InsecureSkipVerify: there is no switch that turns certificate checks off; development has a CA of its own"
		}
	case *ast.SelectorExpr:
		switch n.Sel.Name {
		case "JoinPath":
			return "JoinPath cleans the path: an escaped id becomes another resource (contract, Escaping of ids)"
		case "AutoMigrate", "Preload":
			return n.Sel.Name + ": the schema is in migrations/, and queries are written, not guessed"
		}
	case *ast.CallExpr:
		if called, ok := n.Fun.(*ast.Ident); ok && called.Name == "panic" {
			return forbiddenPanic(s, n)
		}
		if called, ok := n.Fun.(*ast.SelectorExpr); ok && called.Sel.Name == "Sprintf" && len(n.Args) > 1 && sql.MatchString(literals(n.Args[0])) {
			return "SQL by Sprintf: values are parameters ($1), names go through pgx.Identifier"
		}
	}
	return ""
}

// forbiddenPanic returns the reason why a panic must not stand where it does, or nothing.
func forbiddenPanic(s source, call *ast.CallExpr) string {
	if len(call.Args) == 1 {
		if value, ok := call.Args[0].(*ast.SelectorExpr); ok && value.Sel.Name == "ErrAbortHandler" {
			return "" // the standard library's own way to end a connection without an answer
		}
	}
	if _, listed := panics[s.pkg]; !listed {
		return "panic: only for a programmer's mistake, in a package of the list of panics, with its reason; else return an error"
	}
	if own := s.syntax.Name.Name + ": "; !strings.HasPrefix(literals(call), own) {
		return "panic: its text begins with " + strconv.Quote(own)
	}
	return ""
}

// literals joins the string literals below a node.
func literals(n ast.Node) string {
	var text strings.Builder
	ast.Inspect(n, func(n ast.Node) bool {
		if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if value, err := strconv.Unquote(literal.Value); err == nil {
				text.WriteString(value)
			}
		}
		return true
	})
	return text.String()
}

func TestEachPackageTellsItsStoryOnce(t *testing.T) {
	_, all := sources(t)
	comments := map[string][]string{}
	for _, s := range all {
		if s.test {
			continue
		}
		in := comments[s.pkg]
		if s.syntax.Doc != nil {
			in = append(in, s.file)
		}
		if comments[s.pkg] = in; s.syntax.Doc == nil {
			continue
		}
		opening := "Package " + s.syntax.Name.Name + " "
		if s.syntax.Name.Name == "main" {
			opening = "Command " + path.Base(s.pkg) + " "
		}
		if !strings.HasPrefix(s.syntax.Doc.Text(), opening) {
			t.Errorf("%s: the package comment begins with %q, as go doc expects; a licence or a note above `package` needs a blank line", s.file, opening)
		}
	}
	for pkg, in := range comments {
		if len(in) != 1 {
			t.Errorf("%s has %d package comments %v: one says what the package is for, what must stay true, and what is left to others", pkg, len(in), in)
		}
	}
}

func TestTestsAwaitEventsAndDoNotSleep(t *testing.T) {
	positions, all := sources(t)
	virtual := map[string]bool{} // packages tested in bubbles, in which a sleep takes no time
	for _, s := range all {
		virtual[s.pkg] = virtual[s.pkg] || slices.Contains(imports(s), "testing/synctest")
	}
	for _, s := range all {
		if !s.test || virtual[s.pkg] {
			continue
		}
		for _, at := range uses(s, "time", "Sleep") {
			t.Errorf("%s: a test that sleeps is slow when the machine is quick and fails when it is slow: await the event", positions.Position(at))
		}
	}
}

func TestNamesSayWhatIsInside(t *testing.T) {
	folders := regexp.MustCompile(`^(util|utils|common|helpers?|models?|types|misc|shared|lib|controllers?|services?|repositor(y|ies)|mocks?|\w+util)$`)
	names := regexp.MustCompile(`^(util|utils|common|helpers?|types|errors|consts?|constants|misc|interfaces?|models?)(_test)?\.go$`)
	for _, file := range files(t) {
		if path.Ext(file) != ".go" {
			continue
		}
		if folder := path.Base(path.Dir(file)); folders.MatchString(folder) {
			t.Errorf("%s: a package is named for what it does, not %q", file, folder)
		}
		if names.MatchString(path.Base(file)) {
			t.Errorf("%s: a file is named for the noun inside; a type, its constructor, its errors and its methods stay together", file)
		}
	}
}

func TestTheTopLevelHoldsOnlyWhatIsPrescribed(t *testing.T) {
	for _, file := range files(t) {
		if first, _, _ := strings.Cut(file, "/"); !slices.Contains(topLevel, first) {
			t.Errorf("%s: the top level holds only %v; a new entry is a decision about the product", file, topLevel)
		}
	}
}

func TestNoPrivateKeyIsCommitted(t *testing.T) {
	key := regexp.MustCompile(`BEGIN ([A-Z]+ )*PRIVATE` + ` KEY-----\s*[A-Za-z0-9+/=]{20}`)
	for _, file := range files(t) {
		if key.MatchString(read(t, file)) {
			t.Errorf("%s holds a private key: keys are made at run time, even for tests; every clone would hold them", file)
		}
	}
}

var (
	link    = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+\s+(.+?)\s*$`)
	fenced  = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
)

func TestLinksInDocumentsLeadSomewhere(t *testing.T) {
	for _, file := range files(t) {
		if path.Ext(file) != ".md" {
			continue
		}
		for _, found := range link.FindAllStringSubmatch(fenced.ReplaceAllString(read(t, file), ""), -1) {
			if regexp.MustCompile(`^[a-z]+:`).MatchString(found[1]) {
				continue // elsewhere
			}
			name, anchor, _ := strings.Cut(found[1], "#")
			target := file
			if name != "" {
				target = path.Join(path.Dir(file), name)
			}
			if _, err := os.Stat(filepath.Join(root(t), target)); err != nil {
				t.Errorf("%s links to %s, which is not there: a page that points nowhere is worse than none", file, found[1])
			} else if anchor != "" && path.Ext(target) == ".md" && !slices.Contains(anchors(read(t, target)), anchor) {
				t.Errorf("%s links to %s, but %s has no heading %q", file, found[1], target, anchor)
			}
		}
	}
}

// anchors are the names by which the headings of a document can be linked to.
func anchors(document string) []string {
	var found []string
	for _, h := range heading.FindAllStringSubmatch(document, -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N}\- _]`).ReplaceAllString(strings.ToLower(h[1]), "")
		found = append(found, strings.ReplaceAll(name, " ", "-"))
	}
	return found
}

// required are the modules of go.mod with their versions.
func required(t *testing.T) map[string]string {
	t.Helper()
	file, err := modfile.Parse("go.mod", []byte(read(t, "go.mod")), nil)
	require.NoError(t, err)
	require.Equal(t, module, file.Module.Mod.Path)
	require.Empty(t, file.Replace, "a replaced module is not what go.sum's public log vouches for")
	found := map[string]string{}
	for _, r := range file.Require {
		found[r.Mod.Path] = r.Mod.Version
	}
	return found
}

// owning is the module that holds a package.
func owning(modules map[string]string, pkg string) string {
	best := ""
	for name := range modules {
		if within(name, pkg) && len(name) > len(best) {
			best = name
		}
	}
	return best
}

func TestDependenciesAreNotOlderThanTheirKnownDefects(t *testing.T) {
	for name, version := range required(t) {
		if floor := floors[name]; floor != "" && semver.Compare(version, floor) < 0 {
			t.Errorf("%s %s is older than %s, below which there are known defects", name, version, floor)
		}
	}
	const oldest = "v1.26.6"
	if version := strings.Replace(strings.Fields(runtime.Version())[0], "go", "v", 1); semver.IsValid(version) && semver.Compare(version, oldest) < 0 {
		t.Errorf("Go %s is older than %s, below which there are known defects in crypto/tls and net/http", version, oldest)
	}
}

func TestEachDependencyHasItsReason(t *testing.T) {
	reasons := read(t, "docs/dependencies.md")
	modules := required(t)
	_, all := sources(t)
	for _, s := range all {
		for _, name := range imports(s) {
			if !strings.Contains(strings.Split(name, "/")[0], ".") || within(module, name) {
				continue
			}
			if owner := owning(modules, name); owner == "" || !strings.Contains(reasons, "`"+owner+"`") {
				t.Errorf("%s imports %s, but docs/dependencies.md has no line for its module %q: say why it is worth its keep, and where it is hidden",
					s.file, name, owner)
			}
		}
	}
}
