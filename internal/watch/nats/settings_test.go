package nats

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/bustest"
	"github.com/arauto/arauto/internal/watch/bus"
)

func TestASubjectFallsUnderOnePatternOrNone(t *testing.T) {
	for _, c := range []struct {
		pattern, subject string
		covers           bool
	}{
		{"a.b", "a.b", true},
		{"a.b", "a.b.c", false},
		{"a.b.c", "a.b", false},
		{"a.*", "a.b", true},
		{"a.*", "a.b.c", false},
		{"a.*.c", "a.b.c", true},
		{"a.*.c", "a.b.d", false},
		{"a.>", "a.b.c", true},
		{"a.>", "a", false},
		{">", "a.b", true},
		{"*.b", "a.b", true},
	} {
		require.Equal(t, c.covers, covers(c.pattern, c.subject), c)
		require.Equal(t, c.covers, overlap(c.pattern, c.subject), c)
	}
	require.True(t, overlap("a.*.c", "a.b.*"))
	require.True(t, overlap("a.>", "a.b"))
	require.False(t, overlap("a.*.c", "a.*.d"))
	require.False(t, overlap("a.*", "b.*"))
}

func TestSettingsAreRefusedWithTheirKey(t *testing.T) {
	good := Settings{
		URLs: []string{"tls://h:4222"}, TLS: &bus.TLS{CA: "ca"}, Stream: "CORE", Durable: "arauto",
		Subjects: bus.Tables{"core.payments.*": "payments", "core.consents.*": "consents"},
	}
	require.Empty(t, good.Problems(true))
	bustest.Spoilt(t, good, (*Settings).Problems, map[string]func(*Settings){
		"urls":                     func(s *Settings) { s.URLs = nil },
		"tls: is missing":          func(s *Settings) { s.TLS = nil },
		"stream":                   func(s *Settings) { s.Stream = "a.b" },
		"durable":                  func(s *Settings) { s.Durable = "" },
		"subjects: is empty":       func(s *Settings) { s.Subjects = nil },
		"overlap":                  func(s *Settings) { s.Subjects = bus.Tables{"core.>": "a", "core.payments.*": "b"} },
		"ack_wait":                 func(s *Settings) { s.AckWait = time.Second },
		"in_flight":                func(s *Settings) { s.InFlight = maxInFlight + 1 },
		"credentials_file, user":   func(s *Settings) { s.CredentialsFile, s.User, s.PasswordFile = "c", "u", "p" },
		"user, password_file: one": func(s *Settings) { s.PasswordFile = "p" },
	})
	_, err := Open(Settings{}, nil, nil)
	require.Error(t, err)
}

func TestSettingsAreReadFromTheMappingFile(t *testing.T) {
	var s Settings
	require.NoError(t, bustest.Decode(t, "nats", `
  urls: [tls://h:4222]
  tls: {ca: ca.pem}
  credentials_file: c
  stream: CORE
  durable: arauto
  subjects: {core.payments.*: payments}
  create: true
  ack_wait: 10s`, &s))
	require.Empty(t, s.Problems(true))
	require.Equal(t, 10*time.Second, s.AckWait)
	require.Error(t, bustest.Decode(t, "nats", "\n  password: secret", &s))
}
