package smtpwire

// Wait waits until something is buffered, and consumes nothing: a time limit
// that passes meanwhile loses no part of a line.
func (r *Reader) Wait() error {
	if r.Buffered() > 0 {
		return nil
	}
	return r.fill(smallBlock, 1)
}

// releaseEmpty gives the buffer back as soon as it is empty, for a reader that
// is not read again soon: an upstream leg sleeps as long as its client does.
func (r *Reader) releaseEmpty() {
	if r.r == r.w {
		r.Release()
	}
}
