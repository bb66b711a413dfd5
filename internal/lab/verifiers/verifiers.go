// Package verifiers runs the two verifiers of the log that share no code with the product, many files in one process: docs/verify.py, and
// docs/verifier/verify.html in a real Chromium. Tests hold what they say against what the product says.
package verifiers

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/docs/verifier"
)

// Edit replaces a stretch of a file.
type Edit struct {
	At   int    `json:"at"`
	Gone int    `json:"gone"`
	New  []byte `json:"new"`
}

// File is a file to judge: one of the originals, changed.
type File struct {
	Of    int    `json:"of"` // which original
	Edits []Edit `json:"edits"`
}

// Original is a file and what is given with it.
type Original struct {
	Bytes   []byte `json:"bytes"`
	Anchors []byte `json:"anchors"` // nil: none
	Policy  string `json:"policy"`  // empty: none
}

// Apply makes a changed file.
func Apply(original []byte, edits []Edit) []byte {
	out := bytes.Clone(original)
	for _, e := range edits {
		out = slices.Replace(out, e.At, e.At+e.Gone, e.New...)
	}
	return out
}

// Verifier judges files with the log's public key, PEM. It returns for each the line that the verifier prints; empty when the file cannot be
// judged.
type Verifier func(t testing.TB, key []byte, originals []Original, files []File) []string

//go:embed many.py
var manyPython string

// Python is docs/verify.py. Without a python3 the test is skipped.
func Python(t testing.TB) Verifier {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3")
	}
	return func(t testing.TB, key []byte, originals []Original, files []File) (lines []string) {
		t.Helper()
		dir := t.TempDir()
		job, err := json.Marshal(map[string]any{"originals": originals, "files": files})
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "key.pem"), key, 0o600))
		cmd := exec.CommandContext(t.Context(), python, "-c", manyPython, filepath.Join(root(), "docs/verify.py"), dir) //nolint:gosec // the verifier of this tree
		cmd.Stdin = bytes.NewReader(job)
		var problems strings.Builder
		cmd.Stderr = &problems
		out, err := cmd.Output()
		require.NoError(t, err, problems.String())
		require.NoError(t, json.Unmarshal(out, &lines))
		return lines
	}
}

// Ran is what a process of docs/verify.py wrote, and its exit code; -1 when a signal ended it.
type Ran struct {
	Out      []byte `json:"out"`
	Problems []byte `json:"problems"` // standard error
	Code     int    `json:"code"`
}

//go:embed forks.py
var forkPython string

// Script runs docs/verify.py with arguments, each time in a process of its own; one call at a time. Python starts only once, which takes
// longer than most files do. Without a python3 the test is skipped.
func Script(t testing.TB) func(t testing.TB, arguments ...string) Ran {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3")
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), python, "-c", forkPython, filepath.Join(root(), "docs/verify.py")) //nolint:gosec // the verifier of this tree
	var problems strings.Builder
	cmd.Stderr = &problems
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		require.NoError(t, cmd.Wait(), problems.String())
	})
	calls, answers := json.NewEncoder(in), json.NewDecoder(out)
	return func(t testing.TB, arguments ...string) (ran Ran) {
		t.Helper()
		require.NoError(t, calls.Encode(arguments))
		require.NoError(t, answers.Decode(&ran))
		return ran
	}
}

// root is the top of the repository.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
}

// many judges files on the page.
const many = `(async (key, originals, files) => {
	const bytes = text => text === null ? null : unb64(text), out = [];
	for (const o of originals) { o.bytes = bytes(o.bytes); o.anchors = bytes(o.anchors); }
	for (const f of files) {
		const o = originals[f.of];
		let b = o.bytes;
		for (const e of f.edits ?? []) b = join(b.subarray(0, e.at), bytes(e.new) ?? new Uint8Array(), b.subarray(e.at + e.gone));
		const v = await verify(b.slice(), {key, anchors: o.anchors ? [o.anchors] : [], policy: o.policy});
		out.push(v.line);
	}
	return out;
})`

// Browser is docs/verifier/verify.html, opened as a file. Without a Chromium the test is skipped, unless ARAUTO_REQUIRE_BROWSER=1.
func Browser(t testing.TB) Verifier {
	t.Helper()
	page := filepath.Join(t.TempDir(), "verify.html")
	require.NoError(t, os.WriteFile(page, verifier.Page, 0o600))
	ctx := window(t)
	_, err := chromedp.RunResponse(ctx, chromedp.Navigate("file://"+page))
	require.NoError(t, err)
	return func(t testing.TB, key []byte, originals []Original, files []File) []string {
		t.Helper()
		arguments, err := json.Marshal([]any{string(key), originals, files})
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
		defer cancel()
		lines, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](many+"(..."+string(arguments)+")", chromedp.EvalAwaitPromise))
		require.NoError(t, err)
		return lines
	}
}

// shared is the Chromium of a process whose TestMain called Main.
var shared struct {
	on   bool
	open func() (context.Context, context.CancelFunc) // a window; nil before the first
	stop func()
}

// Main runs tests that share one Chromium, and returns the exit code: to start one takes a second of processor time. Each Verifier has a window
// to itself. Tests that ask for one must not run side by side.
func Main(m *testing.M) int {
	shared.on = true
	defer func() {
		if shared.stop != nil {
			shared.stop()
		}
	}()
	return m.Run()
}

// window opens a window in the shared Chromium, or in one of the test's own.
func window(t testing.TB) context.Context {
	t.Helper()
	if !shared.on {
		return Start(t)
	}
	if shared.open == nil {
		browser, stop := start(t, context.WithoutCancel(t.Context()))
		shared.open = func() (context.Context, context.CancelFunc) { return chromedp.NewContext(browser) }
		shared.stop = stop
	}
	ctx, end := shared.open()
	t.Cleanup(end)
	require.NoError(t, chromedp.Do(ctx))
	return ctx
}

// Start starts a Chromium and opens a window. Without one the test is skipped, unless ARAUTO_REQUIRE_BROWSER=1.
func Start(t testing.TB) context.Context {
	t.Helper()
	ctx, stop := start(t, context.WithoutCancel(t.Context()))
	t.Cleanup(stop)
	return ctx
}

func start(t testing.TB, parent context.Context) (ctx context.Context, stop func()) {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)), chromedp.Flag("lang", "pt-BR"), chromedp.WindowSize(1320, 900),
		chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-software-rasterizer", true)) // to emulate a graphics card takes a sixth more of the processor
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	all, release := chromedp.NewExecAllocator(parent, options...)
	ctx, end := chromedp.NewContext(all)
	stop = func() { end(); release() }
	if err := chromedp.Do(ctx); err != nil {
		stop()
		t.Fatal("start Chromium: ", err)
	}
	return ctx, stop
}

// chromium finds the browser's program.
func chromium(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("ARAUTO_REQUIRE_BROWSER") == "1" {
		t.Fatal("there is no Chromium, and ARAUTO_REQUIRE_BROWSER=1")
	}
	t.Skip("there is no Chromium")
	return ""
}
