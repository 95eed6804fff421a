package config

import "net/netip"

// certificateHelp is what to write where a certificate is missing.
const certificateHelp = `certificate "mx" {
  cert_file = "fullchain.pem"
  key_file  = "privkey.pem"
}`

// addCertificate opens a certificate block. The value is appended to c once the
// block was read, so that a block with mistakes still counts as a name.
func (d *decoder) addCertificate(c *Config, s *section) table {
	cert := &Certificate{Name: s.label}
	d.once(d.certificates, s)
	d.certificates = append(d.certificates, written{s.name, s.label, s.labelRange})
	return table{
		fields: []field{
			filePath("cert_file", &cert.CertFile),
			filePath("key_file", &cert.KeyFile),
			selfSigned("self_signed", &cert.SelfSigned),
		},
		blocks: []block{{name: "acme", no: notYet("acme", "write cert_file and key_file, which certbot and other clients keep up to date, or self_signed")}},
		check: func(s *section) {
			d.checkCertificate(s)
			c.Certificates = append(c.Certificates, *cert)
		},
	}
}

// once reports a second block of the same name among those that must differ.
func (d *decoder) once(earlier []written, s *section) {
	for _, w := range earlier {
		switch {
		case w.name != s.label || s.label == "":
		case w.kind != s.name:
			d.wrong(s.labelRange, w.kind+" and "+s.name+" of the name "+quote(s.label), "The "+w.kind+" is in line "+line(w.at)+", and both appear in the same logs and metrics: give this one a name of its own.")
			return
		default:
			d.wrong(s.labelRange, "second "+s.name+" of the name "+quote(s.label), "The first one is in line "+line(w.at)+": give this one a name of its own.")
			return
		}
	}
}

func (d *decoder) checkCertificate(s *section) {
	cert, key, self := s.has("cert_file"), s.has("key_file"), s.has("self_signed")
	switch {
	case self && (cert || key):
		d.wrong(s.place("self_signed"), "files and self_signed in one certificate", "Write either cert_file and key_file, or self_signed.")
	case !self && !cert && !key:
		d.wrong(s.at, "a certificate without files", "Write\n"+indent(certificateHelp)+"\nor self_signed = [\"mx1.example.org\"].")
	case cert && !key:
		d.wrong(s.at, "key_file is missing", `Write key_file = "privkey.pem", the private key of cert_file.`)
	case key && !cert:
		d.wrong(s.at, "cert_file is missing", `Write cert_file = "fullchain.pem", the certificate with its chain, leaf first.`)
	}
}

// selfSigned is a list of names that go into a certificate.
func selfSigned(name string, target *[]string) field {
	return field{name: name, read: func(v value) {
		*target = each(v, `the names that clients connect to: self_signed = ["mx1.example.org"]`, parseCertificateName)
	}}
}

func parseCertificateName(v value, text string) (string, bool) {
	if _, err := netip.ParseAddr(text); err == nil || validHost(text, 1) {
		return text, true
	}
	v.wrong("not a host name or address: "+quote(text), `Write a name that clients connect to, as in "mx1.example.org".`)
	return "", false
}
