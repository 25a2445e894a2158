package supervise

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// setAttributes puts a child into a process group of its own and has the kernel
// kill it when angz dies.
func setAttributes(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// stat is what is used of /proc/PID/stat.
type stat struct {
	state   byte
	group   int
	threads int
	start   string // in ticks since the machine started
}

// isGone reports whether the process is no more than an entry in the process
// table. The first thread may be that while others have yet to end, and with
// them the process's files.
func (s stat) isGone() bool { return (s.state == 'Z' || s.state == 'X') && s.threads <= 1 }

func readStat(pid string) (stat, bool) {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return stat{}, false
	}
	return parseStat(text)
}

// parseStat reads the fields after the name, which may hold anything, also
// blanks and parentheses.
func parseStat(text []byte) (stat, bool) {
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return stat{}, false
	}
	group, err := strconv.Atoi(string(fields[2]))
	if err != nil {
		return stat{}, false
	}
	threads, err := strconv.Atoi(string(fields[17]))
	return stat{state: fields[0][0], group: group, threads: threads, start: string(fields[19])}, err == nil
}

// startTime returns when a process was started, in a form to be compared. It is
// empty for one that does not exist.
func startTime(pid int) string {
	s, _ := readStat(strconv.Itoa(pid))
	return s.start
}

// hasMembers reports whether a group has processes that are more than an entry
// in the process table.
func hasMembers(group int) bool {
	for _, pid := range processes() {
		if s, ok := readStat(pid); ok && s.group == group && !s.isGone() {
			return true
		}
	}
	return false
}

// processes lists the numbers of all processes.
func processes() []string {
	folder, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer folder.Close()
	names, _ := folder.Readdirnames(-1)
	pids := names[:0]
	for _, name := range names {
		if name[0] >= '0' && name[0] <= '9' {
			pids = append(pids, name)
		}
	}
	return pids
}

// sweep kills all processes whose environment has a variable that begins with
// mark. New ones may be made meanwhile, so it looks until it finds none.
func sweep(mark string) {
	for range 50 {
		found := false
		for _, pid := range processes() {
			environ, err := os.ReadFile("/proc/" + pid + "/environ")
			if err != nil || !carries(environ, mark) {
				continue
			}
			if number, err := strconv.Atoi(pid); err == nil && number != os.Getpid() {
				found = unix.Kill(number, unix.SIGKILL) == nil || found
			}
		}
		if !found {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// carries reports whether an environment has a variable that begins with mark. A
// mark that ends with a dot stands for all that go on from there, another for
// itself alone.
func carries(environ []byte, mark string) bool {
	for variable := range bytes.SplitSeq(environ, []byte{0}) {
		if string(variable) == mark || mark[len(mark)-1] == '.' && bytes.HasPrefix(variable, []byte(mark)) {
			return true
		}
	}
	return false
}

// Holder says in words which process of this machine listens on a TCP port,
// given as host:port, as far as that can be found out.
func Holder(address string) (string, bool) {
	port, ok := portOf(address)
	if !ok {
		return "", false
	}
	inodes := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		if text, err := os.ReadFile(table); err == nil {
			listeners(text, port, inodes)
		}
	}
	if len(inodes) == 0 {
		return "", false
	}
	// A child of the one who opened the socket may have it as well.
	var oldest string
	var since uint64
	for _, pid := range processes() {
		started, ok := readStat(pid)
		if !ok || !holds(pid, inodes) {
			continue
		}
		if ticks, err := strconv.ParseUint(started.start, 10, 64); err == nil && (oldest == "" || ticks < since) {
			oldest, since = pid, ticks
		}
	}
	if oldest == "" {
		return "", false
	}
	command, _ := os.ReadFile("/proc/" + oldest + "/cmdline")
	return fmt.Sprintf("process %s (%s)", oldest, shownCommand(command)), true
}

// listeners adds the inodes of sockets that listen on a port, from the text of
// /proc/net/tcp.
func listeners(table []byte, port uint16, inodes map[string]bool) {
	const listening = "0A"
	for line := range bytes.Lines(table) {
		fields := bytes.Fields(line)
		if len(fields) < 10 || string(fields[3]) != listening {
			continue
		}
		_, local, _ := bytes.Cut(fields[1], []byte(":"))
		if number, err := strconv.ParseUint(string(local), 16, 16); err == nil && uint16(number) == port {
			inodes[string(fields[9])] = true
		}
	}
}

func holds(pid string, inodes map[string]bool) bool {
	folder := "/proc/" + pid + "/fd"
	entries, err := os.ReadDir(folder)
	if err != nil {
		return false
	}
	for _, entry := range entries {
		link, err := os.Readlink(folder + "/" + entry.Name())
		if err != nil || len(link) < len("socket:[]") || link[:8] != "socket:[" {
			continue
		}
		if inodes[link[8:len(link)-1]] {
			return true
		}
	}
	return false
}

// shownCommand makes the text of /proc/PID/cmdline fit for a message.
func shownCommand(cmdline []byte) string {
	const longest = 120
	words := strings.Map(func(r rune) rune {
		switch {
		case r == 0:
			return ' '
		case !unicode.IsPrint(r):
			return utf8.RuneError
		}
		return r
	}, strings.TrimRight(string(cmdline), "\x00"))
	if len(words) > longest {
		return words[:longest] + "…"
	}
	return words
}
