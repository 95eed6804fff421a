//go:build !linux

package redirect

// Host is the machine whose kernel is told.
type Host struct{}

// Install says ErrSystem.
func (Host) Install(Options) ([]string, error) { return nil, ErrSystem }

// Remove says ErrSystem.
func (Host) Remove() (bool, error) { return false, ErrSystem }

// Listeners are not known here.
func Listeners(uint16) []uint32 { return nil }
