package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

func auditCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "audit", Short: "verify, export and prove the history",
		Long: "Verify, export and prove the history, independently of the gateway and the database. docs/audit-format.md describes the formats.",
	}
	c.AddCommand(auditVerifyCommand(w), auditExportCommand(w), auditProofCommand(w), auditDossierCommand(w), auditRegisterCommand(w), auditLossCommand(w),
		auditBreachesCommand(w), auditReconcileCommand(w), auditReportCommand(w), auditRebuildFiguresCommand(w), auditTilesCommand(w), auditCompletenessCommand(w), auditCompareCommand(w))
	return c
}

// databaseFlag gives a command the flag --database-url; the environment stands in for it.
func databaseFlag(c *cobra.Command) *string {
	return c.Flags().String("database-url", "", "the database to read, postgres://… (ARAUTO_DATABASE_URL)")
}

// openInspector opens the database that the flag or the environment names.
func openInspector(ctx context.Context, w world, flag string) (i *auditlog.Inspector, url string, err error) {
	if url, err = databaseURL(w, flag); err != nil {
		return nil, "", err
	}
	i, err = auditlog.OpenInspector(ctx, url)
	return i, url, err
}

// databaseURL is the flag's value, or what the environment says.
func databaseURL(w world, flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	cfg, err := config.Read("", w.environ)
	if err != nil {
		return "", err
	}
	if cfg.Database.URL == "" {
		return "", wrongUse("--database-url (ARAUTO_DATABASE_URL): is not set; set it to the database's URL, postgres://…")
	}
	url, err := store.WithPassword(cfg.Database.URL, cfg.Database.PasswordFile)
	if err != nil {
		return "", wrongUse("database.password_file (ARAUTO_DATABASE_PASSWORD_FILE): %v", err)
	}
	return url, nil
}

// wrongUse ends a command with exit code 2.
func wrongUse(format string, args ...any) error {
	return &config.Error{Problems: []string{fmt.Sprintf(format, args...)}}
}

func auditVerifyCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "verify [FILE] --key PUBLIC.pem", Short: "verify the history in a database, an export or a proof", Args: cobra.MaximumNArgs(1),
		Long: "Verify a database, or FILE: a bundle (.zip), an export (JSON lines without a filter, with --anchors) or a proof. Only the log's public key\n" +
			"is needed. A filtered export as JSON lines cannot be proven: exit code 2; export a bundle instead.\n" +
			"So it is with a report on a period as PDF; a dossier as PDF is verified.\n" +
			"Prints \"ok ENTRIES ROOT\", or \"BAD seq=N REASON\" and exits 1; N is the first position that is wrong, from 0.\n" +
			"An empty log and a key that is not the registered one are BAD. A bundle of a filtered export prints\n" +
			"\"genuine ENTRIES of SIZE ROOT; completeness not shown\", or \"ok ENTRIES ROOT; complete\" where nothing can be missing.\n" +
			"--anchors names checkpoints that were kept outside of the database: only they reveal a cut end or a rewritten log.\n" +
			"--policy names a policy of witnesses (C2SP tlog-policy): notes say which of them vouched for how many entries, until when;\n" +
			"it is BAD when no checkpoint of the file or of --anchors has the cosignatures that the policy demands, and when the newest\n" +
			"checkpoint was signed more than --witnessed-within after what they vouched until: nobody vouched for the entries since.",
	}
	database, key, anchors := databaseFlag(c), c.Flags().String("key", "", "the log's public key, PEM (required)"), c.Flags().StringArray("anchors", nil, "a file of checkpoints kept outside of the database; may be repeated")
	policy := c.Flags().String("policy", "", "a file that names the witnesses and which of them must have vouched")
	within := c.Flags().Duration("witnessed-within", audit.WitnessedWithin, "how much later than what the witnesses of --policy vouched for the newest entries may have been signed")
	complete := c.Flags().Bool("require-complete", false, "exit 1 unless a filtered bundle is proven to be complete")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		t, err := readTrust(w, *key, *anchors, *policy)
		if err != nil {
			return err
		}
		if *within < 0 {
			return wrongUse("--witnessed-within: %s is negative; use a time such as 1h or 90m", *within)
		}
		if t.policy != nil {
			t.policy.Within = *within
		}
		var verdict audit.VerifiedLog
		if len(args) == 1 {
			if *database != "" {
				return wrongUse("verify: FILE and --database-url are both given; name one of them")
			}
			verdict, err = t.verifyFile(args[0])
		} else {
			verdict, err = t.verifyDatabase(cmd.Context(), w, *database)
		}
		return tellVerdict(w, verdict, *complete, err)
	}
	return c
}

// believed is what a verification believes: the public key, checkpoints from elsewhere, and witnesses.
type believed struct {
	public   ed25519.PublicKey
	anchored []audit.Checkpoint
	cosigned [][]byte      // the signed notes of those with cosignatures
	policy   *audit.Policy // nil: witnesses are not asked for
}

// readTrust reads what a verification believes.
func readTrust(w world, key string, anchors []string, policy string) (*believed, error) {
	public, err := readPublic(key)
	if err != nil {
		return nil, err
	}
	t := &believed{public: public}
	if policy != "" {
		text, err := os.ReadFile(policy)
		if err != nil {
			return nil, wrongUse("--policy: %v", err)
		}
		if t.policy, err = audit.ParsePolicy(text); err != nil {
			return nil, wrongUse("--policy: %s: %v", policy, err)
		}
	}
	t.anchored, t.cosigned, err = readAnchors(w, public, "--anchors", anchors)
	return t, err
}

// readPublic reads the public key of a log.
func readPublic(name string) (ed25519.PublicKey, error) {
	if name == "" {
		return nil, wrongUse("--key: is not set; name the file of the log's public key (log.pub.pem in the gateway's state folder)")
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, wrongUse("--key: %v", err)
	}
	public, err := audit.ParsePublic(text)
	if err != nil {
		return nil, wrongUse("--key: %s: %v", name, err)
	}
	return public, nil
}

// readAnchors reads files of checkpoints that were kept outside of the database, and the signed notes of those with cosignatures. What is
// no checkpoint of the log is told on stderr and passed over; a file without any checkpoint of it is wrong use. argument is what named them.
func readAnchors(w world, public ed25519.PublicKey, argument string, names []string) (all []audit.Checkpoint, cosigned [][]byte, err error) {
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, nil, wrongUse("%s: %v", argument, err)
		}
		file, err := readAnchor(w, public, argument, name, text)
		if err != nil {
			return nil, nil, err
		}
		all, cosigned = append(all, file.Checkpoints...), append(cosigned, file.Cosigned...)
	}
	return all, cosigned, nil
}

// readAnchor finds the checkpoints in the text of one file, at least one. What it passes over is told on stderr.
func readAnchor(w world, public ed25519.PublicKey, argument, name string, text []byte) (audit.AnchorFile, error) {
	file := audit.ReadAnchorFile(text, public)
	for _, note := range file.Notes() {
		fmt.Fprintf(w.stderr, "note: %s: %s: %s\n", argument, name, note)
	}
	if len(file.Checkpoints) == 0 {
		return file, wrongUse("%s: %s: it has no checkpoint of this log, so nothing is compared; name a file that an anchor kept, or omit it", argument, name)
	}
	return file, nil
}

func (t *believed) verifyDatabase(ctx context.Context, w world, flag string) (audit.VerifiedLog, error) {
	url, err := databaseURL(w, flag)
	if err != nil {
		return audit.VerifiedLog{}, err
	}
	verdict, err := auditlog.Verify(ctx, url, t.public, t.anchored)
	if errors.Is(err, store.ErrURL) {
		return verdict, wrongUse("--database-url: %v", err)
	}
	if err != nil || t.policy == nil {
		return verdict, err
	}
	stored, err := auditlog.CosignedOf(ctx, url, t.policy.Keys())
	if err != nil {
		return verdict, err
	}
	if stored.Forged > 0 {
		verdict.Notes = append(verdict.Notes, fmt.Sprintf("%d stored cosignatures are not what their witnesses signed: they were put in and are passed over", stored.Forged))
	}
	return verdict, t.policy.Confirm(&verdict, append(stored.Notes, t.cosigned...), t.public)
}

// tellVerdict prints the one line that contract, "Demo and audit", promises. Notes go to stderr before it.
func tellVerdict(w world, v audit.VerifiedLog, requireComplete bool, err error) error {
	if err == nil {
		err = v.AsOf(time.Now())
	}
	if err != nil {
		return tellFault(w, err)
	}
	if v.Removed > 0 {
		fmt.Fprintf(w.stderr, "note: %d entries were removed after their retention time, as the log itself records\n", v.Removed)
	}
	if v.Unsealed > 0 {
		fmt.Fprintf(w.stderr, "note: %d entries are not sealed yet, the oldest since %s\n", v.Unsealed, v.Oldest)
	}
	for _, n := range v.Notes {
		fmt.Fprintln(w.stderr, "note:", n)
	}
	fmt.Fprintln(w.stdout, v)
	if requireComplete && v.Filtered && !v.Complete {
		return errFailed
	}
	return nil
}

func auditRegisterCommand(w world) *cobra.Command {
	c := &cobra.Command{
		Use: "register PUBLIC.pem", Short: "register the public key of the database's log; it cannot be replaced", Args: cobra.ExactArgs(1),
		Long: "Register the public half of the log's key, as the owner of the database. Make the pair on the machine that keeps the private half:\n" +
			"  openssl genpkey -algorithm ed25519 -out log.key; openssl pkey -in log.key -pubout -out log.pub.pem",
	}
	database := databaseFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		public, err := readPublic(args[0])
		if err != nil {
			return err
		}
		url, err := databaseURL(w, *database)
		if err != nil {
			return err
		}
		if err := auditlog.RegisterLogKey(cmd.Context(), url, public); err != nil {
			return err
		}
		fmt.Fprintln(w.stdout, "register: the log of this database is", audit.Origin(public))
		fmt.Fprintln(w.stdout, "register: its key as verifiers of transparency logs take it (vkey):", audit.VerifierKey(public))
		return nil
	}
	return c
}
