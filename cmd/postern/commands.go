package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"postern/internal/app"
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "postern",
		Short:         "A transparent STARTTLS proxy for SMTP",
		Long:          "postern stands in front of a mail server and gives it modern TLS, without the mail server knowing.\n\nTo see it work, without any configuration: postern demo",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       app.ThisVersion().Version,
	}
	root.AddCommand(newRun(), newCheck(), newExplain(), newProbe(), newPeers(), newRedirect(), newTLSA(), newDNSRecords(), newUpgrade(), newHealthcheck(), newDemo(), newVersion())
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		cmd.SetOut(cmd.ErrOrStderr())
		return errors.Join(errNoCommand, cmd.Help())
	}
	return root
}

// errNoCommand is the use of the program without a command. The help has been
// shown then.
var errNoCommand = errors.New("no command")

// work turns what fn returns into a failure.
func work(fn func(cmd *cobra.Command) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		if err := fn(cmd); err != nil {
			return failure{err}
		}
		return nil
	}
}

func configFlag(cmd *cobra.Command) *string {
	file := cmd.Flags().String("config", "", "configuration `FILE` (default ./config.hcl unless root, then /etc/postern/config.hcl)")
	// The flag exists, or the line above would have panicked.
	_ = cmd.MarkFlagFilename("config", "hcl")
	return file
}

func jsonFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "write the result as JSON")
}

func newRun() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the proxy",
		Long: "Run the proxy until SIGTERM. SIGHUP reads the configuration and the certificates again without dropping a session; SIGTERM or SIGINT lets messages under way finish, a second one does not wait.\n\n" +
			"The exit code is 0 after SIGTERM, 78 when the configuration is missing or has mistakes, and 1 when something else keeps it from running, such as a port in use.",
		Args: cobra.NoArgs,
	}
	file := configFlag(cmd)
	cmd.RunE = work(func(cmd *cobra.Command) error {
		return app.Run(cmd.Context(), *file, cmd.ErrOrStderr())
	})
	return cmd
}

func newUpgrade() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Replace the running process by a new one, without dropping a session",
		Long: "Have the postern that runs start the program anew, with the sockets that it listens on, and hand over to it: after a new version was installed, or after a change of " +
			"the configuration that needs a restart. No connection is refused and no session cut: the old process finishes those that it has, within shutdown_grace, and ends.\n\n" +
			"It is asked through its admin socket. When the new process cannot start, the old one goes on as if nothing had happened; the exit code is 1 then, and the reason is written. " +
			"A process of systemd's stays one. Process 1 of a container cannot be replaced: start a new container there.",
		Args: cobra.NoArgs,
	}
	file, asJSON := configFlag(cmd), jsonFlag(cmd)
	binary := cmd.Flags().String("binary", "", "run this `FILE`, with its whole path (default: the path that the running process was started from)")
	cmd.RunE = work(func(cmd *cobra.Command) error {
		return app.Upgrade(cmd.Context(), app.UpgradeOptions{Config: *file, Binary: *binary, JSON: *asJSON, Out: cmd.OutOrStdout()})
	})
	return cmd
}

func newCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration without running it",
		Long:  "Check everything that can be checked without running: the configuration, the files of certificates and roots, addresses and limits. It binds no port and asks no backend. The exit code is 0 when nothing is wrong, else 1.",
		Args:  cobra.NoArgs,
	}
	file, asJSON := configFlag(cmd), jsonFlag(cmd)
	cmd.RunE = work(func(cmd *cobra.Command) error {
		return app.Check(cmd.Context(), app.CheckOptions{Config: *file, JSON: *asJSON, Out: cmd.OutOrStdout()})
	})
	return cmd
}

func newHealthcheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the postern that runs whether it is healthy",
		Long: "Ask the postern that runs with this configuration whether it can take mail: through its admin page, else its admin socket, else by connecting to all that it listens on. " +
			"It is made for the health checks of containers: one line, the exit code is 0 when it is healthy, else 1, and it takes 5 seconds at most.",
		Args: cobra.NoArgs,
	}
	file := configFlag(cmd)
	live := cmd.Flags().Bool("live", false, "ask only whether the process works: for whatever restarts it when not")
	cmd.RunE = work(func(cmd *cobra.Command) error {
		return app.Healthcheck(cmd.Context(), app.HealthOptions{Config: *file, Live: *live, Out: cmd.OutOrStdout()})
	})
	return cmd
}

func newDemo() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show it at work: no configuration, no root, no network",
		Long:  "Start a throw-away mail server and postern in front of it, send a message through STARTTLS, and stay up for more until Ctrl-C. Everything is on loopback and in memory.",
		Args:  cobra.NoArgs,
	}
	once := cmd.Flags().Bool("once", false, "leave after the first message; the exit code tells whether it arrived over TLS")
	cmd.RunE = work(func(cmd *cobra.Command) error {
		return app.Demo(cmd.Context(), app.DemoOptions{Once: *once, Out: cmd.OutOrStdout(), Log: cmd.ErrOrStderr()})
	})
	return cmd
}

func newVersion() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs}
	asJSON := jsonFlag(cmd)
	cmd.RunE = work(func(cmd *cobra.Command) error { return printVersion(cmd.OutOrStdout(), *asJSON) })
	return cmd
}

func printVersion(w io.Writer, asJSON bool) error {
	v := app.ThisVersion()
	if asJSON {
		return json.NewEncoder(w).Encode(v)
	}
	_, err := fmt.Fprintln(w, v)
	return err
}
