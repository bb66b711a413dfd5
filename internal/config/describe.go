package config

import (
	"cmp"
	"fmt"
	"strings"
)

// description says what a setting is for.
type description struct {
	about    string // what it is for, its range and its condition, in sentences
	form     string // what the text is, such as "a file"; empty: what wanted says of the type
	standard string // the default in words, where Standard has no value
	required bool   // serve cannot start without it
	secret   bool   // its value may be or hold a secret: see mask
}

// The forms of texts.
const (
	address = "host:port"
	file    = "a file"
	keys    = "a file or an https URL"
	keyFile = "a file of mode 0600 or 0400"
	secure  = "an https URL"
)

// descriptions has one entry for each setting, by key. It is the only text about settings: `arauto help settings` and
// docs/settings.md are made of it.
var descriptions = map[string]description{
	"profile":   {about: "`production` refuses every shortcut of development; the other value is `development`, which refuses a [database of production](operations/running.md#database)."},
	"state_dir": {about: "What a replica keeps on disk: the spool of polls, checkpoints, and in development the key of the log. Replicas on one machine may share it.", form: "a folder"},
	"replica":   {about: "The name of this replica in the log and in the sessions of the database. Set one that stays, so that each start is compared with the one before.", standard: "the host name and the process id"},

	"database.url":           {about: "`postgres://user@host:5432/database`. It may hold a password, which is masked in every output; `database.password_file` is the better place.", form: "a URL", required: true, secret: true},
	"database.password_file": {about: "The password, read at each new session, so that a password that rotates needs no restart. Without it, the `passfile` of the URL or of `PGPASSFILE` is read in the same way.", form: file},

	"public.addr":                   {about: "The mTLS listener for initiators.", form: address},
	"public.base_url":               {about: "The beginning of `links.self`: `https://` and a host, without a path.", form: secure, required: true},
	"public.tls_cert":               {about: "The server certificate with its intermediates, PEM.", form: file, required: true},
	"public.tls_key":                {about: "The RSA key of that certificate.", form: keyFile, required: true},
	"public.client_ca":              {about: "The authorities that issue the certificates of initiators, and nothing above them, PEM.", form: file, required: true},
	"public.max_rate":               {about: "Status queries a second, all clients together; at least 300. One client may use half. Organisations that ask at the same time have equal shares of it; an organisation within its share is served even when the others have used up the rest."},
	"public.handshakes_per_address": {about: "Unfinished handshakes that one source address may have, 1 to 8192; 0: half of all. Beyond it the oldest of that address makes room. All initiators have the address of a balancer that passes their TLS through: raise it there, or name the balancer in `public.proxy_protocol`."},
	"public.validate_outgoing":      {about: "Check every status answer against our own API documents before it is signed. An answer that does not fit becomes a 500."},
	"public.crl":                    {about: "Revocation lists about the certificates of initiators: files, or http(s) URLs."},
	"public.crl_ttl":                {about: "How long a list serves after its source last offered it; 5m to 168h."},
	"public.crl_refresh":            {about: "How often URLs of lists are fetched; 1m to 24h."},
	"public.ocsp":                   {about: "Ask OCSP responders about initiators first; the lists are the fallback."},
	"public.ocsp_responder":         {about: "Ask this responder, instead of the one that a certificate names.", form: "a URL"},
	"public.ocsp_ttl":               {about: "How long an answer of a responder serves; 1m to 24h."},
	"public.soft_fail":              {about: "How long evidence serves after its end when nothing newer can be had; 1h to 24h."},
	"public.proxy_ca":               {about: "The authorities of the bank's own proxy, which ends the TLS of initiators before us. Without it there is no such proxy, and no header says anything about certificates.", form: file},
	"public.proxy_fingerprints":     {about: "SHA-256 of the certificates of that proxy. `public.proxy_ca` requires this or `public.proxy_subject_org`."},
	"public.proxy_subject_org":      {about: "`O` of the subject of that proxy's certificate."},
	"public.proxy_preset":           {about: "What kind of proxy it is, which decides header and form: `aws-alb`, `envoy`, `haproxy`, `nginx`, `rfc9440`, `traefik` ([forms](operations/running.md#a-proxy-of-the-banks-that-ends-tls)). Without it the form is that of RFC 9440, or PEM with percent escapes."},
	"public.proxy_header":           {about: "The header in which that proxy passes the initiator's certificate, where it is not the usual one.", standard: "the header of the preset, else `Client-Cert`"},
	"public.proxy_protocol":         {about: "CIDRs of balancers that leave TLS alone and begin each connection with the PROXY protocol, version 2. The source address is then the one that they name; a connection from there without it is refused. From other addresses it is not read."},

	"internal.addr":     {about: "The listener for the bank's own systems and people.", form: address},
	"internal.tls_cert": {about: "The certificate of that listener. Without it the listener speaks plain HTTP, on loopback only.", form: file},
	"internal.tls_key":  {about: "The key of that certificate. Set both or neither.", form: keyFile},
	"internal.jwks":     {about: "The keys that sign the bank's own bearer tokens.", form: keys, required: true},
	"internal.issuer":   {about: "`iss` of those tokens.", required: true},
	"internal.audience": {about: "`aud` of those tokens.", required: true},

	"ops.addr": {about: "The listener of `/healthz`, `/readyz` and `/metrics`: plain HTTP, no token.", form: address},

	"console.addr":                    {about: "The listener of the [console](console.md): pages for operators and compliance. Without it there is no console.", form: address},
	"console.base_url":                {about: "The address of the console as browsers see it: `https://` and a host, or `http://` and a loopback address, without a path. Required in production, and for OpenID Connect.", form: "a URL"},
	"console.tls_cert":                {about: "The certificate of that listener. Without it the listener speaks plain HTTP, on loopback only.", form: file},
	"console.tls_key":                 {about: "The key of that certificate. Set both or neither.", form: keyFile},
	"console.oidc.issuer":             {about: "The bank's OpenID provider, which signs people in. Required in production. In development people sign in by a one-time link instead.", form: "an https URL, or http on loopback"},
	"console.oidc.client_id":          {about: "The console's client at that provider. Its redirect address is `/sign-in/callback` below `console.base_url`."},
	"console.oidc.client_secret_file": {about: "The secret of that client, read at each sign-in, so that a secret that rotates needs no restart. A public client has none.", form: keyFile},
	"console.oidc.scopes":             {about: "The scopes that are asked for at a sign-in. Add what makes the provider give a refresh token, `offline_access` at many: by it the console asks once a minute whether the person still has their roles."},
	"console.oidc.roles_claim":        {about: "The claim of the ID token that lists a person's roles: `operator`, `auditor`, `registrar`. Other values of it mean nothing."},
	"console.oidc.acr_values":         {about: "The ways of strong sign-in that are asked for, the best first. A person whose ID token names another `acr` is refused. Without values, none is asked for."},
	"console.four_eyes":               {about: "The acts that wait until a second person approves them: `resend`, `quarantine`, `hold`, `registration`, `source`; `none` alone: no act waits.", standard: "`resend` and `hold` in production, none in development"},

	"holder.organisation_id":         {about: "Our organisation: `iss` of signed answers.", required: true},
	"holder.legal_name":              {about: "Our legal name, as dossiers and reports on paper say it."},
	"holder.authorisation_server_id": {about: "The value of the header of enrolment notifications that names our authorisation server.", required: true},

	"signing.key":       {about: "The BRSEAL key that signs answers with PS256.", form: keyFile, required: true},
	"signing.kid":       {about: "Its `kid` in our published key set.", required: true},
	"signing.next_key":  {about: "The next key, for a rollover. It signs as soon as `signing.published` has it; without that setting it signs at once.", form: keyFile},
	"signing.next_kid":  {about: "The `kid` of the next key. Set both or neither."},
	"signing.signer":    {about: "The Unix socket of a [signer](operations/signer.md) that has the BRSEAL key, so that the key is in no file of ours. A file of `signing.key` or `signing.next_key` that holds a public key or a certificate is then the public half of a key there.", form: "a Unix socket"},
	"signing.published": {about: "Our own key set in the Directory. No answer is signed with a key that is not in it.", form: keys},

	"tokens.issuer":            {about: "`iss` of the access tokens of initiators; required with `tokens.jwks`."},
	"tokens.audience":          {about: "`aud` of those tokens; required with `tokens.jwks`."},
	"tokens.jwks":              {about: "The keys of the authorization server. This or `tokens.introspection_url` is required.", form: keys},
	"tokens.grant":             {about: "How we know that a token was issued for `client_credentials`: `claim` (`tokens.grant_claim` says it), `subject` (`sub` equals `client_id`), `introspection` (the answer of `tokens.introspection_url` says it, in addition to the signature with `tokens.jwks`), `unchecked` (development only). [Which server needs which](operations/tokens.md)."},
	"tokens.grant_claim":       {about: "The claim that must say `client_credentials`."},
	"tokens.introspection_url": {about: "The alternative to `tokens.jwks`: RFC 7662 over mTLS with our BRCAC.", form: secure},
	"tokens.introspection_ca":  {about: "The authorities of the certificate of that endpoint.", form: file, standard: "`webhook.root_ca`"},

	"directory.jwks":   {about: "The keys that sign software statements. Required in production.", form: keys},
	"directory.issuer": {about: "`iss` of statements. Compared only if set."},

	"webhook.tls_cert":       {about: "Our BRCAC with its intermediates, PEM; receivers see it.", form: file, required: true},
	"webhook.tls_key":        {about: "The key of that certificate.", form: keyFile, required: true},
	"webhook.root_ca":        {about: "The roots that we trust as authorities of receivers, PEM.", form: file, required: true},
	"webhook.allow_networks": {about: "CIDRs outside the public internet that may be registered and dialled. Development only."},
	"webhook.allow_ports":    {about: "The ports that addresses may name and that are dialled."},
	"webhook.timeout":        {about: "One whole attempt, from DNS to the final headers; 1s to 15s. Less than 15s in development only."},
	"webhook.resolver":       {about: "The only DNS server that is asked about receivers. Development only.", form: address, standard: "the resolvers of the system"},
	"webhook.as_headers":     {about: "The headers of enrolment notifications that carry the server id; both spellings by default."},
	"webhook.crl":            {about: "Revocation lists about the certificates of receivers: files, or http(s) URLs."},
	"webhook.crl_ttl":        {about: "As `public.crl_ttl`, about receivers."},
	"webhook.crl_refresh":    {about: "As `public.crl_refresh`, about receivers."},
	"webhook.ocsp":           {about: "As `public.ocsp`, about receivers."},
	"webhook.ocsp_responder": {about: "As `public.ocsp_responder`, about receivers.", form: "a URL"},
	"webhook.ocsp_ttl":       {about: "As `public.ocsp_ttl`, about receivers. Connections to receivers are renewed as often."},
	"webhook.soft_fail":      {about: "As `public.soft_fail`, about receivers."},

	"dispatch.lease": {about: "How long a claimed attempt belongs to a replica: more than `webhook.timeout`, at most 10m. Less than 20s in development only."},
	"dispatch.slots": {about: "Attempts under way at once, 1 to 4096; 0: as many as open files and memory allow."},

	"ingest.max_in_flight": {about: "Uncommitted changes held, 1 to 65536. Beyond it calls get 503 and streams wait. One client holds at most as many as are left to the others, one resource 64."},

	"announce.direct_authorised": {about: "The kinds whose direct AUTHORISED is announced: `payment-consent`, `recurring-consent`."},

	"watch.sources":   {about: "Mapping files of databases and buses that are followed, one for each source ([watching](watching.md))."},
	"watch.readiness": {about: "The lag of a source from which `/readyz` says no, 1s or more; 0: never."},

	"timers.enabled": {about: "The kinds whose deadlines we fire. Set to nothing: none."},

	"schema.unknown_members": {about: "Members of `data` that the schema does not know: `reject` or `keep`."},
	"schema.nonconforming": {
		about:    "A change whose document breaks its schema in a member other than its id and `status`: `tell` stores and announces it, and lists it as non-conforming; `refuse` answers 422, or puts the row of a source into quarantine ([which members](watching.md#documents-that-do-not-conform)).",
		standard: "`tell` in production, `refuse` in development",
	},
	"schema.versions": {
		about:    "The minor versions of the APIs that the holder serves, such as `automatic-payments/2.0.0,enrollments/2.2.0` ([minor versions](minor-versions.md)). Changes are judged against them, and answers have exactly their members.",
		standard: "`payments/4.0.1` and `payments/4.1.0` together, `payments/5.0.0`, `automatic-payments/2.2.0`, `enrollments/2.3.0`",
	},

	"resend.enabled": {about: "Operators may ask for one more POST, beyond the three of the rule."},

	"extension.enabled":     {about: "Offer initiators more than the rules ask for, on the public listener: what they missed, and proof of each attempt ([the extension](extension.md))."},
	"extension.max_waiting": {about: "Long polls of initiators that may wait at once, 1 to 65536. One client may have an eighth of them."},
	"extension.redelivery":  {about: "Initiators may ask for one more POST of what they did not get, beyond the three of the rule."},

	"reconcile.enabled": {about: "Verify every day whether the history is complete, and list the day's status queries ([complete](operations/reconcile.md))."},
	"reconcile.at":      {about: "When, in hours and minutes of Brasília's time.", form: "hh:mm"},

	"history.keep_years": {about: "5 to 50. Whole months older than this may be dropped once they are proven and anchored."},

	"history.erase_documents_days": {about: "Days in a final state after which the document of a resource is erased, 30 to 36525; 0: never. A status query about it then gets 404, while the rules want a CONSUMED consent readable indefinitely. See [privacy](operations/privacy.md)."},

	"log.key":                       {about: "The Ed25519 key that signs the checkpoints of the log. Required in production. In development the first replica makes one in `state_dir`.", form: keyFile},
	"log.agent":                     {about: "The Unix socket of an SSH agent that has the log's key, so that the key is in no file of ours. `log.key` then names its public half.", form: "a Unix socket"},
	"log.signer":                    {about: "The Unix socket of a [signer](operations/signer.md) that has the log's key. `log.key` then names its public half. Set this or `log.agent`.", form: "a Unix socket"},
	"log.anchor_file":               {about: "Checkpoints are added to it. Put it on storage that cannot be written twice.", form: file, standard: "`checkpoints.txt` in `state_dir`"},
	"log.anchor_url":                {about: "Checkpoints are also posted to it. Every output shows its scheme and host alone.", form: secure, secret: true},
	"log.verify_every":              {about: "How often what is new in the log is [verified](operations/log.md#verification-by-itself), 1m to 24h; the whole log once a week."},
	"log.anchor_s3.endpoint":        {about: "An S3-compatible store with Object Lock that also keeps checkpoints, [as the page of the log says](operations/log.md).", form: secure},
	"log.anchor_s3.ca":              {about: "The authority of the store's certificate, PEM.", form: file, standard: "the authorities of the system"},
	"log.anchor_s3.region":          {about: "The region of the store."},
	"log.anchor_s3.bucket":          {about: "The bucket, with Object Lock."},
	"log.anchor_s3.prefix":          {about: "The first part of the names of objects; another one for each log."},
	"log.anchor_s3.access_key_id":   {about: "The account that writes there."},
	"log.anchor_s3.secret_key_file": {about: "The secret access key of that account.", form: keyFile},
	"log.anchor_s3.mode":            {about: "`COMPLIANCE` (nobody can lift the lock) or `GOVERNANCE`."},
	"log.anchor_s3.retain_days":     {about: "How long objects are locked, in days; in production at least the default."},
	"log.witnesses":                 {about: "A policy that names [witnesses](operations/witness.md) with their keys and addresses, and which of them must vouch for checkpoints.", form: file},
	"log.witness_ca":                {about: "The authority of the witnesses' certificates, PEM.", form: file, standard: "the authorities of the system"},
	"log.tiles":                     {about: "A folder to which the hashes of the log are published as [tiles](operations/mirror.md), for a web server. Each replica with the key of the log writes its own.", form: "a folder"},
	"log.tiles_s3":                  {about: "Publish the tiles also to the store of `log.anchor_s3.endpoint`, below `PREFIX/tiles`."},

	"events.language":           {about: "The language of [messages to operators](operations/events.md): `pt` or `en`."},
	"events.slack_url_file":     {about: "The file with the URL of an incoming webhook in Slack's form; who has the URL can write there.", form: keyFile},
	"events.webhook_url":        {about: "The URL to which messages are posted as plain JSON. Every output shows its scheme and host alone.", form: secure, secret: true},
	"events.webhook_token_file": {about: "The file with the bearer token of that URL.", form: keyFile},
	"events.ca":                 {about: "The authority of the certificates of both webhooks, PEM.", form: file, standard: "the authorities of the system"},
	"events.smtp.addr":          {about: "The mail server that takes messages. Without it there is no e-mail.", form: address},
	"events.smtp.tls":           {about: "`starttls` or `tls`. There is no e-mail without TLS."},
	"events.smtp.ca":            {about: "The authority of the mail server's certificate, PEM.", form: file, standard: "the authorities of the system"},
	"events.smtp.username":      {about: "The account at the mail server."},
	"events.smtp.password_file": {about: "The file with the password of that account. Set both or neither.", form: keyFile},
	"events.smtp.from":          {about: "The address that messages come from."},
	"events.smtp.to":            {about: "The addresses that get the messages."},
}

// preface is what the page says before the settings.
const preface = `# Settings

For operators: every setting of ` + "`arauto serve`, with its environment variable, what it takes, its default and its purpose." + `
` + "`arauto help settings`" + ` prints this page. ` + "`arauto check --config FILE`" + ` prints the values in force, each with its origin.

- Settings are read from the YAML file that ` + "`--config`" + ` names; the environment overrides it. Unknown and repeated keys are errors, and so are
  variables that begin with ` + "`ARAUTO_`" + ` and are no setting, and a second document in the file.
- A variable set to nothing counts as not set, except ` + "`" + timersVariable + "`" + `. White space around its value does not count.
- Lists are YAML lists, or comma-separated, in the file as in the environment. Durations have units, such as ` + "`15s`" + `.
- Secrets are named by file, never by value. What a URL may hold of them is masked in every output: the password in ` + "`database.url`" + `; of
  ` + "`log.anchor_url` and `events.webhook_url`" + ` everything but scheme and host; of any other URL the user and the query.
- A value that begins with ` + "`https://`" + ` is a URL in every setting that names a key set.
- ` + "`arauto serve`" + ` cannot start without the required settings; ` + "`arauto migrate` needs `database.url`" + ` only.
- The gaps of 10 s and 60 s, the limit of three attempts and the 1.5 s are constants in every profile.
`

// Page is the description of every setting, as Markdown: docs/settings.md.
func Page() string {
	var b strings.Builder
	b.WriteString(preface)
	group := ""
	for _, s := range Standard().settings() {
		d := descriptions[s.key]
		name, _, nested := strings.Cut(s.key, ".")
		if !nested {
			name = "the whole"
		}
		if name != group {
			group = name
			fmt.Fprintf(&b, "\n## %s\n\n", strings.ToUpper(group[:1])+group[1:])
		}
		need := "required"
		if standard := s.text(); !d.required {
			if standard != "" {
				standard = "`" + strings.NewReplacer("h0m0s", "h", "m0s", "m").Replace(standard) + "`"
			}
			need = "default: " + cmp.Or(d.standard, standard, "none")
		}
		form, _, _ := strings.Cut(cmp.Or(d.form, wanted(s.value)), " such as")
		fmt.Fprintf(&b, "- **`%s`** · `%s` · %s · %s  \n  %s\n", s.key, s.env, form, need, d.about)
	}
	b.WriteString(brandsPage)
	return b.String()
}
