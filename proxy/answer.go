package proxy

import (
	"fmt"

	"postern/smtpwire"
)

// answer is how one command will be answered: with a reply of ours, with the next
// reply of the upstream leg, to which the command has been queued, or with a reply
// that role.forward finds.
type answer struct {
	verb  smtpwire.Verb
	reply smtpwire.Reply // when the others are not set
	relay bool
	later *smtpwire.Reply
}

func own(r smtpwire.Reply) answer { return answer{reply: r} }

// ending is the error that ends a session in good order: a last reply for the
// client, if there is one, and the cause for log and metrics.
type ending struct {
	reply smtpwire.Reply
	cause Cause
	err   error
}

func (e *ending) Error() string {
	if e.err != nil {
		return fmt.Sprintf("%s: %v", e.cause, e.err)
	}
	return string(e.cause)
}

func (e *ending) Unwrap() error { return e.err }

func end(cause Cause, r smtpwire.Reply) error { return &ending{reply: r, cause: cause} }

func lost(cause Cause, err error) error { return &ending{cause: cause, err: err} }

// Replies of our own. RFC 2034, 4: an enhanced code on all but greetings and
// replies to EHLO and HELO.
var (
	replyOK               = smtpwire.NewReply(250, "2.0.0", "Ok")
	replyBye              = smtpwire.NewReply(221, "2.0.0", "Bye")
	replyReadyForTLS      = smtpwire.NewReply(220, "2.0.0", "Ready to start TLS")
	replyShutdown         = smtpwire.NewReply(421, "4.3.2", "Service shutting down, try again later")
	replySenderHeld       = smtpwire.NewReply(250, "2.1.0", "Ok")
	replyCannotVerify     = smtpwire.NewReply(252, "2.0.0", "Cannot verify, but will try")
	replyIdle             = smtpwire.NewReply(421, "4.4.2", "Timeout, closing connection")
	replySessionLong      = smtpwire.NewReply(421, "4.4.2", "Session too long, closing connection")
	replyNoBackend        = smtpwire.NewReply(421, "4.3.2", "Mail server not available, try again later")
	replyNoBackendNow     = smtpwire.NewReply(451, "4.4.1", "Mail server not available, try again later")
	replyBackendClosed    = smtpwire.NewReply(421, "4.3.2", "Mail server closed the connection, try again later")
	replyBackendLost      = smtpwire.NewReply(451, "4.4.2", "Connection to mail server lost, try again later")
	replyNotRedirected    = smtpwire.NewReply(421, "4.3.2", "This connection was not redirected here; it has no destination")
	replyLoop             = smtpwire.NewReply(421, "4.4.6", "This connection comes from here, and was redirected back")
	replyOtherDestination = smtpwire.NewReply(452, "4.5.3", "One destination in a transaction, send this recipient in the next one")
	replyTooManyDomains   = smtpwire.NewReply(452, "4.5.3", "Too many destinations in a transaction, send this recipient in the next one")
	replyTooManyConns     = smtpwire.NewReply(421, "4.7.0", "Too many connections, try again later")
	replyTooManyOfYou     = smtpwire.NewReply(421, "4.7.0", "Too many connections from your network, try again later")
	replyTooManyErrors    = smtpwire.NewReply(421, "4.7.0", "Too many errors, closing connection")
	replyGoAhead          = smtpwire.NewReply(354, "", "End data with <CR><LF>.<CR><LF>")
	replyUnknown          = smtpwire.NewReply(500, "5.5.1", "Command not recognized")
	replyBareNewline      = smtpwire.NewReply(500, "5.5.2", "Lines must end in CRLF")
	replyLineTooLong      = smtpwire.NewReply(500, "5.5.2", "Line too long")
	replyNUL              = smtpwire.NewReply(500, "5.5.2", "NUL is not allowed in commands")
	replySyntax           = smtpwire.NewReply(501, "5.5.4", "Syntax error in arguments")
	replyNoArguments      = smtpwire.NewReply(501, "5.5.4", "No arguments allowed")
	replyHelloName        = smtpwire.NewReply(501, "5.5.4", "Host name required")
	replyLMTP             = smtpwire.NewReply(421, "4.3.5", "This listener speaks LMTP (protocol = \"lmtp\"): send by LMTP")
	replySMTP             = smtpwire.NewReply(421, "4.3.5", "This listener speaks SMTP (protocol = \"smtp\"): send by SMTP")
	replyNotHere          = smtpwire.NewReply(502, "5.5.1", "Command not implemented")
	replyHelloFirst       = smtpwire.NewReply(503, "5.5.1", "Send EHLO first")
	replyNoRecipientsLMTP = smtpwire.NewReply(503, "5.5.1", "No valid recipients")
	replyMailFirst        = smtpwire.NewReply(503, "5.5.1", "Send MAIL first")
	replyNestedMail       = smtpwire.NewReply(503, "5.5.1", "Transaction already open")
	replyInChunks         = smtpwire.NewReply(503, "5.5.1", "Not while a message comes in chunks")
	replyNoMessage        = smtpwire.NewReply(503, "5.5.1", "The message was refused before")
	replyTLSAlready       = smtpwire.NewReply(503, "5.5.1", "TLS is active already")
	replyInjection        = smtpwire.NewReply(503, "5.5.1", "Input behind STARTTLS refused")
	replyAuthDone         = smtpwire.NewReply(503, "5.5.1", "Authenticated already")
	replyAuthInMail       = smtpwire.NewReply(503, "5.5.1", "AUTH is not allowed during a transaction")
	replyMechanism        = smtpwire.NewReply(504, "5.5.4", "Authentication mechanism not supported")
	replyAuthGone         = smtpwire.NewReply(454, "4.7.0", "Authentication not available now")
	replyTLSNot           = smtpwire.NewReply(454, "4.7.0", "TLS not available now")
	replyTLSFirst         = smtpwire.NewReply(530, "5.7.0", "Must issue a STARTTLS command first")
	replyAuthNeedsTLS     = smtpwire.NewReply(538, "5.7.11", "Encryption required for authentication")
	replyNotForClients    = smtpwire.NewReply(550, "5.7.0", "Not allowed")
	replyNoDomain         = smtpwire.NewReply(550, "5.1.3", "Address without a domain")
	replyBadDomain        = smtpwire.NewReply(553, "5.1.2", "Domain name not valid")
	replySenderUTF8       = smtpwire.NewReply(550, "5.6.7", "Address needs SMTPUTF8")
	replyRcptUTF8         = smtpwire.NewReply(553, "5.6.7", "Address needs SMTPUTF8")
	replyUTF8Gone         = smtpwire.NewReply(553, "5.6.7", "SMTPUTF8 is not supported by the mail server")
	replyBareInMessage    = smtpwire.NewReply(550, "5.5.2", "Message holds a bare CR or LF, refused")
	replyTooBig           = smtpwire.NewReply(552, "5.3.4", "Message too big")
	replyPipelining       = smtpwire.NewReply(554, "5.5.1", "Input before our reply refused")
	replyHTTP             = smtpwire.NewReply(554, "5.5.1", "This is not a web server")
	replyNoRecipients     = smtpwire.NewReply(554, "5.5.1", "No valid recipients")
	replyParamUnknown     = smtpwire.NewReply(555, "5.5.4", "Parameter not supported")
)
