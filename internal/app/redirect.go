package app

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"postern/redirect"
)

// RedirectOptions is what the commands of postern redirect are asked for, as it was
// written.
type RedirectOptions struct {
	Outbound, Inbound uint16
	From              []string // networks
	TPROXY            bool
	ExemptUIDs        []string // numbers or names; empty: the user that postern runs as
	ExemptMarks       []string
	ExemptNetworks    []string
	Transparent       []string // addresses with ports
	DryRun            bool
	Out, Log          io.Writer // for the result, and for what is to be noted
}

// InstallRedirect has the kernel turn connections over to postern; with DryRun it prints
// the rules instead.
func InstallRedirect(o RedirectOptions) error {
	rules, err := o.read()
	if err != nil {
		return err
	}
	if o.DryRun {
		_, err := io.WriteString(o.Out, rules.Print())
		return err
	}
	notes, err := redirect.Host{}.Install(rules)
	if err != nil {
		return redirectProblem(err)
	}
	for _, text := range append(notes, notYet(rules)...) {
		fmt.Fprintf(o.Log, "postern: %s\n", text)
	}
	for _, text := range installed(rules) {
		fmt.Fprintln(o.Out, text)
	}
	return nil
}

// RemoveRedirect has the kernel leave connections alone again; with DryRun it says what
// it would remove.
func RemoveRedirect(o RedirectOptions) error {
	if o.DryRun {
		_, err := io.WriteString(o.Out, redirect.PrintRemoval())
		return err
	}
	removed, err := redirect.Host{}.Remove()
	if err != nil {
		return redirectProblem(err)
	}
	text := "connections are not redirected any more"
	if !removed {
		text = "nothing was installed"
	}
	_, err = fmt.Fprintln(o.Out, text)
	return err
}

// read makes options out of words.
func (o RedirectOptions) read() (r redirect.Options, err error) {
	r = redirect.Options{Outbound: o.Outbound, Inbound: o.Inbound, TPROXY: o.TPROXY}
	var wrong [5]error
	r.From, wrong[0] = readAll("--from", o.From, readNetwork)
	r.Exempt.Networks, wrong[1] = readAll("--exempt-network", o.ExemptNetworks, readNetwork)
	r.Exempt.UIDs, wrong[2] = readAll("--exempt-uid", o.ExemptUIDs, readUser)
	r.Exempt.Marks, wrong[3] = readAll("--exempt-mark", o.ExemptMarks, readMark)
	r.Transparent, wrong[4] = readAll("--transparent", o.Transparent, netip.ParseAddrPort)
	if err := errors.Join(wrong[:]...); err != nil {
		return r, err
	}
	if r.Outbound != 0 && len(r.From) == 0 && !r.TPROXY && len(r.Exempt.UIDs) == 0 && len(r.Exempt.Marks) == 0 {
		if r.Exempt.UIDs, err = usualUser(r.Outbound); err != nil {
			return r, err
		}
	}
	if err := r.Check(); err != nil {
		return r, redirectProblem(err)
	}
	return r, nil
}

func readAll[T any](flag string, words []string, read func(string) (T, error)) (all []T, err error) {
	for _, w := range words {
		v, wrong := read(w)
		if wrong != nil {
			err = errors.Join(err, fmt.Errorf("%s %s: %w", flag, w, wrong))
		}
		all = append(all, v)
	}
	return all, err
}

// readNetwork reads a network, or one address.
func readNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a.WithZone(""), a.BitLen()), nil
	}
	n, err := netip.ParsePrefix(text)
	return n.Masked(), err
}

func readUser(text string) (uint32, error) {
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		return uint32(n), nil
	}
	u, err := user.Lookup(text)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(u.Uid, 10, 32)
	return uint32(n), err
}

func readMark(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 0, 32)
	if err == nil && n == 0 {
		err = errors.New("every socket has this mark: name another")
	}
	return uint32(n), err
}

// usualUser is the user that postern runs as, as far as it can be known: the owner of the
// socket that listens on the port, else the user called postern. What would exempt the mail
// server too, or nobody, is not guessed.
func usualUser(port uint16) ([]uint32, error) {
	const hint = "Write --exempt-uid with the user that postern runs as, and that the mail server does not run as; or --exempt-mark with the mark of its configuration."
	owners := redirect.Listeners(port)
	switch {
	case slices.Contains(owners, 0):
		return nil, problem(hint, "the socket on port %d belongs to root, as others may too: whose connections are postern's own?", port)
	case len(owners) > 0:
		return owners, nil
	}
	uid, err := readUser("postern")
	if err != nil {
		return nil, problem(hint, "nothing listens on port %d, and there is no user called postern: whose connections are postern's own?", port)
	}
	return []uint32{uid}, nil
}

// redirectProblem says what to do about an error of redirect.
func redirectProblem(err error) error {
	for _, one := range []struct {
		is   error
		hint string
	}{
		{redirect.ErrNothing, "Write --outbound PORT, --inbound PORT, or --transparent ADDRESS:PORT."},
		{redirect.ErrNoNetworks, "Write --from with them."},
		{redirect.ErrPermission, "Run it as root, or with CAP_NET_ADMIN: docker run --cap-add NET_ADMIN, securityContext.capabilities.add [\"NET_ADMIN\"] of the init container."},
		{redirect.ErrNoNftables, "It takes the modules nf_tables, nft_chain_nat, nft_redir and nft_fib_inet, with --tproxy nft_tproxy and nft_reject_inet (see: modprobe, lsmod)."},
		{redirect.ErrNotOurs, "See it: nft list table inet postern. If nobody needs it: nft delete table inet postern."},
		{redirect.ErrInUse, "Stop that one, or take its rules away first: postern redirect remove. Two of them cannot share port 25 of one machine or pod."},
		{redirect.ErrNoIPv6, "Leave that backend out, or switch IPv6 on: sysctl net.ipv6.conf.lo.disable_ipv6=0."},
		{redirect.ErrRoutesInUse, "See them: ip route show table 2525; ip -6 route show table 2525."},
	} {
		if errors.Is(err, one.is) {
			return problem(one.hint, "%w", err)
		}
	}
	return err
}

// notYet tells of ports that nobody listens on so far.
func notYet(o redirect.Options) (all []string) {
	for _, port := range []uint16{o.Outbound, o.Inbound} {
		if port != 0 && len(redirect.Listeners(port)) == 0 {
			all = append(all, fmt.Sprintf("nothing listens on port %d yet: until postern does, connections are refused, and mail waits where it is", port))
		}
	}
	return all
}

// installed says what was done.
func installed(o redirect.Options) (all []string) {
	if o.Outbound != 0 {
		whose := "that this machine opens"
		if len(o.From) > 0 {
			whose = "from " + words(o.From)
		}
		all = append(all, fmt.Sprintf("connections to port 25 %s go to port %d", whose, o.Outbound))
	}
	if len(o.Exempt.UIDs) > 0 && len(o.From) == 0 {
		all = append(all, "except those of the user "+words(o.Exempt.UIDs))
	}
	if o.Inbound != 0 {
		all = append(all, fmt.Sprintf("connections to port 25 of this machine go to port %d", o.Inbound))
	}
	if len(o.Transparent) > 0 {
		all = append(all, "what these answer to clients comes back to postern: "+words(o.Transparent))
	}
	return all
}

func words[T any](values []T) string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = fmt.Sprint(v)
	}
	return strings.Join(all, ", ")
}
