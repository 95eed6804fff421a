package main

import (
	"errors"

	"github.com/spf13/cobra"

	"postern/internal/app"
)

func newProbe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "probe HOST-OR-DOMAIN…",
		Short: "Grade the TLS of mail domains and servers, as senders see it",
		Long: "Look at mail domains and servers as a stranger does who sends mail there, and grade what is seen as the mail test of internet.nl does: DNSSEC, STARTTLS on every " +
			"mail exchanger, versions, cipher suites, key exchange, certificates, DANE, MTA-STS, TLSRPT.\n\n" +
			"A name with MX records is a domain, any other one a host; HOST:PORT and [HOST] are hosts in any case, and port 465 has TLS from the first octet. " +
			"No mail is sent. No configuration is needed; where there is one, its resolver and the port, roots and addresses of its first outbound are used.\n\n" +
			"The exit code is 0 when all is good or sufficient, else 1: something is to be phased out, insufficient, or could not be found out.",
	}
	o := app.ProbeOptions{}
	file, asJSON := configFlag(cmd), jsonFlag(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.CSV, "csv", false, "write one line of CSV for each target")
	f.StringVar(&o.File, "file", "", "look at what is on the lines of `FILE` too (- is standard input), and write a table")
	f.IntVar(&o.Parallel, "parallel", 8, "look at so many targets at once")
	f.BoolVar(&o.AllAddresses, "all-addresses", false, "look at all addresses of each host, not only the first")
	f.Uint16Var(&o.Port, "port", 0, "connect to this port where a target names none (default 25)")
	f.BoolVar(&o.Implicit, "implicit-tls", false, "begin with TLS, as on port 465, on any port")
	f.DurationVar(&o.Limit, "time-limit", 0, "spend no more than this on one address (default 3m0s)")
	cmd.MarkFlagsMutuallyExclusive("json", "csv")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 && o.File == "" {
			return errors.New("name a domain or host, or a --file of them")
		}
		if o.Parallel < 1 || o.Parallel > 256 {
			return errors.New("--parallel: write a number from 1 to 256")
		}
		if cmd.Flags().Changed("time-limit") && o.Limit <= 0 {
			return errors.New("--time-limit: write how long, such as 3m")
		}
		o.Targets, o.Config, o.JSON = args, *file, *asJSON
		o.In, o.Out, o.Log = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
		return work(func(cmd *cobra.Command) error { return app.Probe(cmd.Context(), o) })(cmd, args)
	}
	return cmd
}
