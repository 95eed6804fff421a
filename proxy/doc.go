// Package proxy carries one SMTP connection from accept to relay.
//
// A session has a downstream leg, to the party that connected to us, and once
// it is needed an upstream leg, to the party that we connect to. We speak as a
// server on the one and as a client on the other; nothing is tunnelled, so
// nothing that one side sends reaches the other without having been
// understood.
//
// A session is a list of steps: accept (the PROXY header), greet, talk in
// clear, secure (the TLS handshake), talk in TLS. Talking is a loop that reads
// a group of pipelined commands (RFC 2920), asks a handler for the answer to
// each, sends what has to be sent upstream in one write and answers the client
// in one. Handlers return an answer and write nothing.
//
// An inbound and an outbound are the same session in two roles. An inbound dials
// its backend when that is first needed, and relays. An outbound holds MAIL until a
// recipient says where the message goes: then a Gateway finds the servers of the
// destination, asks package policy how safe the connection must be, tries one server
// after the other until that is met and the recipient taken, and the message streams to
// one server, or in LMTP to the servers of many destinations at once.
//
// What is defended here: plaintext that is executed inside TLS, passwords in
// clear, two messages out of one, a backend that takes everybody for a trusted
// host, and every way to hold resources. The limits and the reasons stand
// beside the code. What is not: anything that is decided by looking into a
// message; that is the backend's.
//
// A message is never owned: 250 is answered after the backend has answered it.
package proxy
