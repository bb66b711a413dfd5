package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/lab/sandbox"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/timing"
)

func sandboxCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "sandbox", Short: "run a whole holder on this machine, for initiators' developers", Args: cobra.NoArgs,
		Long: "Start a temporary PostgreSQL and PKI, the gateway with the extension, a token endpoint, and a stand-in core. The core accepts the\n" +
			"POSTs that create consents, payments and enrolments, signed or not, and plays what the cents of the amount say:\n\n",
	}
	f := c.Flags()
	r := &sandboxRun{out: w.stdout, notes: w.stderr, environ: w.environ}
	f.StringVar(&r.options.Webhook, "webhook", "https://localhost:8444", "the webhook address of the client alfa; empty: it has no push")
	f.IntVar(&r.options.Port, "port", 8440, "the port of POSTs; status endpoints have the next one; 0: free ports")
	f.StringVar(&r.options.SignedBy, "signed-by", "", "the JWKS of the keys that sign your requests; without it, their signatures are not verified")
	f.BoolVar(&r.options.Keep, "keep", false, "leave the folder with certificates, database and logs")
	f.BoolVar(&r.asJSON, "json", false, "print one JSON object a line")
	language := languageFlag(c, w)
	c.Long += sandbox.Table("en")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := oneOf("--lang", *language, "pt", "en"); err != nil {
			return err
		}
		if p := r.options.Port; p < 0 || p > 65534 {
			return wrongUse("--port: %d is out of range; use 0 to 65534", p)
		}
		r.language = *language
		if err := r.checkFlags(); err != nil {
			return err
		}
		return r.run(cmd)
	}
	return c
}

// checkFlags judges, before anything is started, what the sandbox would fail at in the end.
func (r *sandboxRun) checkFlags() error {
	if address := r.options.Webhook; address != "" {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.ContainsAny(address, "?#") || strings.HasSuffix(address, "/") {
			return wrongUse(sandboxWords[r.language]["webhook"], address)
		}
	}
	if file := r.options.SignedBy; file != "" {
		text, err := os.ReadFile(file)
		if err == nil {
			_, err = jws.ParseKeySet(text)
		}
		if err != nil {
			return wrongUse("--signed-by: %v", err)
		}
	}
	return nil
}

// languageFlag adds the flag of the language of messages. Without it the environment's is used: pt where LC_ALL, LC_MESSAGES or LANG begins so.
func languageFlag(c *cobra.Command, w world) *string {
	language := c.Flags().String("lang", usualLanguage(w), "language of messages, pt or en")
	helpInItsLanguage(c, func() string { return *language })
	return language
}

// usualLanguage is that of the environment.
func usualLanguage(w world) string {
	usual := "en"
	for _, name := range []string{"LANG=", "LC_MESSAGES=", "LC_ALL="} { // the last that is set counts
		for _, one := range w.environ {
			if value, is := strings.CutPrefix(one, name); is && value != "" {
				if usual = "en"; strings.HasPrefix(value, "pt") {
					usual = "pt"
				}
			}
		}
	}
	return usual
}

// known is the language, or English where it is no language of ours.
func known(language string) string {
	if language == "pt" {
		return language
	}
	return "en"
}

// runningSandbox finds the running sandbox; sandbox.ErrNotRunning, said in the language: there is none.
func runningSandbox(ctx context.Context, language string) (*sandbox.State, error) {
	found, err := sandbox.Running(ctx)
	if errors.Is(err, sandbox.ErrNotRunning) && language == "pt" {
		return nil, notRunning{}
	}
	return found, err
}

// notRunning is sandbox.ErrNotRunning in Portuguese.
type notRunning struct{}

func (notRunning) Error() string {
	return "nenhum sandbox está em execução; inicie um com: arauto sandbox"
}
func (notRunning) Is(target error) bool { return target == sandbox.ErrNotRunning }

// sandboxRun is one run of a sandbox.
type sandboxRun struct {
	out      io.Writer
	notes    io.Writer // what is wrong, also with --json
	environ  []string
	options  sandbox.Options
	asJSON   bool
	language string
	mu       sync.Mutex // of out
}

func (r *sandboxRun) run(cmd *cobra.Command) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	began := time.Now()
	r.options.Command = func(args ...string) *exec.Cmd { return unset(exec.Command(self, args...)) } //nolint:gosec,noctx // our own binary; the sandbox ends it
	r.options.Say = r.say
	words := sandboxWords[r.language]
	if _, settings := config.WithoutSettings(r.environ); len(settings) > 0 {
		fmt.Fprintf(r.notes, words["unused"]+"\n", strings.Join(settings, ", "))
	}
	s, err := sandbox.Open(cmd.Context(), r.options)
	if err != nil {
		return r.notOpened(err)
	}
	r.ready(&s.State, time.Since(began))
	part, log := s.AwaitEnd(cmd.Context())
	err = s.Close()
	if part == "" {
		return err
	}
	text := fmt.Sprintf(words["part-ended"], words["part-"+part])
	if r.options.Keep {
		text += fmt.Sprintf(words["its-log"], log)
	}
	r.print(map[string]any{"event": "stopped", "part": part}, "")
	fmt.Fprintln(r.notes, "arauto:", text)
	if err != nil {
		fmt.Fprintln(r.notes, "arauto:", err)
	}
	return errFailed
}

// notOpened says why there is no sandbox, in the language of the messages.
func (r *sandboxRun) notOpened(err error) error {
	words := sandboxWords[r.language]
	if is, left := sandbox.Interrupted(err); is {
		if left != nil {
			return err
		}
		fmt.Fprintln(r.notes, words["interrupted"])
		return errFailed
	}
	if taken, is := errors.AsType[*sandbox.PortError](err); is {
		use := words["port-creations"]
		if taken.Status {
			use = words["port-status"]
		}
		return wrongUse(words["port"], taken.Port, use, taken.Err)
	}
	if full, is := errors.AsType[*sandbox.SpaceError](err); is {
		return fmt.Errorf(words["space"]+"\n%w", full.Folder, full.FreeMB, full.NeedsMB, full.Err)
	}
	if errors.Is(err, sandbox.ErrRuns) && r.language == "pt" {
		return fmt.Errorf("já há um sandbox em execução; encerre-o antes (%w)", err)
	}
	return err
}

// unset takes the settings out of the environment of a process of ours: what the demo and the sandbox start has settings of its own, and the
// caller's must not change it.
func unset(cmd *exec.Cmd) *exec.Cmd {
	cmd.Env, _ = config.WithoutSettings(cmd.Environ())
	return cmd
}

// sandboxWords are the words of the sandbox, in pt and en.
var sandboxWords = map[string]map[string]string{
	"en": {
		"ready": "sandbox: ready after %s s; press Ctrl-C to end it", "creations": "tokens and POSTs", "status": "status and extension", "console": "the bank's console",
		"bank": "the bank's API", "pki": "development PKI", "clients": "clients", "told": "alfa, notified at %s; beta, which polls", "untold": "alfa and beta, which poll",
		"next": "Next, in another terminal:", "cents": "the cents of an amount choose the story: arauto sandbox --help",
		"created": "created, %s", "changed": "is now %s", "quiet": "not notified (%s)", "notified": "notification %s", "ended": "notification %s of %s is %s after %d attempt(s)",
		"request-lost": "attempt %s is lost", "answer-lost": "the answer to attempt %s is lost", "not-delivered": "attempt %s did not reach the receiver: %s", "failed": "FAILED: %s",
		"refused":      "a caller ended the TLS handshake without an alert; it may not trust the sandbox's certificate, or have none to show",
		"trigger-args": "trigger: name a KIND and at most one STATUS; there are %d arguments; see arauto trigger --help", "poll-args": "poll: name one ID; there are %d arguments; see arauto poll --help",
		"poll-empty": "poll: the ID is empty; name the id of a resource",
		"goes-on":    "the story goes on; it takes %s in all",
		"port":       "--port: port %d (%s) cannot be opened: %v; stop what listens there, or choose another: the port that --port names and the one after it are used", "port-creations": "tokens and POSTs", "port-status": "status endpoints",
		"space":       "%s has %d MB free, and the sandbox needs about %d MB there; free some, or name another folder: TMPDIR=FOLDER arauto sandbox",
		"webhook":     "--webhook: %q cannot be registered; use https://, a host, and no query or slash at the end, as in https://localhost:8444/hook",
		"interrupted": "sandbox: interrupted while it was starting; nothing of it is left",
		"unused":      "sandbox: it has settings of its own; these variables have no effect: %s",
		"part-ended":  "the sandbox ends, since its %s ended by itself; start it again with: arauto sandbox", "part-database": "database (PostgreSQL)", "part-gateway": "gateway", "its-log": "; the log is in %s",
	},
	"pt": {
		"ready": "sandbox: pronto após %s s; Ctrl-C encerra", "creations": "tokens e POSTs", "status": "status e extensão", "console": "console do banco",
		"bank": "API do banco", "pki": "PKI de desenvolvimento", "clients": "clientes", "told": "alfa, notificada em %s; beta, que consulta", "untold": "alfa e beta, que consultam", //nolint:misspell // Portuguese
		"next": "A seguir, em outro terminal:", "cents": "os centavos do valor escolhem a história: arauto sandbox --help",
		"created": "criado, %s", "changed": "agora é %s", "quiet": "não notificado (%s)", "notified": "notificação %s", "ended": "notificação %s de %s: %s após %d tentativa(s)",
		"request-lost": "a tentativa %s se perdeu", "answer-lost": "a resposta à tentativa %s se perdeu", "not-delivered": "a tentativa %s não chegou ao receptor: %s", "failed": "FALHOU: %s",
		"refused":      "um cliente encerrou o handshake TLS sem alerta; talvez não confie no certificado do sandbox ou não tenha um para apresentar",
		"trigger-args": "trigger: informe KIND e no máximo um STATUS; o número de valores informados é %d; veja arauto trigger --help", "poll-args": "poll: informe um ID; o número de valores informados é %d; veja arauto poll --help",
		"poll-empty": "poll: o ID está vazio; informe o id de um recurso",
		"goes-on":    "a história continua; ao todo leva %s",
		"port":       "--port: a porta %d (%s) não pode ser aberta: %v; encerre o que a usa, ou escolha outra: são usadas a porta de --port e a seguinte", "port-creations": "tokens e POSTs", "port-status": "endpoints de status",
		"space":       "%s tem %d MB livres, e o sandbox precisa de cerca de %d MB ali; libere espaço, ou indique outra pasta: TMPDIR=PASTA arauto sandbox",
		"webhook":     "--webhook: %q não pode ser registrado; use https://, um host, e nenhuma query ou barra no fim, como em https://localhost:8444/hook",
		"interrupted": "sandbox: interrompido durante o início; nada dele ficou",
		"unused":      "sandbox: tem ajustes próprios; estas variáveis não têm efeito: %s",
		"part-ended":  "o sandbox se encerra, pois parou sozinho: %s; inicie-o de novo com: arauto sandbox", "part-database": "o banco de dados (PostgreSQL)", "part-gateway": "o gateway", "its-log": "; o log está em %s",
	},
}

// print writes a value as a line of JSON, or a text.
func (r *sandboxRun) print(value any, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asJSON {
		_ = json.NewEncoder(r.out).Encode(value) // nobody is left to tell
		return
	}
	fmt.Fprint(r.out, text)
}

// ready tells where everything is, and what to try.
func (r *sandboxRun) ready(s *sandbox.State, after time.Duration) {
	words, public := sandboxWords[r.language], *s
	public.Token = "" // of trigger, which finds it in the state's file
	var out strings.Builder
	fmt.Fprintf(&out, words["ready"]+"\n\n", timing.Decimal(strconv.FormatFloat(after.Seconds(), 'f', 1, 64), r.language))
	t := tabwriter.NewWriter(&out, 0, 8, 3, ' ', 0)
	clients := words["untold"]
	if s.Webhook != "" {
		clients = fmt.Sprintf(words["told"], s.Webhook)
	}
	for _, line := range [][2]string{
		{words["creations"], s.Creation},
		{words["status"], s.Public},
		{words["console"], s.Console},
		{words["bank"], s.Internal},
		{words["pki"], s.PKI},
		{words["clients"], clients},
	} {
		fmt.Fprintf(t, "  %s\t%s\n", line[0], line[1])
	}
	_ = t.Flush()
	fmt.Fprintf(&out, "\n%s\n\n  arauto listen --forward http://localhost:3000/hook\n  arauto trigger pix-payment ACSC\n  arauto poll ID\n\n%s\n\n", words["next"], words["cents"])
	r.print(map[string]any{"event": "ready", "seconds": after.Seconds(), "sandbox": public}, out.String())
}

// say tells one event.
func (r *sandboxRun) say(e sandbox.Event) {
	words := sandboxWords[r.language]
	var text string
	switch e.What {
	case sandbox.Created:
		text = fmt.Sprintf(words["created"], e.Status)
		if e.Cents != nil {
			text += fmt.Sprintf(" (.%02d)", *e.Cents)
		}
	case sandbox.Changed:
		text = fmt.Sprintf(words["changed"], e.Status) + "; "
		if e.Notification == "" {
			text += fmt.Sprintf(words["quiet"], timing.SilenceWord(ofb.Silence(e.Reason), r.language))
		} else {
			text += fmt.Sprintf(words["notified"], e.Notification)
		}
	case sandbox.Ended:
		text = fmt.Sprintf(words["ended"], e.Notification, e.Status, timing.StateWord(notice.State(e.State), r.language), e.Attempts)
	case sandbox.RequestLost, sandbox.AnswerLost:
		text = fmt.Sprintf(words[string(e.What)], e.Interaction)
	case sandbox.Refused:
		text = words[string(e.What)]
	case sandbox.NotDelivered:
		text = fmt.Sprintf(words[string(e.What)], e.Interaction, e.Reason)
	default:
		text = fmt.Sprintf(words["failed"], e.Reason)
	}
	r.print(e, fmt.Sprintf("%s  %-5s %s %s  %s\n", e.At.Local().Format("15:04:05.000"), e.Client, e.Kind, e.ID, text))
}
