// Package console is the pages for operators and compliance, on a listener of their own. It signs people in (OpenID Connect, or a
// one-time link in development), keeps their sessions, and serves the table of pages (pages.go).
//
// It guarantees that a page is shown to a person with a session and one of the page's roles alone; that a session ends after 30
// minutes without use, after 8 hours, and at once at every replica when the person signs out; that nothing another web page sends is
// acted on; and that a browser loads nothing but this binary's own files and runs no script of a page.
//
// It has no rule and no figures of its own. Its pages call the internal API in this process (page.API), with the person's identity
// and roles: what is recorded, allowed and limited is what the API records, allows and limits.
//
// # How to add a page
//
// Make a folder below this one, named for what the page answers, with three files:
//
//   - words.json has the texts, {"key": ["em português", "in English"]}. "nav" is the link in the navigation.
//   - page.html defines a template for each page: {{define "list"}}<h1>{{t "title"}}</h1> … {{end}}. It is executed with .Data (what
//     the handler hands over) and .Visit, and shown inside the layout. Functions: t, tn (a text for a number, with its singular), word,
//     path, n, pct, ms, micros, size, clock, at, ago, day, iso, or, dict (page/form.go); templates: "tag", "empty", "dates" (how fields
//     for dates are read). No style attribute, no inline script: the policy forbids both. A form on a page that refreshes itself stands
//     in a template of its own (View.Above).
//   - a Go file with func Section() page.Section: name, group and roles, the embedded files, and the routes with their handlers. A
//     handler reads with v.API.Get, acts with v.API.Do, and ends with v.Show, v.Done (after an act), v.Redirect or v.API.Hand (a file).
//     An error of the API is returned as it is: it becomes a clear page.
//
// Then add one row to sections in pages.go (its place is the place in the navigation), one to each of packages and
// consolePages in internal/rules_test.go, and one to the browser's walk (stops in internal/lab/browser/walk_test.go), which opens the page in both languages, narrow, dark, printed
// and without JavaScript, and lets axe judge it. What a page shows and the API lacks, the API gets first.
package console
