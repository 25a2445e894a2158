package config

import (
	"fmt"
	"math"
	"net"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// setText reads a value from the text of a scalar and stores it. It changes
// nothing when it complains.
func (f field) setText(value reflect.Value, text string) *complaint {
	wrong := f.readText(value, text)
	if wrong != nil && f.secret() {
		wrong.found = "a value that is not shown here"
	}
	return wrong
}

func (f field) readText(value reflect.Value, text string) *complaint {
	switch {
	case f.typ == durationType:
		return setDuration(value, text)
	case f.typ == commandType:
		return setCommand(value, text)
	case f.typ == stringsType:
		return f.setList(value, text)
	case f.typ == mapType:
		return f.setMap(value, text)
	case f.typ.Kind() == reflect.Bool:
		return setBool(value, text)
	case f.typ.Kind() == reflect.Int:
		return f.setInt(value, text)
	}
	if wrong := f.checkText(text); wrong != nil {
		return wrong
	}
	value.SetString(text)
	return nil
}

func setDuration(value reflect.Value, text string) *complaint {
	duration, err := time.ParseDuration(text)
	if err != nil || duration <= 0 {
		return &complaint{found: quoted(text), expected: "a duration above zero with its unit, such as 10s, 500ms or 2m"}
	}
	value.SetInt(int64(duration))
	return nil
}

// setCommand reads a line for the shell.
func setCommand(value reflect.Value, text string) *complaint {
	if strings.TrimSpace(text) == "" || strings.ContainsRune(text, 0) {
		return &complaint{found: quoted(text), expected: commandsAre}
	}
	value.Set(reflect.ValueOf(Command{Shell: text}))
	return nil
}

func setBool(value reflect.Value, text string) *complaint {
	switch strings.ToLower(text) {
	case "true":
		value.SetBool(true)
	case "false":
		value.SetBool(false)
	default:
		return &complaint{found: quoted(text), expected: "true or false"}
	}
	return nil
}

func (f field) setInt(value reflect.Value, text string) *complaint {
	number, ok := f.number(text)
	// The tags are part of the program; a test reads each of them.
	least, _ := strconv.ParseInt(f.tag.Get("min"), 10, 64)
	most, _ := strconv.ParseInt(f.tag.Get("max"), 10, 64)
	if !ok || number < least || number > most {
		expected := fmt.Sprintf("a whole number from %d to %d", least, most)
		if f.tag.Get("format") == "bytes" {
			expected = fmt.Sprintf("a number of bytes from %d to %d, or with a unit, such as 16MiB", least, most)
		}
		return &complaint{found: quoted(text), expected: expected}
	}
	value.SetInt(number)
	return nil
}

// number reads a whole number, in bytes also with a unit.
func (f field) number(text string) (int64, bool) {
	unit := int64(1)
	if f.tag.Get("format") == "bytes" {
		text, unit = cutUnit(text)
	}
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil && len(text) > 1 && strings.ContainsAny(text[:2], "xob") {
		number, err = strconv.ParseInt(text, 0, 64) // 0x10, as YAML has it
	}
	if err != nil || number > math.MaxInt64/unit || number < 0 && unit > 1 {
		return 0, false
	}
	return number * unit, true
}

func cutUnit(text string) (number string, unit int64) {
	for i, name := range []string{"KiB", "MiB", "GiB"} {
		if before, found := strings.CutSuffix(text, name); found {
			return strings.TrimSpace(before), 1 << (10 * (i + 1))
		}
	}
	return text, 1
}

// setList reads a list from one text, as a variable holds it.
func (f field) setList(value reflect.Value, text string) *complaint {
	list := []string{}
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			return &complaint{found: quoted(text), expected: "words with one comma between each two"}
		}
		if wrong := f.checkText(part); wrong != nil {
			return wrong
		}
		list = append(list, part)
	}
	value.Set(reflect.ValueOf(list))
	return nil
}

// setMap reads a map from one text, as a variable holds it.
func (f field) setMap(value reflect.Value, text string) *complaint {
	entries := map[string]string{}
	for part := range strings.SplitSeq(text, ",") {
		name, address, found := strings.Cut(strings.TrimSpace(part), "=")
		name, address = strings.TrimSpace(name), strings.TrimSpace(address)
		if _, twice := entries[name]; !found || name == "" || twice {
			return &complaint{found: quoted(part), expected: "name=value, each name once, with commas between"}
		}
		if wrong := f.checkEntry(name, address); wrong != nil {
			return wrong
		}
		entries[name] = address
	}
	value.Set(reflect.ValueOf(entries))
	return nil
}

// checkEntry checks one entry of a map.
func (f field) checkEntry(name, text string) *complaint {
	if f.tag.Get("format") != "addresses" { // variables for a command
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return &complaint{found: quoted(name), expected: "the name of a variable, without ="}
		}
		return f.checkText(text)
	}
	if name != "*" {
		if wrong := checkName(name); wrong != nil {
			return wrong
		}
	}
	return f.checkText(text)
}

// checkText checks a text by the tags of its key.
func (f field) checkText(text string) *complaint {
	if strings.ContainsRune(text, 0) {
		return &complaint{found: quoted(text), expected: "text without a NUL character"}
	}
	if len(f.options) > 0 {
		for _, option := range f.options {
			if text == option {
				return nil
			}
		}
		return &complaint{found: quoted(text), expected: oneOf(f.options), hint: didYouMean(text, f.options)}
	}
	switch f.tag.Get("format") {
	case "path":
		if text == "" {
			return &complaint{found: "nothing", expected: "the path of a file or folder"}
		}
	case "name":
		return checkName(text)
	case "address":
		return checkAddress(text)
	case "addresses":
		return checkAddresses(text)
	case "host":
		return checkHost(text)
	case "listen":
		return checkListen(text)
	}
	return nil
}

// Off is what stands in place of an address where nothing is to be served.
const Off = "off"

// checkListen checks where something is to listen, if anywhere.
func checkListen(text string) *complaint {
	if text == Off {
		return nil
	}
	host, port, err := net.SplitHostPort(text)
	if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || host != "" && checkHost(host) != nil {
		return &complaint{found: quoted(text), expected: "host:port, such as 127.0.0.1:9464, or off"}
	}
	return nil
}

// checkName checks the name of a domain or service, which becomes part of file
// names, topics and variables.
func checkName(name string) *complaint {
	wrong := &complaint{found: quoted(name), expected: "a name of letters, digits, dots, hyphens and underscores"}
	switch {
	case name == "":
		wrong.found = "nothing"
	case strings.Trim(name, ".") != "" && strings.IndexFunc(name, notInName) < 0:
		return nil
	}
	return wrong
}

func notInName(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-", r)
}

// checkAddress checks where a service is said to answer.
func checkAddress(address string) *complaint {
	wrong := &complaint{found: quoted(address), expected: "host:port, http://host:port, https://host:port, or a socket path that starts with / or ./"}
	if address == "" {
		wrong.found = "nothing"
		return wrong
	}
	if strings.IndexFunc(address, unicode.IsSpace) >= 0 {
		return wrong
	}
	for _, prefix := range []string{"unix:", "/", "./"} {
		if rest, found := strings.CutPrefix(address, prefix); found {
			if strings.Trim(rest, "/") == "" {
				return wrong
			}
			return nil
		}
	}
	rest, secure := strings.CutPrefix(address, "https://")
	if !secure {
		rest = strings.TrimPrefix(address, "http://")
	}
	host, port, err := net.SplitHostPort(strings.TrimSuffix(rest, "/"))
	if number, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || number == 0 || checkHost(host) != nil {
		return wrong
	}
	return nil
}

// addressMark stands between the addresses of several instances.
const addressMark = "|"

// SplitAddresses returns the addresses of a value that may name several
// instances of one thing, with | between.
func SplitAddresses(text string) []string {
	var addresses []string
	for address := range strings.SplitSeq(text, addressMark) {
		if address = strings.TrimSpace(address); address != "" {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// checkAddresses checks one or more addresses.
func checkAddresses(text string) *complaint {
	seen := map[string]bool{}
	for address := range strings.SplitSeq(text, addressMark) {
		address = strings.TrimSpace(address)
		if wrong := checkAddress(address); wrong != nil {
			if strings.Contains(text, addressMark) {
				wrong.expected += ", and | between each two of them"
			}
			return wrong
		}
		if seen[address] {
			return &complaint{found: quoted(address) + " a second time", expected: "each address once"}
		}
		seen[address] = true
	}
	return nil
}

func checkHost(host string) *complaint {
	plain, _, _ := strings.Cut(host, "%") // the zone of an IPv6 address
	if net.ParseIP(plain) != nil {
		return nil
	}
	if host == "" || strings.IndexFunc(host, notInName) >= 0 {
		return &complaint{found: quoted(host), expected: "an IP address or the name of a host"}
	}
	return nil
}
