package config

import (
	"strconv"
	"strings"

	"github.com/agext/levenshtein"
)

// suggest answers an unknown word with the known word that was probably meant,
// or with all known words, in whole sentences.
func suggest(word string, known []string) string {
	best := closest(word, known)
	list := "Known here: " + strings.Join(known, ", ") + "."
	switch {
	case len(known) == 0:
		return "Nothing is to be written here: remove it."
	case best == "":
		return list
	case len(known) > 5:
		return "Did you mean " + quote(best) + "?"
	}
	return "Did you mean " + quote(best) + "? " + list
}

// closest returns the known word that is nearly the word, or "".
func closest(word string, known []string) string {
	best, distance := "", 1+len(word)/3
	for _, k := range known {
		if d := levenshtein.Distance(strings.ToLower(word), k, nil); d <= distance {
			best, distance = k, d-1
		}
	}
	return best
}

// quote puts a word from the file into a text, with control characters escaped.
func quote(word string) string {
	return strconv.Quote(word)
}

// sentence gives text a capital and a final period.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".") + "."
}
