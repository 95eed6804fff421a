// probe looks at how a peer behaves, not at how fast it is.
//
//	probe -mode in  -addr HOST:PORT   a peer that offers STARTTLS
//	probe -mode out -addr HOST:PORT   a peer that speaks STARTTLS to a remote
//
// Each line it prints is one observation.
package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

const (
	ehlo     = "EHLO probe.bench.test\r\n"
	starttls = "STARTTLS\r\n"
	mail     = "MAIL FROM:<a@bench.test>\r\n"
	rcpt     = "RCPT TO:<b@bench.test>\r\n"
)

func main() {
	addr := flag.String("addr", "", "peer")
	mode := flag.String("mode", "in", "in or out")
	flag.Parse()
	p := prober{addr: *addr}
	looks := []func(){p.session, p.injection, p.stateAcrossTLS, p.withoutTLS, p.helo, p.noGreeting}
	if *mode == "out" {
		looks = []func(){p.outbound}
	}
	for _, look := range looks {
		look()
	}
}

type prober struct{ addr string }

type conn struct {
	net.Conn
	br *bufio.Reader
}

func (p prober) dial() *conn {
	nc, err := net.DialTimeout("tcp", p.addr, 5*time.Second)
	if err == nil {
		err = nc.SetDeadline(time.Now().Add(10 * time.Second))
	}
	if err != nil {
		fmt.Println("dial:", err)
		os.Exit(1)
	}
	return &conn{nc, bufio.NewReader(nc)}
}

// greeted is a connection after its EHLO.
func (p prober) greeted() *conn {
	c := p.dial()
	c.reply()
	c.cmd(ehlo)
	return c
}

// reply reads one reply, its lines joined; how it broke off is part of it.
func (c *conn) reply() string {
	var s []string
	for {
		l, err := c.br.ReadString('\n')
		if l != "" {
			s = append(s, strings.TrimRight(l, "\r\n"))
		}
		if err != nil {
			return strings.Join(append(s, ending(err)), " | ")
		}
		if len(l) < 4 || l[3] != '-' {
			return strings.Join(s, " | ")
		}
	}
}

func ending(err error) string {
	var ne net.Error
	switch {
	case errors.Is(err, io.EOF):
		return "(closed)"
	case errors.As(err, &ne) && ne.Timeout():
		return "(silence)"
	}
	return "(" + err.Error() + ")"
}

func (c *conn) cmd(l string) string {
	if _, err := io.WriteString(c, l); err != nil {
		return ending(err)
	}
	return c.reply()
}

func (c *conn) secure() (*conn, error) {
	// It observes: whose certificate it is does not matter.
	t := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true, ServerName: "bench.test"})
	if err := t.Handshake(); err != nil {
		return nil, err
	}
	return &conn{t, bufio.NewReader(t)}, nil
}

func (p prober) session() {
	c := p.dial()
	defer c.Close()
	t0 := time.Now()
	g := c.reply()
	fmt.Printf("greeting (after %d ms): %s\n", time.Since(t0).Milliseconds(), g)
	fmt.Println("EHLO in plaintext:", c.cmd(ehlo))
	fmt.Println("STARTTLS:", c.cmd(starttls))
	t, err := c.secure()
	if err != nil {
		fmt.Println("handshake:", err)
		return
	}
	fmt.Println("EHLO under TLS:", t.cmd(ehlo))
	fmt.Println("STARTTLS again under TLS:", t.cmd(starttls))
}

func (p prober) injection() {
	const what = "command injected behind STARTTLS:"
	c := p.greeted()
	defer c.Close()
	first := c.cmd(starttls + "EHLO injected.bench.test\r\n")
	if c.br.Buffered() > 0 {
		fmt.Printf("%s answered in plaintext: %q then %q\n", what, first, c.reply())
		return
	}
	t, err := c.secure()
	if err != nil {
		fmt.Printf("%s %q, then no handshake: %v\n", what, first, err)
		return
	}
	if err := t.SetReadDeadline(time.Now().Add(700 * time.Millisecond)); err != nil {
		fmt.Println(what, err)
		return
	}
	fmt.Printf("%s %q, then under TLS, before the client spoke: %s\n", what, first, t.reply())
}

func (p prober) stateAcrossTLS() {
	c := p.greeted()
	defer c.Close()
	m := c.cmd("MAIL FROM:<stale@bench.test>\r\n")
	st := c.cmd(starttls)
	t, err := c.secure()
	if err != nil {
		fmt.Printf("MAIL, then STARTTLS: %s, then %s, then no handshake: %v\n", m, st, err)
		return
	}
	t.cmd(ehlo)
	fmt.Printf("MAIL, then STARTTLS: %s, then %s, then RCPT under TLS without MAIL: %s\n", m, st, t.cmd(rcpt))
}

func (p prober) withoutTLS() {
	c := p.greeted()
	defer c.Close()
	fmt.Println("MAIL without TLS:", c.cmd(mail))
	fmt.Println("RCPT without TLS:", c.cmd(rcpt))
}

func (p prober) helo() {
	c := p.dial()
	defer c.Close()
	c.reply()
	fmt.Println("HELO in plaintext:", c.cmd("HELO probe.bench.test\r\n"))
}

func (p prober) noGreeting() {
	c := p.dial()
	defer c.Close()
	c.reply()
	fmt.Println("NOOP before EHLO:", c.cmd("NOOP\r\n"))
}

func (p prober) outbound() {
	c := p.dial()
	defer c.Close()
	t0 := time.Now()
	g := c.reply()
	fmt.Printf("greeting (after %d ms): %s\n", time.Since(t0).Milliseconds(), g)
	fmt.Println("EHLO:", c.cmd(ehlo))
	fmt.Println("MAIL:", c.cmd(mail))
	fmt.Println("RCPT:", c.cmd(rcpt))
	fmt.Println("DATA:", c.cmd("DATA\r\n"))
	fmt.Println("message:", c.cmd("Subject: probe\r\n\r\nprobe\r\n.\r\n"))
}
