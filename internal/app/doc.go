// Package app builds the program from its configuration and runs it: it is the
// one place that knows both the words of the file and the objects that they
// stand for. The commands of postern are thin calls of its functions, so that
// run, check and demo go the same way.
//
// A configuration is built into a plan: certificates, inbounds with their
// backends, outbounds with their gateways and rules, without side effects that
// outlive a failure. A service runs it. A reload builds a new plan beside the
// old, binds what has to be bound, and only then swaps; whatever fails before
// that leaves the service as it was. What has been learned, of clients, of
// backends and of destinations, and the keys of session tickets outlive a
// reload.
//
// The way in: Run in run.go starts a process, plan.go builds, inbound.go and
// outbound.go with rules.go say how, service.go swaps plans. state.go opens what
// is remembered of peers, admin.go shows it. The other commands are in check.go,
// demo.go, explain.go and peers.go; where a postern runs, the last two ask it
// through its admin socket (adminclient.go).
//
// Not done here: nothing of SMTP, and no decision about a client. That is
// package proxy's.
package app
