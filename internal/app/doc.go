// Package app builds the program from its configuration and runs it: it is the
// one place that knows both the words of the file and the objects that they
// stand for. The commands of postern are thin calls of its functions, so that
// run, check and demo go the same way.
//
// A configuration is built into edges: certificates, backends and settings,
// without side effects that outlive a failure. A service runs them. A reload
// builds new edges beside the old, binds what has to be bound, and only then
// swaps; whatever fails before that leaves the service as it was. What has
// been learned, of clients and of backends, and the keys of session tickets
// outlive a reload.
//
// Not done here: nothing of SMTP, and no decision about a client. That is
// package proxy's.
package app
