package app

import (
	"errors"
	"net"
	"slices"
	"syscall"

	"postern/proxy"
)

// binding is the change of listeners that a configuration asks for.
type binding struct {
	next  []*listener // all that are to be served from now on
	fresh []*listener // those of them that were opened for it
	gone  []*listener // those of before that are not in next
	shut  []*listener // those that had to be closed already, in favour of a fresh one
}

// wish is an address that an inbound or outbound should listen on.
type wish struct {
	*front
	address string
	err     error // why it was not opened so far
}

// bind finds or opens the listeners that a plan asks for: of those in use before,
// the ones with the same address stay open. When it fails, all is as it was:
// next is what was there before.
func bind(p *plan, before []*listener) (binding, error) {
	b := binding{gone: slices.Clone(before)}
	var late []wish
	for f := range p.fronts() {
		if own := b.activated(f.name); len(own) > 0 {
			b.next = append(b.next, own...)
			continue
		}
		for _, address := range f.listen {
			w := wish{front: f, address: address}
			if w.err = b.fulfil(w); w.err == nil {
				continue
			}
			if !errors.Is(w.err, syscall.EADDRINUSE) || len(b.inTheWay(address)) == 0 {
				return b.undo(before, w.failure())
			}
			late = append(late, w)
		}
	}
	for _, w := range late {
		if err := b.exchange(w); err != nil {
			return b.undo(before, err)
		}
	}
	if err := b.open(p); err != nil {
		return b.undo(before, err)
	}
	return b, nil
}

// open lets the listeners take connections to any address whose inbound or outbound wants
// it. One that has it keeps it: it does no harm.
func (b *binding) open(p *plan) error {
	for _, l := range b.next {
		f := p.front(l.front)
		if f == nil || !f.anyone {
			continue
		}
		socket, ok := l.Listener.(syscall.Conn)
		if !ok {
			continue
		}
		if err := proxy.Transparent(socket); err != nil {
			return notTransparent(err, "%s %q: transparent = true", f.kind, f.name)
		}
	}
	return nil
}

func (w wish) failure() error {
	return problem(Hint(w.err), "%s %q: %w", w.kind, w.name, w.err)
}

// activated takes the sockets that systemd gave for an inbound or outbound.
func (b *binding) activated(front string) (own []*listener) {
	b.gone = slices.DeleteFunc(b.gone, func(l *listener) bool {
		mine := l.front == front && l.address == ""
		if mine {
			own = append(own, l)
		}
		return mine
	})
	return own
}

// fulfil takes the listener of before with that address, or opens one. A
// socket that another one had is doubled, so that the connections that
// wait in it are not lost while it changes hands.
func (b *binding) fulfil(w wish) (err error) {
	i := slices.IndexFunc(b.gone, func(l *listener) bool { return l.front == w.name && l.address == w.address })
	if i >= 0 {
		b.next = append(b.next, b.gone[i])
		b.gone = slices.Delete(b.gone, i, i+1)
		return nil
	}
	var socket net.Listener
	i = slices.IndexFunc(b.gone, func(l *listener) bool { return l.address == w.address && port(w.address) != 0 })
	if i >= 0 {
		socket, err = double(b.gone[i].Listener)
	} else {
		socket, err = listen(w.address)
	}
	if err != nil {
		return err
	}
	b.add(&listener{Listener: socket, front: w.name, address: w.address})
	return nil
}

func (b *binding) add(l *listener) {
	b.next = append(b.next, l)
	b.fresh = append(b.fresh, l)
}

// inTheWay returns our own listeners that are to go and may be what keeps an
// address from being opened: 0.0.0.0:25, where 192.0.2.1:25 is wanted.
func (b *binding) inTheWay(address string) (some []*listener) {
	for _, l := range b.gone {
		if l.address != "" && port(l.address) == port(address) {
			some = append(some, l)
		}
	}
	return some
}

// exchange closes what is in the way and opens the address then. For some
// microseconds nobody listens there, which cannot be helped: the kernel does
// not let the two be open side by side.
func (b *binding) exchange(w wish) error {
	way := b.inTheWay(w.address)
	for _, l := range way {
		l.shut()
		b.shut = append(b.shut, l)
	}
	b.gone = slices.DeleteFunc(b.gone, func(l *listener) bool { return slices.Contains(way, l) })
	if w.err = b.fulfil(w); w.err != nil {
		return w.failure()
	}
	return nil
}

// undo closes what was opened and opens again what was closed, because of err.
func (b *binding) undo(before []*listener, err error) (binding, error) {
	shutAll(b.fresh)
	back := binding{}
	for _, l := range before {
		if !slices.Contains(b.shut, l) {
			back.next = append(back.next, l)
			continue
		}
		again, lost := listen(l.address)
		if lost != nil {
			err = errors.Join(err, lost)
			continue
		}
		back.add(&listener{Listener: again, front: l.front, address: l.address})
	}
	return back, err
}

// double returns another listener on the same socket.
func double(l net.Listener) (net.Listener, error) {
	f, err := duplicate(l)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return net.FileListener(f)
}
