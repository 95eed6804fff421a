// Package load is what the load generator says about one run: the one value
// that loadgen prints and the runner reads.
package load

// Result is the outcome of one run of the load generator. Rates are per
// second of wall-clock time, MB are 10^6 bytes, latencies are milliseconds.
type Result struct {
	Sessions   int      `json:"sessions"` // that ended with QUIT; in an idle run: held open
	Messages   int      `json:"messages"` // answered with 250
	Bytes      int64    `json:"bytes"`    // of these messages, unstuffed
	Errors     int      `json:"errors"`
	FirstErrs  []string `json:"first_errors,omitempty"`
	Seconds    float64  `json:"seconds"`
	SessPerSec float64  `json:"sessions_per_s"`
	MsgPerSec  float64  `json:"messages_per_s"`
	MBPerSec   float64  `json:"mb_per_s"`
	HsP50      float64  `json:"handshake_p50_ms"`
	HsP99      float64  `json:"handshake_p99_ms"`
	SessP50    float64  `json:"session_p50_ms"` // from dial to the reply to QUIT
	SessP99    float64  `json:"session_p99_ms"`
	Resumed    int      `json:"resumed"`       // TLS handshakes
	TLS        string   `json:"tls,omitempty"` // version, suite, group and certificate of the first handshake
	CPUSeconds float64  `json:"cpu_seconds"`   // of the load generator itself
}
