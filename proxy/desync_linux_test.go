package proxy

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"postern/internal/smtptest"
)

// blurt has the backend say something that nobody asked for, and waits until it
// has come. The edge has one session, which waits for its client.
func (e *edge) blurt(b *smtptest.Backend, reply string) {
	e.t.Helper()
	fmt.Fprint(b.Connection(0), reply+"\r\n")
	e.mu.Lock()
	defer e.mu.Unlock()
	for s := range e.sessions {
		for late := time.Now().Add(smtptest.Patience); !s.role.(*inboundSession).up.conn.unread(); runtime.Gosched() {
			if time.Now().After(late) {
				e.t.Fatal("it does not come")
			}
		}
	}
}

// STANDARDS 31: only the answer to a message is the answer to a message.
func TestAnUnsolicitedReplyIsNeverTakenForTheAnswerToWhatFollows(t *testing.T) {
	passed, reframed := framings["passed"], framings["re-framed"]
	authed := []string{"PIPELINING", "AUTH PLAIN"}
	for name, c := range map[string]struct {
		capabilities []string
		begin        func(*edge) *smtptest.Client
		said, line   string
		want         string
	}{
		"DATA":                      {passed, (*edge).begun, "354 go", "DATA\r\n", "421 4.3.2"},
		"MAIL, RCPT and DATA":       {passed, (*edge).connected, "250 extra", envelope + "\r\n", "421 4.3.2"},
		"a message":                 {passed, (*edge).inData, "250 extra", "x\r\n.\r\n", "451 4.4.2"},
		"an empty message":          {passed, (*edge).inData, "250 extra", ".\r\n", "451 4.4.2"},
		"a chunk, passed":           {passed, (*edge).begun, "250 extra", chunk("x\r\n", false), "421 4.3.2"},
		"the only chunk, passed":    {passed, (*edge).begun, "250 extra", chunk("x\r\n", true), "421 4.3.2"},
		"the last chunk, passed":    {passed, (*edge).inChunks, "250 extra", chunk("x\r\n", true), "421 4.3.2"},
		"the only chunk, re-framed": {reframed, (*edge).begun, "250 extra", chunk("x\r\n", true), "421 4.3.2"},
		"the last chunk, re-framed": {reframed, (*edge).inChunks, "250 extra", chunk("x\r\n", true), "451 4.4.2"},
		"a chunk, re-framed":        {reframed, (*edge).begun, "550 5.1.1 extra", chunk("x\r\n", false), "421 4.3.2"},
		"an empty chunk, re-framed": {reframed, (*edge).inChunks, "250 extra", chunk("", true), "451 4.4.2"},
		"AUTH":                      {authed, (*edge).secure, "235 2.7.0 welcome", "AUTH PLAIN " + token + "\r\n", "421 4.3.2"},
		"EHLO":                      {authed, (*edge).secure, "250-gullible\r\n250 DSN", "EHLO again.test\r\n", "421 4.3.2"},
		"421 before DATA":           {passed, (*edge).begun, "421 4.3.2 bye", "DATA\r\n", "421 4.3.2 bye"},
	} {
		t.Run(name, func(t *testing.T) {
			b, e := one(t, smtptest.Script{Capabilities: c.capabilities, Replies: map[string]string{".": "554 5.7.1 refused"}})
			k := c.begin(e)
			e.blurt(b, c.said)
			k.Send(c.line)
			k.Expect(c.want)
			k.Close()
			b.Connection(0).WaitOver()
			wantMessages(t, b)
		})
	}
}

// connected is a client with a backend and no transaction.
func (e *edge) connected() *smtptest.Client {
	c := e.begun()
	c.Do("RSET", "250")
	return c
}

// inChunks is a client that has sent the first chunk of a message.
func (e *edge) inChunks() *smtptest.Client {
	c := e.begun()
	c.Send(chunk("first\r\n", false))
	c.Expect("250")
	return c
}

func TestAReplyThatComesAmidTheLastChunkIsNotTheAnswerToTheMessage(t *testing.T) {
	b, e := one(t, smtptest.Script{Capabilities: framings["passed"], Replies: map[string]string{".": "554 5.7.1 refused"}})
	c := e.begun()
	whole := chunk(strings.Repeat("0123456789\r\n", 20000), true)
	c.Send(whole[:len(whole)/2])
	b.Connection(0).WaitFor("LAST\r\n01234")
	fmt.Fprint(b.Connection(0), "250 extra\r\n")
	b.Connection(0).WaitFor(whole[5000:9000])
	c.Send(whole[len(whole)/2:])
	c.Expect("451 4.4.2")
	wantMessages(t, b)
}

// The answer comes in one segment with the 354.
func TestAnEarlyReplyIsNeverTheAnswerToAMessage(t *testing.T) {
	for name, c := range map[string]struct{ line, want string }{
		"DATA":           {"DATA\r\n", "421 4.3.2"},
		"BDAT":           {chunk("x\r\n", false), "421 4.3.2"},
		"BDAT LAST":      {chunk("x\r\n", true), "421 4.3.2"},
		"BDAT and no CR": {chunk("x\n", true), "421 4.3.2"},
	} {
		t.Run(name, func(t *testing.T) {
			b, e := one(t, smtptest.Script{Capabilities: framings["re-framed"],
				Replies: map[string]string{"DATA": "354 go\r\n250 early", ".": "554 5.7.1 refused"}})
			k := e.begun()
			k.Send(c.line)
			k.Expect(c.want)
			wantMessages(t, b)
		})
	}
}

// RFC 5321, 4.3.2: an intermediate reply asks for octets that nobody will send.
func TestAnIntermediateReplyThatCannotBeIsNotRelayed(t *testing.T) {
	for name, c := range map[string]struct {
		begin           func(*edge) *smtptest.Client
		line, at, reply string
		want            string
	}{
		"354 to a chunk":        {(*edge).begun, chunk("x\r\n", false), "BDAT", "354 go", "421 4.3.2"},
		"354 to the last chunk": {(*edge).begun, chunk("x\r\n", true), ".", "354 go", "451 4.4.2"},
		"334 to a chunk":        {(*edge).begun, chunk("x\r\n", false), "BDAT", "334 go", "421 4.3.2"},
		"354 to AUTH":           {(*edge).secure, "AUTH PLAIN " + token + "\r\n", "AUTH", "354 go", "421 4.3.2"},
		"300 to AUTH":           {(*edge).secure, "AUTH PLAIN " + token + "\r\n", "AUTH", "300 go", "421 4.3.2"},
	} {
		t.Run(name, func(t *testing.T) {
			_, e := one(t, smtptest.Script{Capabilities: []string{"PIPELINING", "CHUNKING", "AUTH PLAIN"}, Replies: map[string]string{c.at: c.reply}})
			k := c.begin(e)
			k.Send(c.line)
			k.Expect(c.want)
		})
	}
}
