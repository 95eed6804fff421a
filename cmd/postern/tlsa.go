package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"postern/internal/app"
)

func newTLSA() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tlsa [FILE.pem ...]",
		Short: "Print TLSA records (DANE) for certificates and keys",
		Long: "Print the TLSA records to publish, as lines for a zone file: for every inbound of the configuration that shows a certificate, under the names and " +
			"ports by which senders know it, or for certificates, keys and certificate requests in PEM files. The records are of the form 3 1 1: they name the key, " +
			"and stay as they are when the certificate is renewed for the same key.\n\n" +
			"--next names the key, request or certificate that comes next: its record must be published for two TTLs before it is put into use.",
		Args: cobra.ArbitraryArgs,
	}
	var o app.TLSAOptions
	ports := tlsaFlags(cmd, &o)
	cmd.Flags().BoolVar(&o.Issuer, "issuer", false, "records (2 1 1) for the issuers too, as they stand behind the certificates in their files")
	cmd.Flags().StringVar(&o.IssuerFile, "issuer-file", "", "records (2 1 1) for the authorities in this PEM `FILE` too")
	cmd.Flags().Uint32Var(&o.TTL, "ttl", 3600, "TTL of the records in `SECONDS`")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if o.Ports, err = ports(); err != nil {
			return err
		}
		o.Files, o.Out, o.Log = args, cmd.OutOrStdout(), cmd.ErrOrStderr()
		return work(func(cmd *cobra.Command) error { return app.TLSA(cmd.Context(), o) })(cmd, args)
	}
	cmd.AddCommand(newTLSACheck())
	return cmd
}

func newTLSACheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Compare the published TLSA records with the certificates",
		Long: "Compare the TLSA records in the DNS with the certificates of the configuration, with those that the running server shows (to clients that verify ECDSA and to " +
			"those that verify RSA), and with the next key: is the zone signed, does each certificate pass, which records are stale, may the next key be put into use.\n\n" +
			"Since when a record is published is remembered in the state, so run it from cron: postern tlsa check --quiet. A postern that runs is asked through its admin " +
			"socket. The exit code is 0 when all is well, 1 when something is wanting.",
		Args: cobra.NoArgs,
	}
	var o app.TLSACheckOptions
	ports := tlsaFlags(cmd, &o.TLSAOptions)
	cmd.Flags().StringVar(&o.Connect, "connect", "", "ask the server at `HOST:PORT` for its certificates (default: where the inbound listens)")
	cmd.Flags().BoolVar(&o.Quiet, "quiet", false, "write only what is wanting: nothing when all is well")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if o.Ports, err = ports(); err != nil {
			return err
		}
		o.Out, o.Log = cmd.OutOrStdout(), cmd.ErrOrStderr()
		return work(func(cmd *cobra.Command) error { return app.CheckTLSA(cmd.Context(), o) })(cmd, args)
	}
	return cmd
}

// tlsaFlags adds the flags that say what TLSA records are about. The ports are to be read when
// the command runs.
func tlsaFlags(cmd *cobra.Command, o *app.TLSAOptions) (ports func() ([]uint16, error)) {
	f := cmd.Flags()
	config, asJSON := configFlag(cmd), jsonFlag(cmd)
	f.StringVar(&o.Inbound, "inbound", "", "the inbound of this `NAME` alone")
	f.StringSliceVar(&o.Names, "name", nil, "`HOST` name that MX records have for it (default: hostname, or the names in the certificate)")
	f.StringSliceVar(&o.Next, "next", nil, "PEM `FILE` of the next key: a key, a certificate request or a certificate")
	numbers := f.UintSlice("port", nil, "`PORT` that senders connect to (default: those that the inbound listens on, else 25)")
	return func() (all []uint16, err error) {
		o.Config, o.JSON = *config, *asJSON
		for _, n := range *numbers {
			if n == 0 || n > 65535 {
				return nil, fmt.Errorf("--port %d: give a number from 1 to 65535", n)
			}
			all = append(all, uint16(n))
		}
		return all, nil
	}
}
