package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"postern/internal/app"
)

func newPeers() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "peers",
		Short: "Show what is remembered of other mail systems, or forget it",
		Long: "Show what is remembered of the servers and clients that mail was exchanged with: the TLS that they can do, whose certificate must validate " +
			"because it always has, and with whom STARTTLS is not tried for now; and the MTA-STS policies and TLSA records that destinations have published.\n\n" +
			"What a destination still publishes is found out again with the next mail: forgetting helps where it has been taken back.\n\n" +
			"A postern that runs is asked through its admin socket. Without one, the file of the state is read; it must not be in use then.",
	}
	cmd.AddCommand(
		newPeersCommand("list", "List all of them", cobra.NoArgs, app.ListPeers),
		newPeersCommand("show NAME", "Show all about a domain, a server or the address of a client", cobra.ExactArgs(1), app.ShowPeer),
		newPeersCommand("forget NAME", "Forget a domain, a server or the address of a client", cobra.ExactArgs(1), app.ForgetPeer),
	)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cmd.SetOut(cmd.ErrOrStderr())
		return errors.Join(errNoCommand, cmd.Help())
	}
	return cmd
}

func newPeersCommand(use, short string, args cobra.PositionalArgs, do func(app.PeersOptions) error) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: args}
	file, asJSON := configFlag(cmd), jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o := app.PeersOptions{Config: *file, JSON: *asJSON, Out: cmd.OutOrStdout()}
		if len(args) > 0 {
			o.Name = args[0]
		}
		return work(func(*cobra.Command) error { return do(o) })(cmd, args)
	}
	return cmd
}

func newExplain() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain DOMAIN",
		Short: "Explain where mail for a domain would go, and how safely",
		Long: "Explain what would be done with mail for a domain, or for the domain of an address: the servers that it would go to, the TLS that each must do, " +
			"who asks for that, and what happens otherwise. No mail server is connected to: only the DNS is asked, and an MTA-STS policy fetched where that is due.\n\n" +
			"A postern that runs is asked through its admin socket: it knows best. Without one, the configuration and the state are read. " +
			"The exit code is 0 when mail could go out, 1 when it could not, and 2 when what was asked about is no domain.",
		Args: cobra.ExactArgs(1),
	}
	file, asJSON := configFlag(cmd), jsonFlag(cmd)
	outbound := cmd.Flags().String("outbound", "", "explain what the outbound of this `NAME` would do (default: each)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !app.IsDestination(args[0]) {
			return fmt.Errorf("%q is no domain: write one such as example.com, or the address of a recipient", args[0])
		}
		return work(func(cmd *cobra.Command) error {
			return app.Explain(cmd.Context(), app.ExplainOptions{
				Domain: args[0], Outbound: *outbound, Config: *file, JSON: *asJSON, Out: cmd.OutOrStdout(), Log: cmd.ErrOrStderr(),
			})
		})(cmd, args)
	}
	return cmd
}
