package audit_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/uuid"
)

// exampleKey is the key of the examples' logs. A real one is random.
var exampleKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))

// exampleEntry is the n-th entry of the examples' logs.
func exampleEntry(n byte) audit.Entry {
	resource := fmt.Sprintf("pay-%d", n)
	return audit.Entry{
		ID: uuid.UUID{15: n}, At: audit.At(time.Date(2026, 11, 21, 12, 0, int(n), 0, time.UTC)), XID: 700 + int64(n), Kind: "change", ResourceID: &resource,
		Facts: `{"status":"ACSC"}`,
	}
}

// An entry becomes a record, the record a leaf, and the leaves a tree with one root.
func ExampleRange() {
	var tree audit.Range
	for n := range byte(2) {
		entry := exampleEntry(n)
		record := entry.AppendRecord(nil, int64(n))
		fmt.Printf("%s\n", record)
		tree.Append(audit.Leaf(record), nil)
	}
	fmt.Println(tree.Size(), tree.Root())
	// Output:
	// {"v":1,"seq":0,"id":"00000000-0000-0000-0000-000000000000","at":"2026-11-21T12:00:00.000000Z","xid":700,"kind":"change","resourceId":"pay-0","facts":{"status":"ACSC"}}
	// {"v":1,"seq":1,"id":"00000000-0000-0000-0000-000000000001","at":"2026-11-21T12:00:01.000000Z","xid":701,"kind":"change","resourceId":"pay-1","facts":{"status":"ACSC"}}
	// 2 JBu1v7Rkb/V7v3Qmpbce26sIh1GREF8qCejmRWSGlYI=
}

// The head of the log is signed. A checkpoint that somebody changed does not open.
func ExampleSigner_Sign() {
	var tree audit.Range
	entry := exampleEntry(0)
	tree.Append(audit.Leaf(entry.AppendRecord(nil, 0)), nil)
	signer := audit.NewSigner(exampleKey)
	signed, err := signer.Sign(audit.Checkpoint{Size: tree.Size(), Root: tree.Root(), At: entry.At})
	if err != nil {
		fmt.Println(err)
		return
	}
	opened, err := audit.OpenCheckpoint(signed, signer.Public())
	fmt.Println(opened.Size, opened.Root == tree.Root(), err)
	_, err = audit.OpenCheckpoint([]byte(strings.Replace(string(signed), "\n1\n", "\n2\n", 1)), signer.Public())
	fmt.Println("changed:", err)
	// Output:
	// 1 true <nil>
	// changed: the checkpoint: invalid signature for key arauto/34750f98bd59fcfc+d874b3b7
}

// A bundle holds entries and checkpoints. A stranger verifies it with the log's public key alone.
func ExampleVerifyBundle() {
	signer := audit.NewSigner(exampleKey)
	bundle := func(second string) []byte { // the resource of its second entry, as somebody writes it after it was sealed
		var tree audit.Range
		var lines [][]byte
		for n := range byte(3) {
			entry := exampleEntry(n)
			record := entry.AppendRecord(nil, int64(n))
			leaf := audit.Leaf(record)
			tree.Append(leaf, nil)
			lines = append(lines, audit.AppendLine(nil, bytes.Replace(record, []byte("pay-1"), []byte(second), 1), leaf))
		}
		head := audit.Checkpoint{Size: tree.Size(), Root: tree.Root(), At: exampleEntry(3).At}
		signed, err := signer.Sign(head)
		if err != nil {
			return nil
		}
		var out bytes.Buffer
		writer := audit.NewBundle(&out, signer.Public(), head, nil, "example")
		for _, line := range lines {
			if writer.Entry(line) != nil {
				return nil
			}
		}
		if writer.Close([][]byte{signed}) != nil {
			return nil
		}
		return out.Bytes()
	}
	for _, second := range []string{"pay-1", "pay-9"} {
		file := bundle(second)
		verdict, err := audit.VerifyBundle(bytes.NewReader(file), int64(len(file)), signer.Public(), nil)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(verdict)
	}
	// Output:
	// ok 3 Q4Ck1tVfYs6dVWNZEWtA5Z5ZDp3G4ToFDrzC+k/YhXk=
	// BAD seq=1 the entry is not what was signed at 2026-11-21T12:00:03.000000Z
}
