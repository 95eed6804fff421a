package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
)

// plainly is an error of the network without the addresses, which stand beside it.
func plainly(err error) string {
	text := err.Error()
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		inner := op.Err
		if call := (*os.SyscallError)(nil); errors.As(inner, &call) {
			inner = call.Err
		}
		text = strings.Replace(text, op.Error(), inner.Error(), 1)
	}
	for _, end := range []struct{ is, word string }{{os.ErrDeadlineExceeded.Error(), "timed out"}, {context.DeadlineExceeded.Error(), "timed out"},
		{io.ErrUnexpectedEOF.Error(), byTheServer}, {io.EOF.Error(), byTheServer}} {
		if before, ok := strings.CutSuffix(text, end.is); ok {
			return before + end.word
		}
	}
	return text
}

const byTheServer = "closed by the server"
