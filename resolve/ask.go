package resolve

import (
	"context"
	"errors"
	"net"
	"time"
)

// ask puts a question to the servers in turn until one knows the answer, be
// it that there is nothing. The time that is left is shared out, so that a
// server that is down does not use up that of the next.
func ask[T any](
	ctx context.Context, servers []*net.Resolver, question func(context.Context, *net.Resolver) ([]T, error),
) ([]T, Status) {
	for i, server := range servers {
		turn, cancel := share(ctx, len(servers)-i)
		answers, err := question(turn, server)
		cancel()
		if status := statusOf(err); status != TempUnavailable {
			return answers, status
		}
	}
	return nil, TempUnavailable
}

// share returns a context with an n-th of the time that ctx has left.
func share(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(n))
}

// statusOf reads the error of a net.Resolver. Only NXDOMAIN and an empty
// answer say that there is nothing; SERVFAIL, REFUSED, silence and answers
// that cannot be read say nothing.
func statusOf(err error) Status {
	if err == nil {
		return Found
	}
	if failure, ok := errors.AsType[*net.DNSError](err); ok && failure.IsNotFound {
		return Unavailable
	}
	return TempUnavailable
}
