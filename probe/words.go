package probe

import (
	"fmt"
	"strings"
	"unicode"
)

// maxText bounds a text of a report, in characters.
const maxText = 600

// clean makes what holds words of a stranger fit for a terminal and one line.
func clean(s string) string {
	out := []rune(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s))
	if len(out) > maxText {
		return string(out[:maxText]) + "…"
	}
	return string(out)
}

// count is "1 suite", "3 suites".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// list joins a few and counts the rest.
func list(all []string) string {
	const most = 6
	if len(all) <= most {
		return strings.Join(all, ", ")
	}
	return strings.Join(all[:most], ", ") + fmt.Sprintf(" and %d more", len(all)-most)
}
