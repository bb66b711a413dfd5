// Package mtls holds our identity and the authorities that we trust. It makes every *tls.Config of the product.
//
// An Identity is our certificate with its chain and key, read from files; Anchors are the authorities we believe.
// Both can be read again while connections run: Watch polls the content of their files, a good new set takes effect
// for the next handshake, a broken one is refused and the old one kept. ServerConfig, InternalServerConfig and
// ClientConfig join them into the TLS profile of Open Finance Brasil (security §3): TLS 1.2 with two suites and
// TLS 1.3, RSA only, no resumption, no renegotiation, HTTP/1.1. CallerOf reads from a client certificate who is
// asking. Revocation says whether a certificate that verifies was taken back since (webhook §7.4). Listen finishes
// handshakes before an HTTP server sees the connection, so that a refused one is reported with its reason.
//
// What holds:
//
//   - No configuration made here skips verification or resumes a session, and there is no parameter that could make
//     it so. The system's trust store is used by PublicConfig alone, which shows no certificate and serves public
//     documents only.
//   - A certificate is believed only if it ends at our anchors now, says its purpose, has an RSA key of at least
//     2048 bits, and passes the checks handed in; this is judged before one byte of the application flows.
//   - A set of files that is incomplete, does not match or has expired never replaces one that works.
//
// What is left to others: which organisation may ask for what (api), which address may be dialled (webhook), and
// what to do about an alarm. Package mtls logs nothing; it reports to functions handed in.
package mtls
