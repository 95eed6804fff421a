package main

import (
	"errors"

	"github.com/spf13/cobra"

	"postern/internal/app"
)

func newRedirect() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "redirect",
		Short: "Have the kernel turn connections to port 25 over to postern",
		Long: "Have the kernel turn connections to port 25 over to postern, so that a mail server needs no new setting. The rules are in an nftables table of their own, " +
			"inet postern, and take no program but this one. While postern does not run, redirected connections are refused: nothing leaves in clear.\n\n" +
			"It needs root, or CAP_NET_ADMIN. The rules do not survive a reboot: install them at each start.",
	}
	cmd.AddCommand(newRedirectInstall("install", "Install the rules, in place of those before"), newRedirectInstall("print", "Print the rules that install would install, for nft -f"), newRedirectRemove())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cmd.SetOut(cmd.ErrOrStderr())
		return errors.Join(errNoCommand, cmd.Help())
	}
	return cmd
}

func newRedirectInstall(use, short string) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs}
	var o app.RedirectOptions
	f := cmd.Flags()
	f.Uint16Var(&o.Outbound, "outbound", 0, "the `PORT` of the outbound that takes connections to port 25 elsewhere; it needs route = \"original\"")
	f.Uint16Var(&o.Inbound, "inbound", 0, "the `PORT` of the inbound that takes connections to port 25 of this machine")
	f.StringSliceVar(&o.ExemptUIDs, "exempt-uid", nil, "leave the connections of these `USERS` alone (default: the user that postern runs as)")
	f.StringSliceVar(&o.ExemptMarks, "exempt-mark", nil, "leave connections with these `MARKS` alone: mark in the configuration of postern")
	f.StringSliceVar(&o.ExemptNetworks, "exempt-network", nil, "leave connections to, and with --inbound from, these `NETWORKS` alone")
	f.StringSliceVar(&o.From, "from", nil, "on a gateway: take what is forwarded for these `NETWORKS`, not what this machine opens")
	f.BoolVar(&o.TPROXY, "tproxy", false, "with --from: hand connections over by TPROXY; the outbound needs transparent = true")
	f.StringSliceVar(&o.Transparent, "transparent", nil, "bring back what these backends (`ADDRESS:PORT`) answer, for client_address = \"transparent\"")
	if use == "print" {
		o.DryRun = true
	} else {
		f.BoolVar(&o.DryRun, "dry-run", false, "print the rules and install nothing")
	}
	cmd.RunE = work(func(cmd *cobra.Command) error {
		o.Out, o.Log = cmd.OutOrStdout(), cmd.ErrOrStderr()
		return app.InstallRedirect(o)
	})
	return cmd
}

func newRedirectRemove() *cobra.Command {
	cmd := &cobra.Command{Use: "remove", Short: "Remove what install has installed", Args: cobra.NoArgs}
	dry := cmd.Flags().Bool("dry-run", false, "print what would be removed and remove nothing")
	cmd.RunE = work(func(cmd *cobra.Command) error {
		return app.RemoveRedirect(app.RedirectOptions{DryRun: *dry, Out: cmd.OutOrStdout(), Log: cmd.ErrOrStderr()})
	})
	return cmd
}
