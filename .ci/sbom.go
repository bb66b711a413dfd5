//go:build ignore

// Sbom writes down what a binary is made of: sbom.cdx.json (CycloneDX 1.6) and licences.txt (each module's licence in
// full). It reads the binary itself, so that what is listed is what is in it, and fails on a module whose licence it does
// not know: then somebody must look.
//
//	go run .ci/sbom.go BINARY FOLDER
package main

import (
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

type bom struct {
	Format     string      `json:"bomFormat"`
	Spec       string      `json:"specVersion"`
	Version    int         `json:"version"`
	Metadata   metadata    `json:"metadata"`
	Components []component `json:"components"`
}

type metadata struct {
	Timestamp string    `json:"timestamp"` // of the commit, so that two builds agree
	Component component `json:"component"`
}

type component struct {
	Type     string    `json:"type"`
	Name     string    `json:"name"`
	Version  string    `json:"version"`
	PURL     string    `json:"purl,omitempty"`
	Hashes   []hash    `json:"hashes,omitempty"`
	Licenses []licence `json:"licenses,omitempty"`
	Scope    string    `json:"scope,omitempty"`
}

type hash struct {
	Alg     string `json:"alg"`
	Content string `json:"content"`
}

type licence struct {
	License struct {
		ID string `json:"id"`
	} `json:"license"`
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: go run .ci/sbom.go BINARY FOLDER")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(binary, folder string) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(content)
	out := bom{Format: "CycloneDX", Spec: "1.6", Version: 1}
	out.Metadata.Timestamp = committed()
	out.Metadata.Component = component{
		Type: "application", Name: info.Main.Path, Version: stamped(info.Settings), Hashes: []hash{{"SHA-256", hex.EncodeToString(sum[:])}},
	}
	out.Components = append(out.Components, withLicence(component{
		Type: "library", Name: "std", Version: info.GoVersion, PURL: "pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go"), Scope: "required",
	}, "BSD-3-Clause"))
	var texts strings.Builder
	fmt.Fprintf(&texts, "Licences of what is in %s\n", filepath.Base(binary))
	var unknown []error
	slices.SortFunc(info.Deps, func(a, b *debug.Module) int { return cmp.Compare(a.Path, b.Path) })
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		name, text, err := licenceOf(m)
		if err != nil {
			unknown = append(unknown, err)
			continue
		}
		out.Components = append(out.Components, withLicence(component{
			Type: "library", Name: m.Path, Version: m.Version, PURL: "pkg:golang/" + m.Path + "@" + m.Version, Scope: "required",
		}, name))
		fmt.Fprintf(&texts, "\n%[1]s\n%[2]s %[3]s (%[4]s)\n%[1]s\n\n%[5]s\n", strings.Repeat("=", 80), m.Path, m.Version, name, text)
	}
	if len(unknown) > 0 {
		return errors.Join(unknown...)
	}
	document, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "sbom.cdx.json"), append(document, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "licences.txt"), []byte(texts.String()), 0o644)
}

func withLicence(c component, id string) component {
	var l licence
	l.License.ID = id
	c.Licenses = []licence{l}
	return c
}

// committed is the time of the commit that is built.
func committed() string {
	text, err := exec.Command("git", "show", "-s", "--format=%cI", "HEAD").Output()
	at, errParse := time.Parse(time.RFC3339, strings.TrimSpace(string(text)))
	if err != nil || errParse != nil {
		return "1970-01-01T00:00:00Z"
	}
	return at.UTC().Format(time.RFC3339)
}

var versionFlag = regexp.MustCompile(`main\.version=(\S+)`)

func stamped(settings []debug.BuildSetting) string {
	for _, s := range settings {
		if found := versionFlag.FindStringSubmatch(s.Value); s.Key == "-ldflags" && found != nil {
			return found[1]
		}
	}
	return cmp.Or(os.Getenv("VERSION"), "unversioned")
}

// phrases tell one licence from another; the first that is found names it.
var phrases = []struct{ id, phrase string }{
	{"Apache-2.0", "Apache License Version 2.0"},
	{"MPL-2.0", "Mozilla Public License Version 2.0"},
	{"MPL-2.0", "Mozilla Public License, version 2.0"},
	{"MIT", "Permission is hereby granted, free of charge, to any person obtaining a copy"},
	{"ISC", "Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted"},
	{"ISC", "Permission to use, copy, modify, and distribute this software for any purpose with or without fee is hereby granted"},
	{"BSD-3-Clause", "may be used to endorse or promote products derived from this software"},
	{"BSD-3-Clause", "endorse or promote products derived from this"},
	{"BSD-2-Clause", "Redistribution and use in source and binary forms"},
	{"0BSD", "Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee"},
	{"Unlicense", "This is free and unencumbered software released into the public domain"},
}

var files = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense)`)

func licenceOf(m *debug.Module) (id, text string, err error) {
	listed, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", m.Path+"@"+m.Version).Output()
	if err != nil {
		return "", "", fmt.Errorf("%s: where is it? %w", m.Path, err)
	}
	dir := strings.TrimSpace(string(listed))
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", m.Path, err)
	}
	for _, e := range entries {
		if e.IsDir() || !files.MatchString(e.Name()) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", "", err
		}
		flat := strings.Join(strings.Fields(string(content)), " ")
		for _, p := range phrases {
			if strings.Contains(flat, p.phrase) {
				return p.id, strings.TrimSpace(string(content)), nil
			}
		}
	}
	return "", "", fmt.Errorf("%s %s: no licence is known in %s; look, and add its phrase", m.Path, m.Version, dir)
}
