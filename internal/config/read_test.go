package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/config"
)

// written is a file of settings.
func written(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "arauto.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// TestEverythingThatIsWrongIsSaidAtOnce: a misspelled key hid all else that was wrong, in the file as in the environment.
func TestEverythingThatIsWrongIsSaidAtOnce(t *testing.T) {
	unheard := "ARAUTO_" + "UNHEARD"
	file := written(t, "profile: staging\nunheard_of: 1\ndatabase: {url: [1, 2]}\nwebhook: {timeout: 99s}\ndispatch: {slots: many}\n")
	c, err := config.Read(file, []string{unheard + "=1", "ARAUTO_INGEST_MAX_IN_FLIGHT=all", "ARAUTO_OPS_ADDR=nonsense"})
	unread := []string{
		"line 2: field unheard_of not found", "database.url (ARAUTO_DATABASE_URL): cannot be read", "dispatch.slots (ARAUTO_DISPATCH_SLOTS): cannot be read",
		unheard + ": no setting has this variable", "ingest.max_in_flight (ARAUTO_INGEST_MAX_IN_FLIGHT): cannot be read",
	}
	for _, problem := range unread {
		require.ErrorContains(t, err, problem)
	}
	require.NotNil(t, c)
	all := c.Check()
	for _, problem := range append(unread, `profile (ARAUTO_PROFILE): is "staging"`, "webhook.timeout (ARAUTO_WEBHOOK_TIMEOUT): is 1m39s", `ops.addr (ARAUTO_OPS_ADDR): is "nonsense"`, "signing.kid (ARAUTO_SIGNING_KID): is not set") {
		require.ErrorContains(t, all, problem)
	}
	require.NotContains(t, all.Error(), "database.url (ARAUTO_DATABASE_URL): is not set", "it is, and cannot be read")
}

// TestWhatIsInAGroupThatCannotBeReadIsNotSaidToBeMissing: of database.url it was said that its value is of the wrong type, and that it is not set.
func TestWhatIsInAGroupThatCannotBeReadIsNotSaidToBeMissing(t *testing.T) {
	for _, text := range []string{"database: 3\n", "database: [url]\n", "database: {url: {a: b}}\n"} {
		c, err := config.Read(written(t, text), nil)
		require.ErrorContains(t, err, "line 1: database", text)
		require.ErrorContains(t, c.Check(), "signing.kid (ARAUTO_SIGNING_KID): is not set", text)
		require.NotContains(t, c.Check().Error(), "database.url (ARAUTO_DATABASE_URL)", text)
	}
}

// TestWhereNothingOfAFileIsKnownNothingIsSaidOfTheRest: what it sets would be called not set.
func TestWhereNothingOfAFileIsKnownNothingIsSaidOfTheRest(t *testing.T) {
	for _, file := range []string{filepath.Join(t.TempDir(), "absent.yaml"), written(t, "profile: ["), written(t, "profile: development\nprofile: production\n")} {
		c, err := config.Read(file, nil)
		require.Error(t, err, file)
		require.Nil(t, c, file)
	}
}

// TestASecondDocumentOfAFileIsRefused: its settings were ignored, and so were unknown keys in it.
func TestASecondDocumentOfAFileIsRefused(t *testing.T) {
	_, err := config.Read(written(t, "profile: development\n---\nwebhook:\n  insecure: true\n"), nil)
	require.ErrorContains(t, err, "line 3: a second document begins before it")
	_, err = config.Read(written(t, "---\n---\n# nothing\n---\nprofile: development\n"), nil)
	require.ErrorContains(t, err, "line 5: a second document")
	_, err = config.Read(written(t, "profile: development\n---\nwebhook: [\n"), nil)
	require.ErrorContains(t, err, "yaml: ")
	for _, one := range []string{"---\nprofile: development\n...\n", "profile: development\n---\n", "", "---\n"} {
		_, err = config.Read(written(t, one), nil)
		require.NoError(t, err, one)
	}
}

// TestWhiteSpaceAroundAValueOfTheEnvironmentIsNoPartOfIt, as in a file: a list with a space behind its comma was refused, or made serve panic.
func TestWhiteSpaceAroundAValueOfTheEnvironmentIsNoPartOfIt(t *testing.T) {
	c, err := config.Read("", []string{
		"ARAUTO_PROFILE= development\n", "ARAUTO_WEBHOOK_TIMEOUT= 2s", "ARAUTO_RESEND_ENABLED=true ", "ARAUTO_SIGNING_KID= \t", "ARAUTO_TIMERS_ENABLED= ",
		"ARAUTO_WEBHOOK_ALLOW_PORTS=443, 8443,", "ARAUTO_WEBHOOK_AS_HEADERS= x-authorization-server-id , x-authorisation-server-id",
		"ARAUTO_ANNOUNCE_DIRECT_AUTHORISED=payment-consent, recurring-consent", "ARAUTO_WATCH_SOURCES=/my files/a.yaml, b.yaml",
	})
	require.NoError(t, err)
	require.Equal(t, config.Development, c.Profile)
	require.Equal(t, "2s", c.Webhook.Timeout.String())
	require.True(t, c.Resend.Enabled)
	require.Empty(t, c.Signing.KID)
	require.Equal(t, []string{}, *c.Timers.Enabled)
	require.Equal(t, []uint16{443, 8443}, c.Webhook.AllowPorts)
	require.Equal(t, []string{"x-authorization-server-id", "x-authorisation-server-id"}, c.Webhook.ASHeaders)
	require.Equal(t, []string{"payment-consent", "recurring-consent"}, c.Announce.DirectAuthorised)
	require.Equal(t, []string{"/my files/a.yaml", "b.yaml"}, c.Watch.Sources)
	for _, wrong := range []string{"ARAUTO_WEBHOOK_ALLOW_PORTS=,", "ARAUTO_WEBHOOK_ALLOW_PORTS=443 8443"} {
		_, err = config.Read("", []string{wrong})
		require.ErrorContains(t, err, "a list of numbers", wrong)
	}
}

// TestABlankValueIsNone: a file can have one in quotes.
func TestABlankValueIsNone(t *testing.T) {
	c, err := config.Read(written(t, "signing: {kid: ' '}\n"), nil)
	require.NoError(t, err)
	require.ErrorContains(t, c.Check(), "signing.kid (ARAUTO_SIGNING_KID): is not set")
}

// TestWhatCannotStandInAHeaderOrAURLIsWrongConfiguration: the first two made serve and check panic; with the third, serve ended with exit
// code 1.
func TestWhatCannotStandInAHeaderOrAURLIsWrongConfiguration(t *testing.T) {
	for key, text := range map[string]string{
		"webhook.as_headers":             "webhook: {as_headers: [%s]}\n",
		"holder.authorisation_server_id": "holder: {authorisation_server_id: %s}\n",
		"public.base_url":                "public: {base_url: %s}\n",
	} {
		said := key + " (" + config.EnvName(key) + "): "
		check := func(value string) error {
			c, err := config.Read(written(t, fmt.Sprintf(text, strconv.Quote(value))), nil)
			require.NoError(t, err)
			return c.Check()
		}
		for _, value := range map[string][]string{
			"webhook.as_headers":             {"x y", "x-authorization-server-id:", "é", "", "x\n"},
			"holder.authorisation_server_id": {"as 1", "é", "a\nb"},
			"public.base_url":                {"https://u@api.banco.example", "https://u:p@api.banco.example", "https://api#x.example", "https://api.%zz.example"},
		}[key] {
			require.ErrorContains(t, check(value), said, value)
		}
		for _, value := range map[string][]string{
			"webhook.as_headers":             {"x-authorization-server-id", "X-Authorisation-Server-Id"},
			"holder.authorisation_server_id": {"c8f0bf49-4744-4933-8960-7add6e590841"},
			"public.base_url":                {"https://api.banco.example.com", "https://api.banco.example.com:8443"},
		}[key] {
			require.NotContains(t, check(value).Error(), said, value)
		}
	}
}
