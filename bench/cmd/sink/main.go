// sink runs the throw-away SMTP server of internal/sink as the backend of a
// benchmark: up to three listeners, and its counters over HTTP.
//
//	GET /stats              the counters, as JSON
//	GET /reset?verify=0|1   counters to zero; 1: verify each message from now on
package main

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"runtime/debug"

	"postern/internal/sink"
)

func main() {
	plain := flag.String("plain", "", "plaintext SMTP address")
	starttls := flag.String("starttls", "", "SMTP address that offers STARTTLS")
	implicit := flag.String("tls", "", "SMTP address with implicit TLS")
	ctl := flag.String("ctl", "", "HTTP control address")
	cert := flag.String("cert", "", "certificate file")
	key := flag.String("key", "", "key file")
	tickets := flag.Bool("tickets", true, "issue TLS session tickets")
	inject := flag.Bool("inject", false, "send plaintext behind the 220 reply to STARTTLS (response injection test)")
	trace := flag.Bool("trace", false, "log each command line")
	flag.Parse()
	debug.SetGCPercent(400) // what the collector takes here, the proxy lacks

	srv := &sink.Server{Inject: *inject}
	if *trace {
		srv.Trace = log.New(os.Stderr, "sink: ", log.Lmicroseconds)
	}
	if *cert != "" {
		srv.TLS = tlsConfig(*cert, *key, *tickets)
	}
	listen(*plain, srv.Serve)
	listen(*starttls, srv.ServeSTARTTLS)
	listen(*implicit, srv.ServeTLS)
	log.Fatal(http.ListenAndServe(*ctl, control(srv)))
}

func tlsConfig(cert, key string, tickets bool) *tls.Config {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		log.Fatal(err)
	}
	return &tls.Config{
		Certificates:                []tls.Certificate{pair},
		MinVersion:                  tls.VersionTLS12,
		CurvePreferences:            []tls.CurveID{tls.X25519},
		SessionTicketsDisabled:      !tickets,
		DynamicRecordSizingDisabled: true,
	}
}

func listen(addr string, serve func(net.Listener) error) {
	if addr == "" {
		return
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(serve(l)) }()
}

func control(srv *sink.Server) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/stats", func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(srv.Stats()); err != nil {
			log.Print(err)
		}
	})
	mux.HandleFunc("/reset", func(w http.ResponseWriter, r *http.Request) {
		srv.Reset(r.FormValue("verify") == "1")
		fmt.Fprintln(w, "ok")
	})
	return mux
}
