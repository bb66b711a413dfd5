// Package audit is the proof of the history: what an entry's bytes are, how entries become a Merkle tree, how the tree's
// head is signed, and how somebody who trusts neither us nor the database checks all of it.
//
// An entry is written as one line of JSON, its record (Entry.AppendRecord); every column of the entry is in it. Records
// are the leaves of the tree of RFC 6962, in the order of their sequence numbers, which start at 0 and have no gaps. The
// head of the tree is signed now and then: a checkpoint, a signed note in the format other transparency logs use. With
// one old checkpoint an auditor can tell whether anything before it was changed, removed, swapped or put in.
//
//	columns of an entry ──AppendRecord──▶ record ──RFC 6962──▶ leaf ──Range──▶ root ──Signer──▶ checkpoint ──▶ anchors
//
// A Verifier walks the same way again and compares. Nothing here reads a clock or touches a database or a network; the
// formats are written down in docs/audit-format.md, so that a second implementation can be made from that page alone.
package audit
