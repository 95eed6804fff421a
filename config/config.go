// Package config turns the text of config.hcl into validated values, or into
// diagnostics that say where the mistake is and what to write instead.
//
// A mail administrator meets this package on a bad day: something was edited,
// and mail must flow again. So every mistake of a file is reported at once,
// each with its line, the text of that line and a remedy, and nothing is
// guessed: an unknown name is never skipped, an unset environment variable is
// never the empty string, and a setting that could turn a mail server into an
// open relay (client_address) has no default. What is legal but probably not
// meant, such as a backend that is reached over the Internet in clear, becomes
// a warning in Config.Warnings.
//
// The names of blocks and attributes stand in tables (see table), which read
// the file, answer "did you mean" and are compared with config.hcl.example by a
// test. Defaults are the values that a target holds before its table is read.
//
// Not done here: no certificate is read, no name is resolved and no socket is
// opened. That belongs to the program that uses the values.
package config

import (
	"log/slog"
)

// Config is a whole configuration file after validation. It is made once and
// never changed after.
type Config struct {
	// Hostname is the name in greeting, EHLO and Received (RFC 5321, 4.1.4): a
	// fully qualified name, or an address literal such as [192.0.2.1].
	Hostname     string
	Mark         int // of our sockets towards mail servers (SO_MARK); 0 = none
	State        State
	Resolver     Resolver
	Certificates []Certificate // in the order of the file
	Inbounds     []Inbound     // in the order of the file
	Outbounds    []Outbound    // in the order of the file; there is at least one of the two kinds
	Admin        Admin
	Log          Log
	// Warnings are "file:line: text", one per line of the file that is legal
	// but probably not meant, in the order of the file.
	Warnings []string
}

// State says where what is remembered of peers is kept.
type State struct {
	Kind    string // bolt | memory; redis is a reserved name
	Path    string // absolute path of the file of bolt
	URL     string // of a Redis server
	Written bool   // there is a state block; false: this is the default
}

// Resolver says who is asked for DNS answers.
type Resolver struct {
	Servers       []string // "address:port" or "tls://host:port"; empty = the system's
	DNSSEC        string   // validate | trust-ad | off
	DNSSECWritten bool     // false: DNSSEC is the default (SEM 27)
	TrustAnchors  string   // absolute path of a file; empty = the keys of the root
	Insecure      []string // domains that need not be signed, with all below them
}

// Certificate is one source of a certificate and its key: two files, or names
// that a self-signed certificate is made for at start.
type Certificate struct {
	Name       string
	CertFile   string   // absolute path of a PEM chain, leaf first
	KeyFile    string   // absolute path of its PEM key
	SelfSigned []string // host names and addresses
}

// Admin says where postern can be asked, and told, about itself. One of the two
// is there if the block is.
type Admin struct {
	Listen string // "host:port" for HTTP: health, readiness, metrics. It only reads; empty = none
	Socket string // absolute path of a unix socket for what changes state; empty = none
}

// Log says how the log is written.
type Log struct {
	Format string // text | json
	Level  slog.Level
}

// Default returns what applies where a file says nothing: it has no inbound,
// no outbound and no certificate.
func Default() *Config {
	return &Config{
		Hostname: systemHostname(),
		Resolver: Resolver{DNSSEC: "validate"},
		State:    State{Kind: "bolt", Path: defaultStatePath()},
		Log:      Log{Format: "text", Level: slog.LevelInfo},
	}
}
