// Package smtpwire turns octets into SMTP lines, commands, replies,
// capabilities and message bodies, and back. It knows no socket, no TLS and
// no policy.
//
// The threat that it is written against is disagreement: two servers that
// find different ends in the same octets make two messages out of one (SMTP
// smuggling), or let a plaintext line be executed inside TLS. So there is one
// notion of a line, CRLF (RFC 5321, 2.3.8), and one end of data, CRLF.CRLF
// (RFC 5321, 4.1.1.4); a bare CR or LF is an error that is reported, or is
// mended, and is never passed on. What is written never holds one.
//
// Everything streams. A Reader holds a buffer only while it has octets in it:
// an idle connection costs no buffer. Every read has a limit in octets; time
// limits are the caller's, who owns the connection.
//
// Not done here: BINARYMIME (RFC 3030, 3), whose bodies may hold bare CR and
// LF, and any look inside a message.
package smtpwire
