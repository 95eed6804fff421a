// Package hello asks a TLS server what it would do with a ClientHello that is
// made by hand, and reads the answer up to where it is told: which version, cipher
// suite and key exchange group the server chooses, or the alert that it refuses
// with. One question takes one connection. Enough of them (Scan) give all that a
// server accepts and who decides the order.
//
// It exists because crypto/tls can only offer what it can do, and a measurement
// must offer what no client should: SSLv3, export, NULL and anonymous suites, RC4,
// finite-field Diffie-Hellman, static RSA, SHA-1 signatures. Nothing here does
// any of that. A handshake is never finished, no key is made and no
// signature looked at, so nothing that comes back is authenticated: whoever
// is on the path can answer in the server's place. It is for measuring
// a server and never for mail.
//
// What can be seen differs:
//
//   - up to TLS 1.2 all of the server's first flight is in clear: hello,
//     certificates, OCSP response, key exchange parameters and
//     their signature algorithm (RFC 5246, 7.3);
//   - in TLS 1.3 the certificate is encrypted. The ClientHello carries no key
//     share, so that the server must name its choice of group in a
//     HelloRetryRequest (RFC 8446, 4.1.4 and 4.2.8), which names the suite as
//     well; there it ends. A TLS 1.3 server that cannot ask for a retry
//     refuses.
//
// SSLv2, whose hello has another form, is not spoken; neither is DTLS.
package hello
