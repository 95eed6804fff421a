package main

import (
	"errors"

	"github.com/spf13/cobra"

	"postern/internal/app"
)

func newDNSRecords() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dns-records [DOMAIN ...]",
		Short: "Print the DNS records that mail domains should publish",
		Long: "Print what the domains whose mail comes to the inbounds of the configuration should publish, as lines for their zone files: MX, the MTA-STS record with its " +
			"policy, the TLSRPT record, and the TLSA records of the mail hosts. Each is marked: published, missing, or different from what is there. Without a domain " +
			"it is the one that hostname is in.\n\n" +
			"The exit code is 0 when the records could be made; with --check 1 when something is missing or differs.",
		Args: cobra.ArbitraryArgs,
	}
	var o app.DNSRecordsOptions
	config, asJSON, f := configFlag(cmd), jsonFlag(cmd), cmd.Flags()
	f.StringVar(&o.Inbound, "inbound", "", "the inbound of this `NAME` alone")
	f.StringSliceVar(&o.Names, "name", nil, "`HOST` name of our mail host (default: hostname)")
	f.StringSliceVar(&o.MX, "mx", nil, "another `HOST` that takes mail for the domains, which is not ours")
	f.StringSliceVar(&o.Next, "next", nil, "PEM `FILE` of the next key, for its TLSA record")
	f.BoolVar(&o.Issuer, "issuer", false, "TLSA records for the issuers too, as they stand behind the certificates in their files")
	f.StringVar(&o.IssuerFile, "issuer-file", "", "TLSA records for the authorities in this PEM `FILE` too")
	f.Uint32Var(&o.TTL, "ttl", 3600, "TTL of the records in `SECONDS`")
	f.StringVar(&o.Mode, "mode", "", "`MODE` of the MTA-STS policy: testing, enforce or none (default: as it is published, else testing)")
	f.DurationVar(&o.MaxAge, "max-age", 0, "how `LONG` senders keep the policy, such as 168h (default: as it is published, else a week)")
	f.StringSliceVar(&o.Reports, "rua", nil, "mail `ADDRESS` or URL for TLSRPT reports")
	f.BoolVar(&o.Policy, "policy", false, "write the policy file alone, as it must be served")
	f.BoolVar(&o.Offline, "offline", false, "do not look at what is published")
	f.BoolVar(&o.Check, "check", false, "exit with 1 when something is missing or differs")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if o.Check && o.Offline {
			return errors.New("--check looks at what is published: leave --offline out")
		}
		o.Config, o.JSON, o.Domains, o.Out, o.Log = *config, *asJSON, args, cmd.OutOrStdout(), cmd.ErrOrStderr()
		return work(func(cmd *cobra.Command) error { return app.DNSRecords(cmd.Context(), o) })(cmd, args)
	}
	return cmd
}
