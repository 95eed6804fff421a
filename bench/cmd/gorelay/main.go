// gorelay is the naive Go proxy: the least that can terminate or originate
// STARTTLS with crypto/tls and io.Copy. It is not a product: no limits, no
// timeouts, no policy, no certificate verification, and every smuggled message
// passes. It is measured as the floor for any Go proxy.
package main

import (
	"bufio"
	"crypto/tls"
	"flag"
	"io"
	"log"
	"net"
	"strings"
)

// relay is where to and with what.
type relay struct {
	backend, remote string
	server, client  *tls.Config
}

func main() {
	in := flag.String("starttls", "", "listen here, offer STARTTLS, relay to -backend in plaintext")
	implicit := flag.String("tls", "", "listen here with implicit TLS, relay to -backend in plaintext")
	out := flag.String("out", "", "listen here in plaintext, relay to -remote with STARTTLS")
	backend := flag.String("backend", "", "plaintext SMTP server")
	remote := flag.String("remote", "", "SMTP server with STARTTLS")
	cert := flag.String("cert", "", "certificate file")
	key := flag.String("key", "", "key file")
	cert2 := flag.String("cert2", "", "second certificate file, for clients that cannot use the first")
	key2 := flag.String("key2", "", "its key file")
	flag.Parse()
	r := &relay{backend: *backend, remote: *remote}
	r.server = &tls.Config{MinVersion: tls.VersionTLS12, CurvePreferences: []tls.CurveID{tls.X25519}}
	addPair(r.server, *cert, *key)
	addPair(r.server, *cert2, *key2)
	r.client = &tls.Config{
		ServerName:         "bench.test",
		InsecureSkipVerify: true, // the floor of the cost, not a client
		CurvePreferences:   []tls.CurveID{tls.X25519},
		ClientSessionCache: tls.NewLRUClientSessionCache(64),
	}
	listen(*in, r.serveIn)
	listen(*implicit, r.serveImplicit)
	listen(*out, r.serveOut)
	select {}
}

func addPair(cfg *tls.Config, cert, key string) {
	if cert == "" {
		return
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		log.Fatal(err)
	}
	cfg.Certificates = append(cfg.Certificates, pair)
}

func listen(addr string, serve func(net.Conn) error) {
	if addr == "" {
		return
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				log.Fatal(err)
			}
			go func() {
				defer nc.Close()
				_ = serve(nc) // the client sees how it ended
			}()
		}
	}()
}

// pipe copies both ways until either side ends.
func pipe(a, b net.Conn) error {
	go func() {
		io.Copy(a, b)
		a.Close()
		b.Close()
	}()
	_, err := io.Copy(b, a)
	b.Close()
	return err
}

// reply reads one whole reply.
func reply(br *bufio.Reader) (text string, err error) {
	for {
		l, err := br.ReadString('\n')
		if err != nil {
			return "", err
		}
		text += l
		if len(l) < 4 || l[3] != '-' {
			return text, nil
		}
	}
}

func (r *relay) serveIn(nc net.Conn) error {
	be, err := net.Dial("tcp", r.backend)
	if err != nil {
		return err
	}
	defer be.Close()
	g, err := reply(bufio.NewReaderSize(be, 512))
	if err != nil {
		return err
	}
	if _, err := io.WriteString(nc, g); err != nil {
		return err
	}
	br := bufio.NewReaderSize(nc, 512)
	for {
		l, err := br.ReadString('\n')
		if err != nil {
			return err
		}
		v := strings.ToUpper(strings.TrimSpace(l))
		switch {
		case strings.HasPrefix(v, "EHLO"):
			if _, err := io.WriteString(nc, "250-gorelay\r\n250 STARTTLS\r\n"); err != nil {
				return err
			}
		case v == "STARTTLS":
			return r.secure(nc, be, br)
		default:
			return r.plain(nc, be, br, l)
		}
	}
}

func (r *relay) secure(nc, be net.Conn, br *bufio.Reader) error {
	if br.Buffered() > 0 {
		return nil
	}
	if _, err := io.WriteString(nc, "220 2.0.0 go ahead\r\n"); err != nil {
		return err
	}
	t := tls.Server(nc, r.server)
	if err := t.Handshake(); err != nil {
		return err
	}
	return pipe(t, be)
}

// plain serves a client without TLS: its first line, and what came with it,
// goes to the backend behind an EHLO of our own.
func (r *relay) plain(nc, be net.Conn, br *bufio.Reader, line string) error {
	if _, err := io.WriteString(be, "EHLO gorelay\r\n"); err != nil {
		return err
	}
	if _, err := reply(bufio.NewReaderSize(be, 1024)); err != nil {
		return err
	}
	rest, _ := br.Peek(br.Buffered())
	if _, err := be.Write(append([]byte(line), rest...)); err != nil {
		return err
	}
	return pipe(nc, be)
}

func (r *relay) serveImplicit(nc net.Conn) error {
	t := tls.Server(nc, r.server)
	if err := t.Handshake(); err != nil {
		return err
	}
	be, err := net.Dial("tcp", r.backend)
	if err != nil {
		return err
	}
	defer be.Close()
	return pipe(t, be)
}

func (r *relay) serveOut(nc net.Conn) error {
	re, err := net.Dial("tcp", r.remote)
	if err != nil {
		return err
	}
	defer re.Close()
	br := bufio.NewReaderSize(re, 1024)
	g, err := reply(br)
	if err != nil {
		return err
	}
	for _, c := range []string{"EHLO gorelay\r\n", "STARTTLS\r\n"} {
		if _, err := io.WriteString(re, c); err != nil {
			return err
		}
		if _, err := reply(br); err != nil {
			return err
		}
	}
	if br.Buffered() > 0 {
		return nil
	}
	t := tls.Client(re, r.client)
	if err := t.Handshake(); err != nil {
		return err
	}
	if _, err := io.WriteString(nc, g); err != nil {
		return err
	}
	return pipe(nc, t)
}
