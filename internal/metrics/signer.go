package metrics

import "time"

// BearSigner makes the series of a key in another process exist before anything is counted. Until it signs, its time is the start of this
// replica.
func (m *Metrics) BearSigner(key string, began time.Time) {
	m.signerFailures.WithLabelValues(key)
	m.signerSeconds.WithLabelValues(key)
	m.signerOK.WithLabelValues(key).Set(float64(began.Unix()))
}

// SignerAnswered counts a signature or a trial of a key in another process.
func (m *Metrics) SignerAnswered(key string, took time.Duration, err error) {
	m.signerSeconds.WithLabelValues(key).Observe(took.Seconds())
	if err != nil {
		m.signerFailures.WithLabelValues(key).Inc()
		return
	}
	m.signerOK.WithLabelValues(key).Set(float64(time.Now().Unix()))
}
