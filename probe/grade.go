package probe

import "fmt"

// Grade is the word for one finding. The order is that of the worst: a report is as good as its worst
// finding, and Unknown and Note count for nothing.
type Grade uint8

// The grades.
const (
	Unknown      Grade = iota // nobody could tell
	Note                      // worth knowing, and not graded
	Good                      // as it should be
	Sufficient                // safe, though there is better
	PhaseOut                  // safe for now: replace it when you can
	Insufficient              // do something
)

var gradeNames = [...]string{"unknown", "note", "good", "sufficient", "phase-out", "insufficient"}

// String is the word that reports use.
func (g Grade) String() string {
	if int(g) < len(gradeNames) {
		return gradeNames[g]
	}
	return fmt.Sprintf("Grade(%d)", uint8(g))
}

// MarshalText implements encoding.TextMarshaler.
func (g Grade) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (g *Grade) UnmarshalText(text []byte) error {
	for i, name := range gradeNames {
		if name == string(text) {
			*g = Grade(i)
			return nil
		}
	}
	return fmt.Errorf("unknown grade %q", text)
}

// Graded says whether the grade counts.
func (g Grade) Graded() bool { return g >= Good }

// Wanting says whether something has to be done.
func (g Grade) Wanting() bool { return g >= PhaseOut }
