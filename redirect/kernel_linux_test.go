package redirect

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"github.com/google/nftables"
	nlmsg "github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nltest"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// kernel is one that a test plays: it has no tables, and refuses as it is told.
type kernel struct {
	list, change syscall.Errno // 0: it does as it is told
	batches      [][]nlmsg.HeaderType
}

func (k *kernel) host() Host {
	return Host{options: []nftables.ConnOption{nftables.WithTestDial(k.answer)}}
}

func (k *kernel) answer(req []nlmsg.Message) ([]nlmsg.Message, error) {
	switch {
	case len(req) == 0:
		return nil, io.EOF
	case len(req) == 1:
		if k.list != 0 {
			return refusal(k.list, req[0])
		}
		return nil, io.EOF
	}
	var types []nlmsg.HeaderType
	for _, m := range req {
		types = append(types, m.Header.Type&0xff)
	}
	k.batches = append(k.batches, types)
	if k.change != 0 {
		return refusal(k.change, req[1])
	}
	return nil, io.EOF
}

// refusal has no flags: those of a request mean something else there.
func refusal(number syscall.Errno, req nlmsg.Message) ([]nlmsg.Message, error) {
	req.Header.Flags = 0
	return nltest.Error(int(number), []nlmsg.Message{req})
}

var sidecar = Options{Outbound: 10025, Inbound: 2500, Exempt: Exempt{UIDs: []uint32{998}}, Transparent: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:25")}}

func TestWhatTheKernelLacksIsSaid(t *testing.T) {
	inNamespace(t, func() {
		for name, c := range map[string]struct {
			k    kernel
			want error
		}{
			"no nftables":      {kernel{list: syscall.EOPNOTSUPP}, ErrNoNftables},
			"no netfilter":     {kernel{list: syscall.EPROTONOSUPPORT}, ErrNoNftables},
			"no NAT":           {kernel{change: syscall.ENOENT}, ErrNoNftables},
			"no fib":           {kernel{change: syscall.EOPNOTSUPP}, ErrNoNftables},
			"no permission":    {kernel{list: syscall.EPERM}, ErrPermission},
			"none to change":   {kernel{change: syscall.EPERM}, ErrPermission},
			"no memory at all": {kernel{change: syscall.ENOMEM}, syscall.ENOMEM},
		} {
			if _, err := c.k.host().Install(sidecar); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
			if c.k.change != 0 && len(c.k.batches) != 1 {
				t.Errorf("%s: it was sent %d batches", name, len(c.k.batches))
			}
			if rules, err := ourRules(); err != nil || len(rules) > 0 {
				t.Errorf("%s: there are rules left: %v %v", name, rules, err)
			}
			if routes, err := ourRoutes(unix.AF_INET); err != nil || len(routes) > 0 {
				t.Errorf("%s: there are routes left: %v %v", name, routes, err)
			}
			if _, err := c.k.host().Remove(); c.k.list != 0 && !errors.Is(err, c.want) {
				t.Errorf("%s, to remove: %v, want %v", name, err, c.want)
			}
		}
	})
}

// The whole table is one batch: there is no moment with half of it.
func TestTheTableIsOneTransaction(t *testing.T) {
	inNamespace(t, func() {
		k := kernel{}
		if _, err := k.host().Install(sidecar); err != nil {
			t.Fatal(err)
		}
		if len(k.batches) != 1 || slices.Contains(k.batches[0], unix.NFT_MSG_DELTABLE) {
			t.Errorf("the first time it was sent %v", k.batches)
		}
		tables := slices.DeleteFunc(slices.Clone(k.batches[0]), func(m nlmsg.HeaderType) bool { return m != unix.NFT_MSG_NEWCHAIN })
		if len(tables) != 4 { // outbound, inbound, output, prerouting
			t.Errorf("it was sent %d chains", len(tables))
		}
	})
	inNamespace(t, func() {
		for range 2 {
			if _, err := (Host{}).Install(sidecar); err != nil {
				t.Fatal(err)
			}
		}
		found, err := look(nftablesHere(t))
		if err != nil || !found.exists || !slices.Equal(found.ports, []uint16{10025, 2500}) {
			t.Errorf("found %+v, %v", found, err)
		}
	})
}

func nftablesHere(t *testing.T) *nftables.Conn {
	conn, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// inNamespace calls f in a network namespace of its own, or skips the test.
func inNamespace(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = up()
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Skipf("no network namespace: %v", err)
	}
}

func up() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

func TestTheOwnerOfAListenerIsFound(t *testing.T) {
	const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
	for line, want := range map[string]bool{
		head: false,
		"":   false,
		"   0: 0100007F:2729 00000000:0000 0A 00000000:00000000 00:00000000 00000000   998        0 1234 1 0":                                          true,
		"   0: 00000000000000000000000001000000:2729 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000   998        0 1": true,
		"   1: 0100007F:2729 0100007F:C350 01 00000000:00000000 00:00000000 00000000   998        0 1235 1 0":                                          false, // connected
		"   2: 0100007F:272A 00000000:0000 0A 00000000:00000000 00:00000000 00000000   998        0 1236 1 0":                                          false, // another port
		"   3: 0100007F:2729 00000000:0000 0A 00000000:00000000 00:00000000 00000000   -1         0 1237 1 0":                                          false,
		"   4: nonsense 00000000:0000 0A 00000000:00000000 00:00000000 00000000   998        0 1238 1 0 extra":                                         false,
	} {
		if uid, ok := listener(line, 10025); ok != want || want && uid != 998 {
			t.Errorf("%d, %t of %q", uid, ok, line)
		}
	}
}
