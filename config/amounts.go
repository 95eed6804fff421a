package config

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/gocty"
)

// integer is a whole number, at least least and at most 2^31-1.
func integer(name string, target *int, least int) field {
	return field{name: name, read: func(v value) {
		n, err := convert.Convert(v.val, cty.Number)
		var i int64
		if err != nil || gocty.FromCtyValue(n, &i) != nil || i < int64(least) || i > math.MaxInt32 {
			v.wrong("a whole number of at least "+strconv.Itoa(least)+" is expected", "Write digits alone: "+name+" = "+strconv.Itoa(*target)+" is the default.")
			return
		}
		*target = int(i)
	}}
}

// duration is a time span in the syntax of time.ParseDuration.
func duration(name string, target *time.Duration, least time.Duration) field {
	return field{name: name, read: func(v value) {
		text, ok := v.text()
		if !ok {
			return
		}
		span, err := time.ParseDuration(text)
		switch {
		case err != nil:
			v.wrong("not a duration: "+quote(text), durationHint(name, text))
		case span < least:
			v.wrong("too short: "+quote(text), `Write at least `+least.String()+`, as in `+name+` = "30s".`)
		default:
			*target = span
		}
	}}
}

var spokenDuration = regexp.MustCompile(`^\s*(\d{1,9})\s*([a-zA-Z]*)\s*$`)

// durationHint turns what people write into what is read.
func durationHint(name, text string) string {
	const units = `A duration is a number and a unit, h, m, s or ms: "2h", "5m", "30s", "1h30m".`
	m := spokenDuration.FindStringSubmatch(text)
	if m == nil {
		return units
	}
	number, unit := m[1], strings.ToLower(m[2])
	switch {
	case unit == "":
		unit = "s"
	case unit == "d" || strings.HasPrefix(unit, "day"):
		days, _ := strconv.Atoi(number)
		number, unit = strconv.Itoa(24*days), "h"
	case unit == "w" || strings.HasPrefix(unit, "week"):
		weeks, _ := strconv.Atoi(number)
		number, unit = strconv.Itoa(7*24*weeks), "h"
	case strings.HasPrefix(unit, "ms") || strings.HasPrefix(unit, "milli"):
		unit = "ms"
	case strings.ContainsRune("hms", rune(unit[0])):
		unit = unit[:1]
	default:
		return units
	}
	return "Write " + name + " = " + quote(number+unit) + ". " + units
}

var (
	writtenSize = regexp.MustCompile(`^(\d{1,15})\s?([a-zA-Z]*)$`)
	sizeUnits   = map[string]int64{
		"": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
	}
)

// size is a number of octets with an optional unit.
func size(name string, target *int64) field {
	return field{name: name, read: func(v value) {
		text, ok := v.text()
		if !ok {
			return
		}
		m := writtenSize.FindStringSubmatch(text)
		if m == nil {
			v.wrong("not a size: "+quote(text), sizeHint(name))
			return
		}
		number, _ := strconv.ParseInt(m[1], 10, 64)
		unit, known := sizeUnits[m[2]]
		switch {
		case !known:
			v.wrong("unknown unit "+quote(m[2]), sizeHint(name))
		case number > math.MaxInt64/unit:
			v.wrong("too large: "+quote(text), sizeHint(name))
		default:
			*target = number * unit
		}
	}}
}

func sizeHint(name string) string {
	return "Write a whole number and a unit, KiB, MiB, GiB, kB, MB or GB, or octets without a unit: " + name + ` = "50MiB".`
}
