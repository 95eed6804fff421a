package mtasts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	fetchTime     = time.Minute // RFC 8461, 3.3: for the whole of a fetch
	maxHeaderSize = 16 << 10
)

// URL is where a domain's policy is (RFC 8461, 3.2).
func URL(domain string) string { return "https://mta-sts." + domain + "/.well-known/mta-sts.txt" }

// failure is a discovery that found no policy.
type failure struct {
	result Result
	why    string
}

func failed(result Result, format string, args ...any) *failure {
	return &failure{result, oneLine(fmt.Sprintf(format, args...))}
}

// fetcher gets policies over HTTPS.
type fetcher struct {
	dial         func(ctx context.Context, network, address string) (net.Conn, error)
	tls          *tls.Config
	agent        string
	anyMediaType bool
}

func newFetcher(o *Options) *fetcher {
	f := &fetcher{
		dial: o.Dial,
		tls: &tls.Config{
			// RFC 8461, 3.3: the certificate is valid for mta-sts.DOMAIN, by its DNS names
			// alone, and leads to a trusted root. crypto/tls checks just that for the URL's host.
			RootCAs:    o.Roots,
			MinVersion: tls.VersionTLS12,
			Time:       o.Now,
		},
		agent:        o.UserAgent,
		anyMediaType: o.AnyMediaType,
	}
	if f.dial == nil {
		f.dial = (&net.Dialer{}).DialContext
	}
	return f
}

// client is for one fetch, and its connection ends with ctx: a transport by itself lets a dial and
// a handshake go on, for requests to come.
func (f *fetcher) client(ctx context.Context) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy: nil, // what an environment says of proxies is not for mail's policies
			DialContext: func(_ context.Context, network, address string) (net.Conn, error) {
				conn, err := f.dial(ctx, network, address)
				if err == nil {
					context.AfterFunc(ctx, func() { conn.Close() })
				}
				return conn, err
			},
			TLSClientConfig:        f.tls,
			DisableKeepAlives:      true, // the next fetch is tomorrow
			DisableCompression:     true, // 64 KiB are 64 KiB
			MaxResponseHeaderBytes: maxHeaderSize,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // RFC 8461, 3.3: redirects MUST NOT be followed
		},
	}
}

// fetch returns the policy file of a canonical domain.
func (f *fetcher) fetch(ctx context.Context, domain string) (body string, fail *failure) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, URL(domain), nil)
	if err != nil {
		return "", failed(FetchError, "%v", err)
	}
	request.Header.Set("User-Agent", f.agent)
	response, err := f.client(ctx).Do(request)
	if err != nil {
		return "", explain(ctx, domain, err)
	}
	defer response.Body.Close()
	if fail := f.refuse(response); fail != nil {
		return "", fail
	}
	octets, err := io.ReadAll(io.LimitReader(response.Body, MaxPolicySize+1))
	if err != nil {
		return "", explain(ctx, domain, err)
	}
	if len(octets) > MaxPolicySize {
		return "", failed(FetchError, "%s has more than %d octets", URL(domain), MaxPolicySize)
	}
	return string(octets), nil
}

// refuse says what is wrong with an answer before its body.
func (f *fetcher) refuse(r *http.Response) *failure {
	address := r.Request.URL.String()
	switch location := r.Header.Get("Location"); {
	case r.StatusCode/100 == 3 && location != "":
		return failed(FetchError, "%s answers %d and points to %s, and redirects must not be followed", address, r.StatusCode, quote(location))
	case r.StatusCode != http.StatusOK:
		return failed(FetchError, "%s answers %d instead of 200", address, r.StatusCode)
	}
	// RFC 8461, 3.2: text/plain, because a web server may let its users put other things at
	// a path of their choice. Parameters are ignored, also those that cannot be read.
	sent := r.Header.Get("Content-Type")
	kind, _, err := mime.ParseMediaType(sent)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		kind = ""
	}
	if kind != "text/plain" && !f.anyMediaType {
		return failed(PolicyInvalid, "%s has the media type %s instead of text/plain", address, quote(sent))
	}
	return nil
}

// explain tells a certificate that is not valid from other ways to fail.
func explain(ctx context.Context, domain string, err error) *failure {
	var invalid *tls.CertificateVerificationError
	var name x509.HostnameError
	var outer *url.Error
	switch {
	case errors.As(err, &name):
		return failed(WebPKIInvalid, "the certificate of mta-sts.%s is not valid for that name: %v", domain, name)
	case errors.As(err, &invalid):
		return failed(WebPKIInvalid, "the certificate of mta-sts.%s is not valid: %v", domain, invalid.Err)
	case ctx.Err() == context.DeadlineExceeded:
		return failed(FetchError, "%s was not there within %v", URL(domain), fetchTime)
	case errors.As(err, &outer):
		err = outer.Err
	}
	return failed(FetchError, "%s cannot be fetched: %v", URL(domain), err)
}

// oneLine makes a text with the words of others fit for a log and a reply.
func oneLine(s string) string {
	const most = 300
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s[:min(len(s), 2*most)])
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
