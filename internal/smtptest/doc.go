// Package smtptest has scripted SMTP peers for tests: a backend that believes
// everything, and a client that sends exactly the octets it is told to.
//
// The backend is deliberately gullible. It ends a line at CR, LF or both, ends
// DATA at a dot between any two of them, and executes whatever it reads behind
// that. A proxy in front of it must therefore let nothing through that only a
// strict server would take for content. It keeps the octets of every
// connection, as they came and read by read.
//
//	b := smtptest.NewBackend(t, smtptest.Script{Replies: map[string]string{"RCPT": "550 5.1.1 no such user"}})
//	c := smtptest.Dial(t, addr)
//	c.Expect("220")
//	c.Do("EHLO client.test", "250")
//
// Nothing here sleeps: what has to wait waits for a channel. What does not come
// at all fails the test after Patience.
package smtptest
